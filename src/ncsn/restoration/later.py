"""Chains that begin with less noise than σ₁, around images that are near by (SDEdit, Meng et al. 2022)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ncsn.samplers import Sampler, State, num_evaluations
from ncsn.samplers.state import StartsFrom
from ncsn.score import Normal, Score


@dataclass(frozen=True)
class Later:
    """A sampler that leaves out the first levels.

    Once noise hides what a damaged image has lost, more of it hides only what is known: chains that begin at the
    damaged image and that noise need no level above it, and what a network gets wrong there does no harm.

    Attributes:
        sampler: takes the levels that are left.
        first: how many are left out.
    """

    sampler: Sampler
    first: int

    @property
    def starts_from(self) -> StartsFrom:
        return self.sampler.starts_from

    def num_steps(self, num_levels: int) -> int:
        """Those of the sampler over the levels that are left."""
        return self.sampler.num_steps(num_levels - self.first)

    def num_evaluations(self, num_levels: int) -> int:
        """Those of the sampler over the levels that are left."""
        return num_evaluations(self.sampler, num_levels - self.first)

    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like
    ) -> Iterator[State]:
        """Runs the chains that start at x (B, C, H, W), which has the noise of the first level that is left.

        See `Sampler`. The levels of the states are counted from σ₁.
        """
        for state in self.sampler(score, x, sigmas[self.first :], normal=normal):
            yield state._replace(level=state.level + self.first)
