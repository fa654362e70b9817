"""Langevin dynamics at one noise level (Song & Ermon 2019, eq. 4).

The baseline for annealing. Without annealing the chains see the score at a single small σ, which is learned badly
where there are no data and says nothing of the relative weights of modes far apart (Sec. 3, App. C.1).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ncsn.samplers.divergence import stops_when_diverged, warn_of_long_steps
from ncsn.samplers.state import Hold, StartsFrom, State, free
from ncsn.score import Normal, Score


@dataclass(frozen=True)
class Langevin:
    """Langevin dynamics at the smallest level, x ← x + ε/2·s(x, σ_L) + √ε·z.

    The defaults are those of App. C.1, where ε is printed in the released code's convention, "2e-5": 4e-5 here.

    Attributes:
        steps: T ≥ 1.
        step_size: ε > 0.

    Raises:
        ValueError: a value out of range.
    """

    steps: int = 1000
    step_size: float = 4e-5

    starts_from: ClassVar[StartsFrom] = "uniform"
    can_be_held: ClassVar[Literal[True]] = True

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}: must be at least 1")
        if not 0 < self.step_size < math.inf:
            raise ValueError(f"step_size={self.step_size}: must be positive and finite")

    def num_steps(self, num_levels: int) -> int:
        """Steps of a whole run, each of them one evaluation of the score."""
        return self.steps

    @stops_when_diverged
    @torch.no_grad()
    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like, hold: Hold = free
    ) -> Iterator[State]:
        """Runs the chains that start at x, at the last level; see `Sampler`. The step size of a state is ε."""
        warn_of_long_steps(self.step_size, sigmas)
        sigma, epsilon = sigmas[-1].expand(x.shape[0]), sigmas.new_tensor(self.step_size)
        keep = hold(sigmas[-1])
        for t in range(self.steps):
            x = keep(x + epsilon / 2 * score(x, sigma) + epsilon.sqrt() * normal(x))
            yield State(x, len(sigmas) - 1, t, epsilon)
