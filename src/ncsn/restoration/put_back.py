"""What is known of an image, exactly, at the end of a chain whose score knows it already (`ncsn.score.Filling`)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ncsn.known import Known
from ncsn.samplers import Sampler, State, num_evaluations
from ncsn.samplers.state import StartsFrom
from ncsn.score import Normal, Score


@dataclass(frozen=True)
class PutBack:
    """A sampler after whose last step what is known is put in its place; one step more, which evaluates nothing.

    Nothing is changed on the way there, so that it can be any sampler.

    Attributes:
        sampler: draws the rest.
        project: P, what is known.
        image: one per chain, (B, C, H, W), of which only P(image) matters.
    """

    sampler: Sampler
    project: Known
    image: Tensor

    @property
    def starts_from(self) -> StartsFrom:
        return self.sampler.starts_from

    def num_steps(self, num_levels: int) -> int:
        """Steps of a whole run, with the one that puts back what is known."""
        return self.sampler.num_steps(num_levels) + 1

    def num_evaluations(self, num_levels: int) -> int:
        """Those of the sampler."""
        return num_evaluations(self.sampler, num_levels)

    @torch.no_grad()
    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like
    ) -> Iterator[State]:
        """Runs the chains that start at x (B, C, H, W); see `Sampler`. A state is its sampler's."""
        for state in self.chains(score, x, sigmas, normal):
            yield state
        P = self.project
        yield State(state.x - P(state.x) + P(self.image), state.level, state.step + 1)

    def chains(self, score: Score, x: Tensor, sigmas: Tensor, normal: Normal) -> Iterator[State]:
        """Those of the sampler."""
        return self.sampler(score, x, sigmas, normal=normal)
