"""What a sampler yields after every step."""

from typing import NamedTuple

from torch import Tensor


class State(NamedTuple):
    """One step of a chain.

    Attributes:
        x: the chains, (B, …), not clamped.
        level: the level i the step was taken at, counted from 0 (largest σ) to L − 1.
        step: the step within the level, counted from 0; the denoising step is number T of the last level.
    """

    x: Tensor
    level: int
    step: int
