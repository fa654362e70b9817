"""DPM-Solver++(2M) (Lu et al. 2022, Algorithm 2), in σ, where one formula serves VP and VE.

With λ = −ln σ the probability flow has the solution

    x(λᵢ₊₁) = σᵢ₊₁/σᵢ · x(λᵢ) + ∫ e^{λ − λᵢ₊₁} D(λ) dλ,    D = x + σ² s(x, σ),

and D(λ) is taken as the line through its last two values.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import log

from torch import Tensor

from ncsn.samplers.descent import Descent, ScoreAt, Steps
from ncsn.score import Normal


@dataclass(frozen=True)
class DPMSolverPP(Descent):
    """DPM-Solver++(2M), of second order with one evaluation per step; see `Descent` for its settings.

    The first step and that to σ = 0 are of first order. Nothing is drawn.
    """

    def descend(self, score: ScoreAt, x: Tensor, sigmas: list[float], normal: Normal) -> Steps:
        above, previous = 0.0, x  # of the step before: its σ and D
        for sigma, below in pairwise(sigmas):
            denoised = estimate = x + sigma**2 * score(x, sigma)
            if above > 0 and below > 0:
                r = log(above / sigma) / log(sigma / below)  # hᵢ₋₁/hᵢ
                estimate = denoised + (denoised - previous) / (2 * r)
            x = below / sigma * x + (1 - below / sigma) * estimate
            above, previous = sigma, denoised
            x = yield x
