"""What is known of an image, exactly, at the end of a chain whose score knows it already (`ncsn.score.Filling`)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ncsn.restoration.known_at_the_end import KnownAtTheEnd
from ncsn.samplers import State
from ncsn.score import Normal, Score


@dataclass(frozen=True)
class PutBack(KnownAtTheEnd):
    """A sampler after whose last step the known pixels are put back.

    Nothing is changed on the way there, so that it can be any sampler.

    Attributes:
        sampler: draws.
        known: one image per chain, (B, C, H, W), of which only what lies outside the hole matters.
        hole: bool (B, 1, H, W), true where pixels are missing.
    """

    known: Tensor
    hole: Tensor

    @torch.no_grad()
    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like
    ) -> Iterator[State]:
        """Runs the chains that start at x (B, C, H, W); see `Sampler`. A state is its sampler's."""
        for state in self.sampler(score, x, sigmas, normal=normal):
            yield state
        yield State(torch.where(self.hole, state.x, self.known), state.level, state.step + 1)
