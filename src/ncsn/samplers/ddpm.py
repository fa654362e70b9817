"""Ancestral sampling of denoising diffusion probabilistic models (Ho, Jain, Abbeel 2020, Algorithm 2), in σ.

In x = x_t/√ᾱ_t, with D = x + σᵢ² s the estimate of x₀, the posterior q(xᵢ₊₁ | xᵢ, x₀ = D) has the mean and variance

    x + (σᵢ² − σᵢ₊₁²) s    and    σᵢ₊₁² (1 − σᵢ₊₁²/σᵢ²),

the paper's β̃. Its other choice, β, is (σᵢ² − σᵢ₊₁²)(1 + σᵢ₊₁²)/(1 + σᵢ²) here, with σ for pixels in [−1, 1].

Palette (Saharia et al. 2022) samples with a schedule of its own, which ends in more noise than training had. There
the network sees what is noise alone, as it does at σ₁.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from ncsn import noise
from ncsn.samplers.descent import Descent, ScoreAt, Steps
from ncsn.samplers.state import Hold, State, free
from ncsn.score import Normal, Score


@dataclass(frozen=True)
class DDPM(Descent):
    """Ancestral sampling; see `Descent` for the settings that are not its own.

    Attributes:
        variance: of the noise that a step adds, β̃ ("fixed_small") or β ("fixed_large"). The paper's samples of
            CIFAR-10, of 1,000 steps, have the larger; with fewer steps only the smaller is any good.
        betas: β₁ and β_T of a linear schedule with `steps` levels, in place of those that `spacing` chooses from the
            ladder; None for the ladder. For networks that take any σ.

    Raises:
        ValueError: a value out of range.
    """

    variance: Literal["fixed_small", "fixed_large"] = "fixed_small"
    betas: Sequence[float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variance not in ("fixed_small", "fixed_large"):
            raise ValueError(f"variance={self.variance}: must be fixed_small or fixed_large")
        if self.betas is not None:
            if len(self.betas) != 2 or self.steps is None:
                raise ValueError(f"betas={list(self.betas)}: must be two numbers, β₁ and β_T, with steps=T")
            self._own(self.steps, *self.betas)

    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like, hold: Hold = free
    ) -> Iterator[State]:
        """As `Descent` has it; with a schedule of its own, the noise of the start is scaled to its first level."""
        if self.betas is None or self.steps is None:
            yield from super().__call__(score, x, sigmas, normal=normal, hold=hold)
            return
        noise.check(sigmas)
        own = self._own(self.steps, *self.betas).to(sigmas)
        levels = noise.position(own, sigmas).round().int().tolist()
        x = 0.5 + (x - 0.5) * (own[0] / sigmas[0]).to(x.dtype)
        every_level = replace(self, steps=None, betas=None)
        for number, state in enumerate(every_level(score, x, own, normal=normal, hold=hold)):
            yield state._replace(level=levels[number])

    @staticmethod
    def _own(steps: int, beta_min: float, beta_max: float) -> Tensor:
        return noise.ddpm(beta_min, beta_max, steps)

    def descend(self, score: ScoreAt, x: Tensor, sigmas: list[float], normal: Normal) -> Steps:
        for sigma, below in pairwise(sigmas):
            x = x + (sigma**2 - below**2) * score(x, sigma)
            if below > 0:
                x = x + self._deviation(sigma, below) * normal(x)
            x = yield x

    def _deviation(self, sigma: float, below: float) -> float:
        if self.variance == "fixed_small":
            return below * math.sqrt(1 - (below / sigma) ** 2)
        return math.sqrt((sigma**2 - below**2) * (1 + (2 * below) ** 2) / (1 + (2 * sigma) ** 2))
