"""DPM-Solver++(2M) and SDE-DPM-Solver++(2M) (Lu et al. 2022, Algorithm 2 and Sec. 5), in σ, where one formula serves
VP and VE.

With λ = −ln σ, the SDE whose noise has a share η has the solution

    x(λᵢ₊₁) = r x(λᵢ) + (1 + η) ∫ e^{(1 + η)(λ − λᵢ₊₁)} D(λ) dλ + σᵢ₊₁ √(1 − (σᵢ₊₁/σᵢ)^{2η}) z,

with r = (σᵢ₊₁/σᵢ)^{1 + η} and D = x + σ² s(x, σ), which is taken as the line through its last two values. η = 0 is
the probability flow. With D constant in a step, η = 1 is ancestral sampling (`DDPM`).
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from ncsn.samplers.descent import PartlyRandom, ScoreAt, Steps
from ncsn.score import Normal


@dataclass(frozen=True)
class DPMSolverPP(PartlyRandom):
    """DPM-Solver++(2M), with one evaluation per step; see `PartlyRandom` for its settings.

    The first step and that to σ = 0 are of first order, the others of second. η = 1 is SDE-DPM-Solver++(2M).
    """

    def descend(self, score: ScoreAt, x: Tensor, sigmas: list[float], normal: Normal) -> Steps:
        above, previous = 0.0, x  # of the step before: its σ and D
        for sigma, below in pairwise(sigmas):
            denoised = estimate = x + sigma**2 * score(x, sigma)
            if above > 0 and below > 0:
                ratio = math.log(above / sigma) / math.log(sigma / below)  # hᵢ₋₁/hᵢ
                estimate = denoised + (denoised - previous) / (2 * ratio)
            r = (below / sigma) ** (1 + self.eta)
            x = r * x + (1 - r) * estimate
            if self.eta > 0 and below > 0:
                x = x + below * math.sqrt(1 - (below / sigma) ** (2 * self.eta)) * normal(x)
            above, previous = sigma, denoised
            x = yield x
