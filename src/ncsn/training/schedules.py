"""Schedules of the learning rate, as factors of the optimiser's own."""

import math
import time
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Timer
from torch import Tensor, distributed
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler


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


class OverTime(LRScheduler):
    """A linear rise over `warmup_steps`, and half a cosine down to 0 at the end of a time.

    The time that a run took before it was interrupted counts. The processes of a run go by the first one's clock.

    Args:
        max_time: "DD:HH:MM:SS", as `trainer.max_time` has it.
        warmup_steps: of the linear rise.

    Raises:
        ValueError: `max_time` is no such time, or none at all.
    """

    def __init__(self, optimizer: Optimizer, *, max_time: str | None, warmup_steps: int = 0) -> None:
        self.seconds, self.warmup_steps = seconds_of(max_time), warmup_steps
        self.spent, self._since = 0.0, time.monotonic()
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        if self.last_epoch % _STEPS_PER_READING == 0:
            now = time.monotonic()
            self.spent, self._since = self._of_the_first(self.spent + now - self._since), now
        share = min(1, self.spent / self.seconds)
        factor = _rise(self.last_epoch, self.warmup_steps) * (1 + math.cos(math.pi * share)) / 2
        return [rate * factor for rate in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        return {"spent": self.spent, "last_epoch": self.last_epoch, "base_lrs": self.base_lrs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._since = time.monotonic()

    def _of_the_first(self, spent: float) -> float:
        if not distributed.is_initialized():
            return spent
        told = [spent]
        distributed.broadcast_object_list(told)
        return told[0]


_STEPS_PER_READING = 10  # of the clock: telling the others makes a GPU wait


def seconds_of(max_time: str | None) -> float:
    """Seconds of "DD:HH:MM:SS", as Lightning reads it.

    Raises:
        ValueError: it is no such time.
    """
    try:
        seconds = Timer(max_time).time_remaining()
    except MisconfigurationException:
        seconds = None
    if not seconds:
        raise ValueError(f"max_time={max_time}: must be a time as trainer.max_time has it, DD:HH:MM:SS, and not none")
    return seconds


def _rise(step: int, warmup_steps: int) -> float:
    return min(1, (step + 1) / (warmup_steps + 1))
