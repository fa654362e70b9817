"""Images from strangers: each that cannot be used gets a sentence, and none is kept."""

import base64
import io
import struct
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image

from ncsn.errors import DataError
from ncsn.studio import uploads


def sent(content: bytes) -> dict[str, str]:
    return {"data": f"data:image/png;base64,{base64.b64encode(content).decode()}"}


def png(width: int, height: int) -> bytes:
    """Of a size that its header states; a file of a few bytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("upload", "expected"),
    [
        (sent(png(60_000, 60_000)), "far too large.*16 megapixels"),
        (sent(png(8000, 6250)), "8,000 × 6,250 pixels, 50 megapixels. Make it smaller"),
        (sent(b"#!/bin/sh\nrm -rf /\n"), "no image that can be read. Take PNG"),
        (sent(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"), "no image that can be read"),
        (sent(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "no image that can be read"),
        (sent(png(8, 8)), "damaged"),
        (sent(b""), "no image that can be read"),
        ({"data": "data:image/png;base64,???"}, "did not arrive whole"),
        ({"data": "A" * 15 * 2**20}, "11 MB. Take a smaller one"),
        ({"size": 3 * 10**9}, "2,861 MB. Take a smaller one"),
        ({}, "no image"),
        (None, "no image"),
    ],
)
def test_what_cannot_be_used_gets_a_sentence(upload: object, expected: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=expected):
        uploads.decode(upload, 1, 8)


@pytest.mark.parametrize(("channels", "mode"), [(1, "RGB"), (3, "RGB"), (3, "LA"), (1, "P"), (3, "I;16")])
def test_an_image_is_fitted_to_the_network(channels: int, mode: str) -> None:
    file = io.BytesIO()
    Image.new(mode, (40, 20), 255 if mode == "P" else 0).save(file, "png")
    pixels = uploads.decode(sent(file.getvalue()), channels, 8)
    assert pixels.shape == (1, channels, 8, 8)
    assert pixels.dtype == torch.uint8
