"""The stochastic sampler of Karras et al. 2022, Algorithm 2, with σ(t) = t and s(t) = 1."""

import math
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from ncsn.samplers.descent import Descent, ScoreAt, Steps
from ncsn.score import Normal


@dataclass(frozen=True)
class Heun(Descent):
    """Heun's method on dx/dσ = −σ s(x, σ), after noise added anew; see `Descent` for the settings not its own.

    A step takes two evaluations of the score; the last step takes one. With `churn` = 0 nothing is drawn.

    Attributes:
        churn: S_churn ≥ 0, noise added in all of the steps together: each raises σ by the factor
            1 + min(S_churn/N, √2 − 1).
        s_min, s_max: S_tmin and S_tmax, between which noise is added; in units of pixel values in [0, 1], half of
            the paper's. `s_max` = None: no bound.
        s_noise: S_noise > 0, the deviation of the noise added, as a multiple of what the raise of σ calls for.

    Raises:
        ValueError: a value out of range.
    """

    churn: float = 0.0
    s_min: float = 0.0
    s_max: float | None = None
    s_noise: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.churn < math.inf:
            raise ValueError(f"churn={self.churn}: must be at least 0, and finite")
        if not 0 <= self.s_min <= (math.inf if self.s_max is None else self.s_max):
            raise ValueError(f"s_min={self.s_min}, s_max={self.s_max}: must be 0 ≤ s_min ≤ s_max")
        if not 0 < self.s_noise < math.inf:
            raise ValueError(f"s_noise={self.s_noise}: must be positive and finite")

    def num_evaluations(self, num_levels: int) -> int:
        """2N − 1: the last step is Euler's."""
        return 2 * self.num_steps(num_levels) - 1

    def descend(self, score: ScoreAt, x: Tensor, sigmas: list[float], normal: Normal) -> Steps:
        s_max = math.inf if self.s_max is None else self.s_max
        # fmt: off
        for sigma, below in pairwise(sigmas):                                           # 3: for i ← 0 to N − 1 do
            if self.churn > 0 and self.s_min <= sigma <= s_max:
                gamma = min(self.churn / (len(sigmas) - 1), math.sqrt(2) - 1)
                raised = sigma + gamma * sigma                                          # 5:   t̂ᵢ ← tᵢ + γᵢ tᵢ
                z = self.s_noise * normal(x)                                            # 4
                x = x + math.sqrt(raised**2 - sigma**2) * z                             # 6
                sigma = raised
            slope = -sigma * score(x, sigma)                                            # 7:   (x̂ᵢ − D(x̂ᵢ; t̂ᵢ))/t̂ᵢ
            ahead = x + (below - sigma) * slope                                         # 8
            if below > 0:                                                               # 9
                slope = (slope - below * score(ahead, below)) / 2                       # 10
                ahead = x + (below - sigma) * slope                                     # 11
            x = ahead
            x = yield x
        # fmt: on
