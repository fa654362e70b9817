"""Denoising diffusion implicit models (Song, Meng, Ermon 2021, eq. 12 and 16), in σ.

With D = x + σᵢ² s the estimate of x₀ and n = −σᵢ s that of the noise's direction, a step goes to

    D + √(σᵢ₊₁² − τ²) n + τ z,    τ = η σᵢ₊₁ √(1 − σᵢ₊₁²/σᵢ²).

η = 0 is Euler's method on the probability flow dx/dσ = −σ s(x, σ); η = 1 is ancestral sampling (`DDPM`).
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from ncsn.samplers.descent import PartlyRandom, ScoreAt, Steps
from ncsn.score import Normal


@dataclass(frozen=True)
class DDIM(PartlyRandom):
    """DDIM; see `PartlyRandom` for its settings. η is the share of ancestral sampling's noise."""

    def descend(self, score: ScoreAt, x: Tensor, sigmas: list[float], normal: Normal) -> Steps:
        for sigma, below in pairwise(sigmas):
            tau = self.eta * below * math.sqrt(1 - (below / sigma) ** 2)
            x = x + (sigma - math.sqrt(below**2 - tau**2)) * sigma * score(x, sigma)
            if tau > 0:
                x = x + tau * normal(x)
            x = yield x
