"""Denoising by the score alone (Robbins 1956; Efron 2011, "Tweedie's Formula and Selection Bias")."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ncsn import noise
from ncsn.samplers import State
from ncsn.samplers.state import StartsFrom
from ncsn.score import Normal, Score, expand


def tweedie(score: Score, x: Tensor, sigma: Tensor) -> Tensor:
    """Tweedie's estimate E[x | x̃] = x̃ + σ² s(x̃, σ), the mean of all images that a noisy one may come from.

    Args:
        score: s(x, σ).
        x: noisy images x̃ (B, …).
        sigma: their noise levels (B,).

    Returns:
        The estimate (B, …). Of all estimates it has the least mean squared error, and so it is smooth where x̃ leaves
        several images possible.
    """
    return x + expand(sigma, x) ** 2 * score(x, sigma)


@dataclass(frozen=True)
class Tweedie:
    """Tweedie's estimate as a sampler of one step.

    Attributes:
        sigma: noise level of the images that it starts from, > 0.
    """

    sigma: float

    starts_from: ClassVar[StartsFrom] = "noise"

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise ValueError(f"sigma={self.sigma}: must be positive and finite")

    def num_steps(self, num_levels: int) -> int:
        """One, whatever the levels."""
        return 1

    @torch.no_grad()
    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like
    ) -> Iterator[State]:
        """Yields the estimate for x (B, …), at the level nearest to σ; draws nothing. See `Sampler`."""
        noise.check(sigmas)
        sigma = sigmas.new_full((len(x),), self.sigma)
        yield State(tweedie(score, x, sigma), round(float(noise.position(sigma[:1], sigmas))), 0)
