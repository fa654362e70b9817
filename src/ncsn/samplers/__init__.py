"""Samplers: they draw from any score, and yield after every step.

    sampler = AnnealedLangevin(steps_per_level=100, …)       # the settings, checked
    for state in sampler(score, x, sigmas, normal=…): …      # the run; the samples are the last state's x

Each takes the start x (B, …) and the ladder σ (L,), and tells `num_steps(L)` beforehand. A start may be anything:
uniform values, noise, images. Chains that diverge raise a `DivergedError` that names the step.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

from torch import Tensor

from ncsn.objectives import Score
from ncsn.samplers.annealed_langevin import AnnealedLangevin
from ncsn.samplers.consistent import ConsistentAnnealedSampling
from ncsn.samplers.divergence import DivergedError, stops_when_diverged
from ncsn.samplers.hmc import HamiltonianMonteCarlo
from ncsn.samplers.langevin import Langevin
from ncsn.samplers.mala import MetropolisLangevin
from ncsn.samplers.state import State


class Sampler(Protocol):
    """What every sampler is to those who run it."""

    def num_steps(self, num_levels: int) -> int: ...

    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Callable[[Tensor], Tensor] = ...
    ) -> Iterator[State]: ...


__all__ = [
    "AnnealedLangevin",
    "ConsistentAnnealedSampling",
    "DivergedError",
    "HamiltonianMonteCarlo",
    "Langevin",
    "MetropolisLangevin",
    "Sampler",
    "State",
    "stops_when_diverged",
]
