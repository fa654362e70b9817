"""Noise levels: the ladder σ₁ > … > σ_L at which the data is perturbed and its score learned.

A ladder is a float32 tensor of shape (L,), largest σ first, as the paper numbers it.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Ends(NamedTuple):
    """σ₁ and L of a published ladder; σ_L is 0.01 in all of them."""

    sigma_max: float
    num_levels: int


MOST_LEVELS = 100_000

PUBLISHED = {32: Ends(50, 232), 64: Ends(90, 500), 96: Ends(140, 788), 128: Ends(190, 1086), 256: Ends(348, 2311)}
"""The ladders of Song & Ermon 2020 by image size in pixels: CIFAR-10, CelebA, LSUN church, LSUN bedroom and tower,
FFHQ."""


def geometric(sigma_max: float = 1.0, sigma_min: float = 0.01, num_levels: int = 10) -> Tensor:
    """The geometric sequence σ₁ = `sigma_max`, …, σ_L = `sigma_min` (Song & Ermon 2019, Sec. 3.2 and 5).

    Args:
        sigma_max: largest standard deviation of the noise, in units of pixel values in [0, 1].
        sigma_min: smallest standard deviation.
        num_levels: L ≥ 1; with one level, `sigma_max` and `sigma_min` must be equal.

    Returns:
        σ of shape (L,), float32, descending.

    Raises:
        ValueError: a value out of range.
    """
    check_count(num_levels, at_least=1)
    if not sigma_min > 0:
        raise ValueError(f"sigma_min={sigma_min}: must be positive")
    if num_levels == 1 and sigma_max != sigma_min:
        raise ValueError(f"sigma_max={sigma_max}: one level needs sigma_max equal to sigma_min ({sigma_min})")
    if num_levels > 1 and not sigma_min < sigma_max < math.inf:
        raise ValueError(f"sigma_max={sigma_max}: must be greater than sigma_min ({sigma_min})")
    # On the CPU whatever the default device: not every device (MPS) has float64.
    log_max, log_min = torch.tensor([sigma_max, sigma_min], dtype=torch.float64, device="cpu").log().tolist()
    sigmas = torch.linspace(log_max, log_min, num_levels, dtype=torch.float64, device="cpu").exp().float()
    check(sigmas)  # in float32 a number may be 0, infinite, or the same as the next
    return sigmas.to(torch.get_default_device())


def published(image_size: int) -> Ends:
    """The published ladder for images of a size in pixels.

    Raises:
        ValueError: there is none.
    """
    if image_size not in PUBLISHED:
        sizes = ", ".join(map(str, PUBLISHED))
        raise ValueError(f"image_size={image_size}: no ladder was published for it (only {sizes} pixels)")
    return PUBLISHED[image_size]


def ratio(sigmas: Tensor) -> float:
    """γ = σᵢ/σᵢ₊₁ of a geometric ladder (L,).

    Raises:
        ValueError: the ladder has only one level.
    """
    if len(sigmas) < 2:
        raise ValueError("num_levels=1: one level has no ratio to a next one")
    return math.exp(math.log(float(sigmas[0]) / float(sigmas[-1])) / (len(sigmas) - 1))


def check_count(num_levels: int, at_least: int = 2) -> None:
    """Checks L.

    Raises:
        ValueError: too few levels, or more than `MOST_LEVELS`.
    """
    if num_levels < at_least:
        raise ValueError(f"num_levels={num_levels}: must be at least {at_least}")
    if num_levels > MOST_LEVELS:
        raise ValueError(f"num_levels={num_levels}: must be at most {MOST_LEVELS:,}")


def check(sigmas: Tensor) -> None:
    """Checks that σ is a ladder: shape (L,), L ≥ 1, finite, positive, strictly descending. Waits for its device.

    A single level may also be 0, the density itself.

    Raises:
        ValueError: it is no ladder.
    """
    if sigmas.ndim != 1 or not len(sigmas):
        raise ValueError(f"sigmas: must have the shape (L,) with L ≥ 1, not {tuple(sigmas.shape)}")
    values = sigmas.tolist()
    for i, sigma in enumerate([] if values == [0] else values):
        if not 0 < sigma < math.inf:
            raise ValueError(f"sigmas[{i}]={sigma:g}: noise levels must be positive and finite")
        if i and not sigma < values[i - 1]:
            raise ValueError(f"sigmas[{i}]={sigma:g}: must be below the level before it, {values[i - 1]:g}")


def position(sigma: Tensor, sigmas: Tensor) -> Tensor:
    """The place of each σ in a ladder, counted in levels: 0 at σ₁, L − 1 at σ_L, linear in log σ between two levels.

    At a level it is exactly that level's index; beyond the ends it is that of the end. Nothing is fetched from the
    device.

    Args:
        sigma: noise levels (B,).
        sigmas: the ladder (L,), descending.

    Returns:
        Fractional indices (B,), of the type of σ; NaN where σ is NaN or not positive.
    """
    sigmas, last = sigmas.to(sigma.dtype), len(sigmas) - 1
    above = (sigmas >= sigma[:, None]).sum(dim=1) - 1  # index of the smallest level that is not below σ
    above = above.clamp(0, max(last - 1, 0))
    upper, lower = sigmas[above], sigmas[(above + 1).clamp(max=last)]
    # Quotients before logarithms: at a level they are exactly 1, or exactly equal, and so is the result.
    share = (upper / sigma).log() / (upper / lower).log() if last else torch.zeros_like(sigma)
    place = above + share.clamp(0, 1)
    return torch.where(sigma > 0, place, torch.nan)
