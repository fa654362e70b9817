"""What JPEG loses of an image (ITU-T T.81), for a whole batch at once, each with a quality of its own.

    RGB → Y, C_B, C_R → C halved in both directions → blocks of 8 × 8, DCT → rounded to multiples of the table q(Q)

and back. What a file adds to that, its entropy coding, is lossless and left out. So images are damaged where they
are, on an accelerator too, and training waits neither for a codec nor for the host; and the core needs no library
for images. The result is that of libjpeg, which Pillow calls, but for its rounding within.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# ITU-T T.81, Tables K.1 and K.2.
LUMINANCE = """
    16 11 10 16  24  40  51  61    12 12 14 19  26  58  60  55    14 13 16 24  40  57  69  56
    14 17 22 29  51  87  80  62    18 22 37 56  68 109 103  77    24 35 55 64  81 104 113  92
    49 64 78 87 103 121 120 101    72 92 95 98 112 100 103  99
"""
CHROMINANCE = """
    17 18 24 47 99 99 99 99   18 21 26 66 99 99 99 99   24 26 56 99 99 99 99 99   47 66 99 99 99 99 99 99
    99 99 99 99 99 99 99 99   99 99 99 99 99 99 99 99   99 99 99 99 99 99 99 99   99 99 99 99 99 99 99 99
"""

TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))

# Halves are common, and the error of a float must not decide about them: it may depend on the size of the batch.
_HALF = 0.5 + 1e-3


def jpeg(images: Tensor, quality: Tensor) -> Tensor:
    """Images as they come back from JPEG, multiples of 1/255.

    Args:
        images: (B, C, H, W) around [0, 1], C = 1 or 3.
        quality: Q of each, whole numbers from 1 to 100, (B,).

    Raises:
        ValueError: the images have another number of channels.
    """
    channels = images.shape[1]
    if channels not in (1, 3):
        raise ValueError(f"images of {channels} channels: JPEG has 1 (grey) or 3 (RGB)")
    with torch.autocast(images.device.type, enabled=False):
        x = _rounded(images.detach().float().clamp(0, 1) * 255)
        luminance, chrominance = (_table(table, quality) for table in (LUMINANCE, CHROMINANCE))
        x = _coded(x, luminance) if channels == 1 else _coded_colours(x, luminance, chrominance)
        return (x / 255).to(images.dtype)


def _coded_colours(x: Tensor, luminance: Tensor, chrominance: Tensor) -> Tensor:
    """RGB in {0, …, 255}, by way of Y and of colours at half the resolution."""
    height, width = x.shape[-2:]
    (r, g, b), offsets = x.unbind(1), (0, 128, 128)
    y, *colours = (_rounded(p * r + q * g + s * b + o) for (p, q, s), o in zip(TO_YCC, offsets, strict=True))
    c = _coded(_halved(torch.stack(colours, dim=1)), chrominance)[..., : -(-width // 2)]
    c = F.interpolate(c, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    y, c_b, c_r = _coded(y[:, None], luminance)[:, 0], *(_rounded(c) - 128).unbind(1)
    rgb = [y + 1.402 * c_r, y - 0.344136286 * c_b - 0.714136286 * c_r, y + 1.772 * c_b]
    return _rounded(torch.stack(rgb, dim=1)).clamp(0, 255)


def _halved(x: Tensor) -> Tensor:
    """Means of 2 × 2 pixels; halves go down and up in turn, as in libjpeg."""
    means = F.avg_pool2d(_padded(x, 2, 16), 2)
    bias = 0.25 + 0.25 * (torch.arange(means.shape[-1], device=x.device) % 2)
    return (means + bias).floor()


def _coded(x: Tensor, table: Tensor) -> Tensor:
    """Planes (B, C, H, W), through the DCT of their blocks and back, rounded to multiples of a table (B, 8, 8)."""
    height, width = x.shape[-2:]
    x = _padded(x, 8, 8) - 128
    blocks = x.unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8)).transpose(-2, -3)  # (B, C, H/8, W/8, 8, 8)
    D, q = _dct(x.device), table[:, None, None, None]
    coefficients = D @ blocks @ D.T / q
    coefficients = coefficients.sign() * (coefficients.abs() + _HALF).floor() * q
    x = (D.T @ coefficients @ D).transpose(-2, -3).flatten(-4, -3).flatten(-2)
    return _rounded(x + 128).clamp(0, 255)[..., :height, :width]


def _dct(device: torch.device) -> Tensor:
    """The orthogonal DCT-II of eight values, (8, 8)."""
    k = torch.arange(8, device=device)
    D = torch.cos(math.pi / 8 * k[:, None] * (k + 0.5)) / 2
    D[0] /= math.sqrt(2)
    return D


def _table(table: str, quality: Tensor) -> Tensor:
    """Steps q of the coefficients at a quality (B,), as libjpeg scales them, (B, 8, 8)."""
    base = torch.tensor([int(step) for step in table.split()], dtype=torch.float32, device=quality.device).view(8, 8)
    scale = torch.where(quality < 50, torch.div(5000, quality, rounding_mode="floor"), 200 - 2 * quality)
    return ((base * scale.float().view(-1, 1, 1) + 50) / 100).floor().clamp(1, 255)


def _padded(x: Tensor, rows: int, columns: int) -> Tensor:
    """With its last row and column repeated, up to multiples of these numbers."""
    down, right = -x.shape[-2] % rows, -x.shape[-1] % columns
    return F.pad(x, (0, right, 0, down), mode="replicate") if down or right else x


def _rounded(x: Tensor) -> Tensor:
    return (x + _HALF).floor()
