"""Restoration by any sampler: Algorithm 2 of Song & Ermon 2019 (App. B.3), and the same with fewer evaluations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ncsn.restoration.known import Known
from ncsn.samplers import State, num_evaluations
from ncsn.samplers.state import Holdable, StartsFrom
from ncsn.score import Normal, Score

import os
@dataclass(frozen=True)
class Restoration:
    sampler: Holdable
    project: Known
    image: Tensor
    fixed: bool = False

    @property
    def starts_from(self) -> StartsFrom:
        return self.sampler.starts_from

    def num_steps(self, num_levels: int) -> int:
        return self.sampler.num_steps(num_levels) + 1

    def num_evaluations(self, num_levels: int) -> int:
        return num_evaluations(self.sampler, num_levels)

    @torch.no_grad()
    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like
    ) -> Iterator[State]:
        P = self.project
        known = P(self.image)
        zz = None
        def hold(sigma):
            nonlocal zz
            if float(sigma) == 0: return lambda x: x
            z = normal(x) if zz is None else zz
            if self.fixed: zz = z
            y = known + sigma * P(z)
            return lambda x: x - P(x) + y
        for state in self.sampler(score, x, sigmas, normal=normal, hold=hold):
            yield state
        yield State(state.x - P(state.x) + known, state.level, state.step + 1)
