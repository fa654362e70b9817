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

from ncsn.samplers.descent import Descent, ScoreAt, Steps
from ncsn.score import Normal


@dataclass(frozen=True)
class DPMSolverPP(Descent):
    """DPM-Solver++(2M), with one evaluation per step; see `Descent` for the settings that are not its own.

    The first step and that to σ = 0 are of first order, the others of second.

    Attributes:
        eta: η in [0, 1], the share of the reverse SDE's noise; 0 is deterministic and draws nothing, 1 is
            SDE-DPM-Solver++(2M).

    Raises:
        ValueError: a value out of range.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta={self.eta}: must be in [0, 1]")

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
