"""Chains on their way to the page: what is shown of them, and how often."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ncsn.config import as_config_error
from ncsn.images import to_uint8
from ncsn.random import Draws
from ncsn.sampling.drawing import steps
from ncsn.sampling.tasks import Task
from ncsn.studio.networks import Network

SECONDS = 0.15  # between two pictures of the same chains


class Moment(NamedTuple):
    """Chains after so many of their steps.

    Attributes:
        x: (B, C, H, W), values around [0, 1], on the device.
        sigma: the noise level that the last step was taken at; σ₁ before the first.
    """

    x: Tensor
    sigma: float
    step: int
    num_steps: int

    @property
    def is_last(self) -> bool:
        return self.step == self.num_steps


def moments(network: Network, task: Task, seed: int) -> Iterator[Moment]:
    """All chains of a task, after every step; the same images as `ncsn sample` draws in one batch.

    Args:
        network: the task's.
        seed: of all random numbers.

    Raises:
        ConfigError: the sampler refuses the network, or chains diverged.
    """
    draws, num_steps = Draws(seed, "sample", 0, device=network.device), task.num_steps
    sigmas = task.score.sigmas.tolist()
    with as_config_error(task.driver):
        for number, (x, state) in enumerate(steps(task, range(task.num_chains), draws)):
            yield Moment(x, sigmas[0 if state is None else state.level], number, num_steps)


def seldom(several: Iterable[Moment], seconds: float = SECONDS) -> Iterator[Moment]:
    """The first of them, the last, and in between no more than one in so many seconds."""
    shown = -seconds
    for moment in several:
        now = time.monotonic()
        if moment.is_last or now - shown >= seconds:
            yield moment
            shown = time.monotonic()


def bytes_of(x: Tensor) -> Tensor:
    """Images with values around [0, 1] as uint8 (B, C, H, W) on the CPU."""
    return torch.from_numpy(to_uint8(x)).permute(0, 3, 1, 2)
