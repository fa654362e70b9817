"""What is known of an image: an orthogonal projection P onto the part of it that was measured.

Pixels under a mask, the grey image of a coloured one, the means of blocks of pixels: each is a linear measurement Ax,
and P(x) = A⁺Ax is the smallest image with the same measurement. Noise N(0, σ²I) has two independent parts, in the
range of P and outside it. So the known part can be given the noise of a level, while the chain draws the rest (Song &
Ermon 2019, Algorithm 2; for grey images Song et al. 2021, App. I).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

Known = Callable[[Tensor], Tensor]
"""P, linear, with P(P(x)) = P(x) and ⟨P(x), y⟩ = ⟨x, P(y)⟩: (B, C, H, W) -> (B, C, H, W)."""


@dataclass(frozen=True)
class KnownPixels:
    """Some of the pixels, P(x) = m ⊙ x.

    Attributes:
        mask: m, 1 where a pixel is known, 0 where it is missing; of any shape that broadcasts against (B, C, H, W).
    """

    mask: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x * self.mask.to(x)


@dataclass(frozen=True)
class KnownGrey:
    """The mean of the channels, from which colours are to be found."""

    def __call__(self, x: Tensor) -> Tensor:
        return x.mean(dim=1, keepdim=True).expand_as(x)


@dataclass(frozen=True)
class KnownBlocks:
    """The means of blocks of factor × factor pixels: an image of a lower resolution.

    Attributes:
        factor: side of a block ≥ 1; it divides height and width.

    Raises:
        ValueError: `factor` is out of range; when called, if it does not divide height and width.
    """

    factor: int

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise ValueError(f"factor={self.factor}: must be at least 1")

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[-2] % self.factor or x.shape[-1] % self.factor:
            raise ValueError(f"factor={self.factor}: must divide {x.shape[-2]}×{x.shape[-1]} pixels")
        return F.interpolate(F.avg_pool2d(x, self.factor), scale_factor=self.factor, mode="nearest")
