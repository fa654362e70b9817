"""What the samplers share that go down the ladder once, from σ₁ to σ = 0: their settings, and how a run is set up."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ncsn import noise
from ncsn.samplers.divergence import stops_when_diverged
from ncsn.samplers.spacing import Spacing, check_spacing, respace
from ncsn.samplers.state import Hold, StartsFrom, State, free
from ncsn.score import Clipped, Normal, Score

ScoreAt = Callable[[Tensor, float], Tensor]
"""score(x, sigma) with one σ for all chains."""


Steps = Generator[Tensor, Tensor, None]


@dataclass(frozen=True)
class Descent(ABC):
    """One pass from σ₁ over N levels to σ = 0. The start should carry noise of about σ₁.

    Attributes:
        steps: N; None takes every level of the ladder.
        spacing: how N levels are chosen; see `spacing.Spacing`.
        rho: ρ of spacing "karras" and "levels".
        clip: clips every denoised image x + σ² s to [0, 1], as DDPM does.
        float64: keeps the chains in float64 between steps. The score is called, and states are yielded, in the type
            of the start all the same.

    Raises:
        ValueError: a value out of range.
    """

    steps: int | None = None
    spacing: Spacing = "karras"
    rho: float = 7.0
    clip: bool = False
    float64: bool = False

    starts_from: ClassVar[StartsFrom] = "noise"
    can_be_held: ClassVar[Literal[True]] = True

    def __post_init__(self) -> None:
        check_spacing(self.steps, self.spacing, self.rho)

    def num_steps(self, num_levels: int) -> int:
        """N."""
        return num_levels if self.steps is None else self.steps

    @abstractmethod
    def descend(self, score: ScoreAt, x: Tensor, sigmas: list[float], normal: Normal) -> Steps:
        """Takes the steps: yields x (B, …) after each, and goes on from the x that it is sent.

        Args:
            score: s(x, σ).
            x: the start (B, …).
            sigmas: the N levels, and 0.
            normal: draws every random value.
        """

    @stops_when_diverged
    @torch.no_grad()
    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like, hold: Hold = free
    ) -> Iterator[State]:
        """Runs the chains that start at x; see `Sampler`. A state's level is the one nearest to its σ.

        Raises:
            ValueError: also if `float64` is asked of a device that has none.
        """
        ladder, dtype, step = respace(sigmas, self.steps, self.spacing, self.rho), x.dtype, Counter[int]()
        all_of_them = self.steps is None  # for whom the matrix of N×L comparisons would be large
        levels = range(len(sigmas)) if all_of_them else noise.position(ladder, sigmas).round().int().tolist()
        if self.float64:
            if x.device.type == "mps":
                raise ValueError("float64=true: the device mps has no float64")
            x = x.double()
        noises = [*ladder.tolist(), 0.0]
        x = hold(noises[0])(x)
        steps = self.descend(self._at_one_level(score, dtype), x, noises, normal)
        for i, (level, below) in enumerate(zip(levels, noises[1:], strict=True)):
            keep = hold(below) if below > 0 else free(below)
            x = keep(steps.send(x) if i else next(steps))
            yield State(x.to(dtype), level, step[level])
            step[level] += 1

    def _at_one_level(self, score: Score, dtype: torch.dtype) -> ScoreAt:
        """The score, called in a type, and clipped if that was asked for."""

        def in_type(x: Tensor, sigma: Tensor) -> Tensor:
            return score(x.to(dtype), sigma.to(dtype)).to(x.dtype)

        seen = Clipped(in_type) if self.clip else in_type
        return lambda x, sigma: seen(x, x.new_full((len(x),), sigma))


@dataclass(frozen=True)
class PartlyRandom(Descent):
    """A descent that can add noise on its way; see `Descent` for the other settings.

    Attributes:
        eta: η in [0, 1], from no noise, with nothing drawn, to as much as the reverse SDE adds.

    Raises:
        ValueError: a value out of range.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta={self.eta}: must be in [0, 1]")
