"""What happens to a batch on its way into a model. Random numbers are passed in."""

import torch
from torch import Tensor


def to_unit_interval(images: Tensor) -> Tensor:
    """uint8 {0, …, 255} to float32 [0, 1]; any shape."""
    return images.to(torch.float32) / 255


def flip(images: Tensor, heads: Tensor) -> Tensor:
    """Mirror the images (B, C, H, W) left to right where `heads` (B,), bool, is true."""
    return torch.where(heads.view(-1, 1, 1, 1), images.flip(-1), images)


def dequantize(images: Tensor, u: Tensor) -> Tensor:
    """Spread each of the 256 values of a pixel over its interval: x·255/256 + u/256.

    Args:
        images: (B, C, H, W), multiples of 1/255 in [0, 1].
        u: uniform in [0, 1), of the same shape.
    """
    return images * (255 / 256) + u / 256
