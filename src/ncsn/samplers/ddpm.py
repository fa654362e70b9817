"""Ancestral sampling of denoising diffusion probabilistic models (Ho, Jain, Abbeel 2020, Algorithm 2), in σ.

In x = x_t/√ᾱ_t, with D = x + σᵢ² s the estimate of x₀, the posterior q(xᵢ₊₁ | xᵢ, x₀ = D) has the mean and variance

    x + (σᵢ² − σᵢ₊₁²) s    and    σᵢ₊₁² (1 − σᵢ₊₁²/σᵢ²),

the paper's β̃. Its other choice, β, is (σᵢ² − σᵢ₊₁²)(1 + σᵢ₊₁²)/(1 + σᵢ²) here, with σ for pixels in [−1, 1].
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import Tensor

from ncsn.samplers.descent import Descent, ScoreAt, Steps
from ncsn.score import Normal


@dataclass(frozen=True)
class DDPM(Descent):
    """Ancestral sampling; see `Descent` for the settings that are not its own.

    Attributes:
        variance: of the noise that a step adds, β̃ ("fixed_small") or β ("fixed_large"). The paper's samples of
            CIFAR-10, of 1,000 steps, have the larger; with fewer steps only the smaller is any good.

    Raises:
        ValueError: a value out of range.
    """

    variance: Literal["fixed_small", "fixed_large"] = "fixed_small"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variance not in ("fixed_small", "fixed_large"):
            raise ValueError(f"variance={self.variance}: must be fixed_small or fixed_large")

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
