"""Annealed Langevin dynamics for a given number of network evaluations."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ncsn import noise
from ncsn.samplers.annealed_langevin import AnnealedLangevin
from ncsn.samplers.divergence import DivergedError
from ncsn.samplers.state import Hold, StartsFrom, State, free
from ncsn.score import Normal, Score


@dataclass(frozen=True)
class BudgetedLangevin:
    """Algorithm 1 with as many steps per level as a number of evaluations allows, and a denoising step at the end.

    T is the budget's share of each level. If that is less than one step, as many levels as there are steps are used,
    evenly spread.

    The step is ε = 2η σ_L² with η = `step_factor` times that of technique 4 (see `noise.techniques`), but at most 1.
    A step with η = 1 removes all the noise that a chain came with. A longer one overshoots: it leaves as much of that
    noise as one with 2 − η, and adds more of its own.

    Attributes:
        evaluations: of the network, at most; at least 3.
        step_factor: ε as a multiple of technique 4's for the ladder and T. That one leaves the least noise; longer
            steps move the chains farther, and denoising removes the additional noise.

    Raises:
        ValueError: a value out of range.
    """

    evaluations: int = 100
    step_factor: float = 2.0

    starts_from: ClassVar[StartsFrom] = "uniform"
    can_be_held: ClassVar[Literal[True]] = True

    def __post_init__(self) -> None:
        if self.evaluations < 3:
            raise ValueError(f"evaluations={self.evaluations}: must be at least 3")
        if not 0 < self.step_factor < math.inf:
            raise ValueError(f"step_factor={self.step_factor}: must be positive and finite")

    def plan(self, num_levels: int) -> tuple[list[int], int]:
        """The levels that are used, by their index, and T."""
        steps = self.evaluations - 1  # the last is for denoising
        if num_levels <= steps:
            return list(range(num_levels)), steps // num_levels
        return torch.linspace(0, num_levels - 1, steps).round().int().tolist(), 1

    def epsilon(self, sigmas: Tensor) -> float:
        """ε for a ladder (L,), as the 2019 paper writes it.

        Raises:
            ValueError: `step_factor` makes it so short that the noise of the chains grows from level to level; or
                there is one level only, for which technique 4 says nothing.
        """
        levels, T = self.plan(len(sigmas))
        used = sigmas[levels]
        rule, sigma_min = AnnealedLangevin(T, None).epsilon(used), float(used[-1])
        epsilon = min(self.step_factor * rule, 2 * sigma_min**2)
        gamma = noise.ratio(used)
        if noise.ladder_variance_ratio(epsilon, sigma_min, gamma, T) == math.inf:
            least = 2 * sigma_min**2 * (1 - gamma ** (-1 / T)) / rule  # where (1 − η)^T γ = 1
            raise ValueError(
                f"step_factor={self.step_factor}: with {self.evaluations} evaluations over this ladder, steps this "
                f"short take away less noise than the levels demand; must be above {least:.2g}"
            )
        return epsilon

    def num_steps(self, num_levels: int) -> int:
        """Steps of a whole run, each of them one evaluation of the score."""
        levels, T = self.plan(num_levels)
        return len(levels) * T + 1

    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like, hold: Hold = free
    ) -> Iterator[State]:
        """Runs the chains that start at x; see `Sampler`. States and errors name the levels of the whole ladder."""
        noise.check(sigmas)
        levels, T = self.plan(len(sigmas))
        sampler = AnnealedLangevin(T, self.epsilon(sigmas), denoise=True)
        try:
            for state in sampler(score, x, sigmas[levels], normal=normal, hold=hold):
                yield state._replace(level=levels[state.level])
        except DivergedError as error:
            raise DivergedError(levels[error.level], error.step, error.sigma, error.step_size) from None
