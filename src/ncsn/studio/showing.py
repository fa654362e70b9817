"""What the page shows, as HTML: pictures, the noise level, sentences. All text is escaped here."""

import base64
import html
import math
from collections.abc import Sequence
from io import BytesIO
from math import isqrt

from PIL import Image
from torch import Tensor

from ncsn.studio.live import Moment, bytes_of


def data_uri(image: Tensor) -> str:
    """An image, uint8 (C, H, W), as an address that holds all of it; of C other than 1 and 3 the mean is shown."""
    if image.shape[0] not in (1, 3):
        image = image.float().mean(0, keepdim=True).byte()
    pixels = image.permute(1, 2, 0).numpy()
    file = BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, "png", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def tiles(images: Tensor, *, pressed: bool = False, columns: int | None = None) -> str:
    """Images (N, C, H, W) on a grid.

    Args:
        images: uint8, or with values around [0, 1].
        pressed: each is a button, which says its number when it is pressed.
        columns: None for a square.
    """
    columns = columns or isqrt(len(images) - 1) + 1
    shown = []
    for number, address in enumerate(_addresses(images)):
        tile = f'<img src="{address}" alt="image {number + 1}">'
        if pressed:
            title = f"image {number + 1}: its chain and its nearest training images"
            tile = f'<button type="button" data-number="{number}" title="{title}">{tile}</button>'
        shown.append(f"<figure>{tile}</figure>")
    return f'<div class="tiles" style="--columns: {columns}">{"".join(shown)}</div>'


def row(images: Tensor, captions: Sequence[str], width: str = "5rem") -> str:
    """Images as `tiles` has them, side by side in lines of the width of the page, with a caption each."""
    shown = (
        f'<figure><img src="{address}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
        for address, caption in zip(_addresses(images), map(html.escape, captions), strict=True)
    )
    return f'<div class="tiles row" style="--width: {width}">{"".join(shown)}</div>'


def _addresses(images: Tensor) -> list[str]:
    return [data_uri(image) for image in (bytes_of(images) if images.is_floating_point() else images)]


def noise(moment: Moment, sigmas: Tensor) -> str:
    """The noise level of chains as a number, and as a bar on a logarithmic scale from σ₁ down to σ_L."""
    if moment.is_last:
        return _bar(0.0, "<b>done</b>", f"{moment.num_steps} steps")
    first, last = float(sigmas[0]), float(sigmas[-1])
    share = math.log(moment.sigma / last) / math.log(first / last) if first > last else 1.0
    return _bar(share, f"noise level <b>σ = {moment.sigma:.3g}</b>", f"step {moment.step} of {moment.num_steps}")


def _bar(share: float, level: str, step: str) -> str:
    return (
        f'<div class="noise"><span>{level}</span>'
        f'<div class="bar" role="presentation"><div style="width: {100 * min(max(share, 0), 1):.1f}%"></div></div>'
        f"<span>{step}</span></div>"
    )


def note(text: str) -> str:
    """A sentence to the reader."""
    return f'<p class="note">{html.escape(text)}</p>'


def command(words: Sequence[str]) -> str:
    """A command line that does the same."""
    return f'<p class="note">The same in a terminal:</p><pre class="command">{html.escape(" ".join(words))}</pre>'


def heading(text: str) -> str:
    return f"<h4>{html.escape(text)}</h4>"
