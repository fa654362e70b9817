"""Pictures of images: 8-bit values, grids scaled to be seen, strips and GIFs."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil, isqrt
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from ncsn.files import atomically, is_there

Picture = np.ndarray
"""uint8, (height, width, 3)."""

MOST_PIXELS = 2**27  # of a file: 400 MB as RGB
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # of others, EPS runs Ghostscript


@contextmanager
def opened(source: Path | IO[bytes]) -> Iterator[Image.Image]:
    """An image file, not yet decoded, of the formats that this project reads, whatever its name says.

    Raises:
        DataError: it is no file.
        OSError: it is no such image; decoding it raises this and other errors.
        ValueError: it has more than `MOST_PIXELS`.
    """
    if isinstance(source, Path):
        is_there(source)
    with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
        image = Image.open(source, formats=_FORMATS)
    with image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"it has {image.width}×{image.height} pixels, of which at most {MOST_PIXELS:,} are read")
        yield image


def to_uint8(x: Tensor) -> np.ndarray:
    """Images (B, C, H, W) with values around [0, 1] as (B, H, W, C) uint8 on the CPU, clamped and rounded."""
    return (x.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def grid(x: Tensor, num_columns: int | None = None, min_side: int = 512) -> Picture:
    """Images (B, C, H, W), values around [0, 1], side by side, with gaps, on a square (or `num_columns` wide) grid.

    Small images are enlarged by a whole factor, without smoothing, until the grid is about `min_side` pixels wide.
    C is 1, 3, or anything else, of which the mean is shown.
    """
    if x.shape[1] not in (1, 3):
        x = x.mean(dim=1, keepdim=True)
    columns = num_columns or isqrt(len(x) - 1) + 1
    factor = max(1, ceil(min_side / (columns * x.shape[-1])))
    x = x.float().cpu().clamp(0, 1).repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    return to_uint8(make_grid(x, nrow=columns, padding=max(2, factor), pad_value=1.0)[None])[0]


def save_png(picture: Picture, path: str | Path) -> Path:
    """Writes a picture, making its folder."""
    path = Path(path)
    with atomically(path, durable=False) as partial:
        Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture).save(partial, "png")
    return path


def save_gif(pictures: Sequence[Picture], path: str | Path, milliseconds: int = 120) -> Path:
    """Writes pictures of one size as a looping GIF that rests on the last."""
    path = Path(path)
    frames = [Image.fromarray(p) for p in pictures]
    durations = [milliseconds] * (len(frames) - 1) + [10 * milliseconds]
    with atomically(path, durable=False) as partial:
        frames[0].save(partial, "gif", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return path
