"""Images from strangers: limited in size and type, decoded in memory, and kept nowhere."""

import base64
import binascii
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ncsn.data.decoding import fit, open_image
from ncsn.errors import DataError, shown
from ncsn.images import opened

MOST_BYTES = 10 * 2**20
MOST_PIXELS = 2**24
MOST_OF_A_REQUEST = 2 * MOST_BYTES  # an image in base64, and what else the page says
TYPES = "PNG, JPEG, WebP, BMP, TIFF or PPM"
_MOST = f"at most {MOST_BYTES // 2**20} MB and {MOST_PIXELS // 10**6} megapixels"


def decode(upload: object, channels: int, size: int) -> Tensor:
    """An uploaded image as a network knows it: its shorter side resized, and cropped to the square in its middle.

    Args:
        upload: `data`, the file as the browser reads it, "data:…;base64,…", where what it says of the type does not
            count; or `size`, the bytes of a file that it did not send.
        channels: 1 for grey or 3 for RGB.
        size: height and width in pixels.

    Returns:
        uint8 (1, C, H, W).

    Raises:
        DataError: it is too large, or no image; in words for the visitor.
    """
    content = _content(upload)
    try:
        with opened(BytesIO(content)) as image:
            width, height = image.size
    except (ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"This image is far too large. Make it smaller: {_MOST}.") from error
    except Exception as error:  # decoders fail in many ways on bytes that are not theirs
        raise DataError(f"This is no image that can be read. Take {TYPES}, {_MOST}.") from error
    if width * height > MOST_PIXELS:
        raise DataError(
            f"This image has {width:,} × {height:,} pixels, {width * height / 1e6:,.0f} megapixels. Make it smaller: "
            f"{_MOST}; it is shown to the network as {size} × {size}."
        )
    try:
        pixels = np.asarray(fit(open_image(BytesIO(content), channels), size))
    except Exception as error:
        raise DataError(f"This image is damaged or of a kind that cannot be used ({shown(error)}).") from error
    return torch.from_numpy(pixels.copy()).view(size, size, channels).permute(2, 0, 1)[None].contiguous()


def _content(upload: object) -> bytes:
    data, size = (upload.get(key) if isinstance(upload, dict) else None for key in ("data", "size"))
    text = data if isinstance(data, str) else ""
    length = size if isinstance(size, int) else len(text) * 3 // 4
    if length > MOST_BYTES + len("data:;base64,"):
        raise DataError(f"This file has {length / 2**20:,.0f} MB. Take a smaller one: {_MOST}.")
    try:
        return base64.b64decode(text.partition(",")[2], validate=True)
    except binascii.Error as error:
        raise DataError(f"The file did not arrive whole; try again. Take {TYPES}, {_MOST}.") from error


class NoFiles:
    """ASGI middleware: requests are limited in size, and the server takes no files, which it would keep."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"].rstrip("/").endswith("/upload"):
            await _refuse(send, 403, "The studio takes images on its page alone, and keeps no files.")
            return
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not length.isdigit() or int(length) > MOST_OF_A_REQUEST:
            await _refuse(send, 413, f"The request is too large: {_MOST}.")
            return
        received = 0

        async def limited() -> Any:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MOST_OF_A_REQUEST:  # of a request that does not say its length
                return {"type": "http.disconnect"}
            return message

        await self.app(scope, limited, send)


async def _refuse(send: Any, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
