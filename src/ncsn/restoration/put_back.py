"""What is known of an image, exactly, at the end of a chain whose score knows it already (`ncsn.score.Filling`)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ncsn.samplers import Sampler, State, num_evaluations
from ncsn.samplers.state import StartsFrom
from ncsn.score import Normal, Score


@dataclass(frozen=True)
class PutBack:
    """A sampler after whose last step the known pixels are put back.

    Nothing is changed on the way there, so that it can be any sampler.

    Attributes:
        sampler: draws.
        known: one image per chain, (B, C, H, W), of which only what lies outside the hole matters.
        hole: bool (B, 1, H, W), true where pixels are missing.
    """

    sampler: Sampler
    known: Tensor
    hole: Tensor

    @property
    def starts_from(self) -> StartsFrom:
        return self.sampler.starts_from

    def num_steps(self, num_levels: int) -> int:
        """Steps of a whole run, with the one that puts back."""
        return self.sampler.num_steps(num_levels) + 1

    def num_evaluations(self, num_levels: int) -> int:
        """Those of the sampler."""
        return num_evaluations(self.sampler, num_levels)

    @torch.no_grad()
    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like
    ) -> Iterator[State]:
        """Runs the chains that start at x (B, C, H, W); see `Sampler`. A state is its sampler's."""
        for state in self.sampler(score, x, sigmas, normal=normal):
            yield state
        yield State(torch.where(self.hole, state.x, self.known), state.level, state.step + 1)
