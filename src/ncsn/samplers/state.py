"""What a sampler is, and what it yields after every step."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from torch import Tensor

from ncsn.score import Normal, Score


class State(NamedTuple):
    """One step of a chain.

    Attributes:
        x: the chains, (B, …), not clamped.
        level: the level i the step was taken at, counted from 0 (largest σ) to L − 1.
        step: the step within the level, counted from 0; the denoising step is number T of the last level.
        step_size: the size of the step at this level, as its sampler defines it; None where it has none.
        acceptance: the share of the chains that accepted their proposal, where there are proposals.
    """

    x: Tensor
    level: int
    step: int
    step_size: Tensor | None = None
    acceptance: Tensor | None = None


class Sampler(Protocol):
    """What every sampler is to those who run it."""

    def num_steps(self, num_levels: int) -> int: ...

    def __call__(self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = ...) -> Iterator[State]: ...
