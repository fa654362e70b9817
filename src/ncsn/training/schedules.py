"""Schedules of the learning rate, as factors of the optimiser's own."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def constant(optimizer: Optimizer, *, warmup_steps: int = 0) -> LambdaLR:
    """The learning rate itself, after a linear rise over `warmup_steps`; without one, the paper's."""
    return LambdaLR(optimizer, lambda step: _rise(step, warmup_steps))


def cosine(optimizer: Optimizer, *, total_steps: int, warmup_steps: int = 0) -> LambdaLR:
    """A linear rise over `warmup_steps`, and half a cosine down to 0 at `total_steps`."""
    if total_steps < 1:
        raise ValueError(f"total_steps={total_steps}: must be at least 1; with epochs, give the number of steps")

    def factor(step: int) -> float:
        return _rise(step, warmup_steps) * (1 + math.cos(math.pi * min(1, step / total_steps))) / 2

    return LambdaLR(optimizer, factor)


def _rise(step: int, warmup_steps: int) -> float:
    return min(1, (step + 1) / (warmup_steps + 1))
