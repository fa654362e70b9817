"""Annealed Langevin dynamics for a given number of network evaluations."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ncsn.samplers.annealed_langevin import AnnealedLangevin
from ncsn.samplers.divergence import DivergedError
from ncsn.samplers.state import State
from ncsn.score import Normal, Score


@dataclass(frozen=True)
class BudgetedLangevin:
    """Algorithm 1 with as many steps a level as a number of evaluations allows, and a denoising step at the end.

    T is what the budget leaves each level; where it does not leave one, so many levels are taken, evenly.

    Attributes:
        evaluations: of the network, at most; at least 3.
        step_factor: ε as a multiple of what technique 4 (Song & Ermon 2020) says for the ladder and T. That leaves
            the least noise; longer steps move the chains farther, and denoising takes away what they leave more.

    Raises:
        ValueError: a value out of range.
    """

    evaluations: int = 100
    step_factor: float = 2.0

    def __post_init__(self) -> None:
        if self.evaluations < 3:
            raise ValueError(f"evaluations={self.evaluations}: must be at least 3")
        if not self.step_factor > 0:
            raise ValueError(f"step_factor={self.step_factor}: must be positive")

    def plan(self, num_levels: int) -> tuple[list[int], int]:
        """The levels that are used, by their index, and T."""
        steps = self.evaluations - 1  # the last is for denoising
        if num_levels <= steps:
            return list(range(num_levels)), steps // num_levels
        return torch.linspace(0, num_levels - 1, steps).round().int().tolist(), 1

    def num_steps(self, num_levels: int) -> int:
        """Steps of a whole run, each of them one evaluation of the score."""
        levels, T = self.plan(num_levels)
        return len(levels) * T + 1

    def __call__(
        self,
        score: Score,
        x: Tensor,
        sigmas: Tensor,
        *,
        normal: Normal = torch.randn_like,
    ) -> Iterator[State]:
        """Runs the chains that start at x; arguments, states and errors are those of `AnnealedLangevin`."""
        levels, T = self.plan(len(sigmas))
        used = sigmas[levels]
        epsilon = self.step_factor * AnnealedLangevin(T, None).epsilon(used)
        try:
            for state in AnnealedLangevin(T, epsilon, denoise=True)(score, x, used, normal=normal):
                yield state._replace(level=levels[state.level])
        except DivergedError as error:
            raise DivergedError(levels[error.level], error.step, error.sigma, error.step_size) from None
