"""What a network has learned by regression (`ncsn.objectives.image_regression`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ncsn.objectives.regression import GREY
from ncsn.restoration.tweedie import Tweedie
from ncsn.samplers import State
from ncsn.samplers.state import StartsFrom
from ncsn.score import Normal, Score


@dataclass(frozen=True)
class Regression:
    """The mean of the images that a damaged one may come from, as a sampler of one step."""

    starts_from: ClassVar[StartsFrom] = "noise"

    def num_steps(self, num_levels: int) -> int:
        """One, whatever the levels."""
        return 1

    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like
    ) -> Iterator[State]:
        """Yields Tweedie's estimate at σ₁ from ½ everywhere, whatever x (B, …) is; draws nothing. See `Sampler`."""
        estimate = Tweedie(float(sigmas[0]))
        yield from estimate(score, torch.full_like(x, GREY), sigmas, normal=normal)
