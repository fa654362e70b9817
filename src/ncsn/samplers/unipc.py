"""UniPC, a predictor and a corrector of one form (Zhao et al. 2023, Algorithms 5 and 6 with B₂(h) = eʰ − 1), in σ.

With λ = −ln σ and D = x + σ² s(x, σ), the probability flow goes from σ_s to σ_t, h = λ_t − λ_s, by

    x_t = σ_t/σ_s · x_s + (1 − σ_t/σ_s) · (a weighted mean of D between λ_s and λ_t).

D is taken as the polynomial in λ through its value at λ_s and K more, at λ_s + r_k h. The mean is then

    D_s + Σ_k ρ_k (D_k − D_s)/r_k    with    Σ_k ρ_k r_kⁿ⁻¹ = bₙ,    n = 1, …, K,

bₙ being the same mean of ((λ − λ_s)/h)ⁿ. The predictor has K = p − 1 values before λ_s. The corrector has one more,
r = 1: the score is evaluated at the predicted x_t, and x_t is moved. The next predictor uses this evaluation too, and
so a step takes one. With K = 1 the authors put ρ = ½, the limit for small h.

The predictor with p = 2 and no corrector is DPM-Solver++(2M).
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ncsn.samplers.descent import Descent, ScoreAt, Steps
from ncsn.score import Normal


@dataclass(frozen=True)
class UniPC(Descent):
    """UniPC-p; see `Descent` for the settings that are not its own. Nothing is drawn.

    The first steps have too few values for p, and the last ones go down to p = 1.

    Attributes:
        order: p, 1 to 3, the order of the predictor. With the corrector the whole is of order p + 1, but not above 3:
            that is what the first step leaves.

    Raises:
        ValueError: a value out of range.
    """

    order: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in (1, 2, 3):
            raise ValueError(f"order={self.order}: must be 1, 2 or 3")

    def descend(self, score: ScoreAt, x: Tensor, sigmas: list[float], normal: Normal) -> Steps:
        steps = len(sigmas) - 1
        order, start = 0, x  # of the step before: its p and x_s
        known: list[tuple[float, Tensor]] = []  # σ and D of the last steps
        for i, (sigma, below) in enumerate(pairwise(sigmas)):
            known = [*known[-self.order :], (sigma, x + sigma**2 * score(x, sigma))]
            if i > 0:
                x = _step(start, sigma, known[-2], [*known[-1 - order : -2], known[-1]])  # the corrector
            start, order = x, min(self.order, i + 1, steps - i)
            x = _step(x, below, known[-1], known[-order:-1])  # the predictor
            x = yield x


def _step(x: Tensor, below: float, at: tuple[float, Tensor], others: list[tuple[float, Tensor]]) -> Tensor:
    """From x at the σ of `at` to the σ `below`, with D as the polynomial through `at` and the others."""
    sigma, denoised = at
    estimate = denoised
    if others:
        h = math.log(sigma / below)
        places = [math.log(sigma / other) / h for other, _ in others]
        for weight, place, (_, value) in zip(_weights(places, h), places, others, strict=True):
            estimate = estimate + weight / place * (value - denoised)
    return below / sigma * x + (1 - below / sigma) * estimate


def _weights(places: list[float], h: float) -> list[float]:
    """ρ for values at the given r."""
    if len(places) == 1:
        return [0.5]
    total, moments = -math.expm1(-h), list[float]()
    moment = 1.0  # b₀; the others by parts
    for n in range(1, len(places) + 1):
        moment = 1 / total - n / h * moment
        moments.append(moment)
    powers = torch.tensor([[r**n for r in places] for n in range(len(places))], dtype=torch.float64, device="cpu")
    return torch.linalg.solve(powers, torch.tensor(moments, dtype=torch.float64, device="cpu")).tolist()
