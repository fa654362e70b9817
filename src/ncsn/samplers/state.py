"""What a sampler is, what it starts from, and what it yields after every step."""

from collections.abc import Callable, Iterator
from typing import ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from ncsn.random import Draws
from ncsn.score import Normal, Score

StartsFrom = Literal["uniform", "noise"]
"""What the chains of a sampler start from; see `start`."""


Hold = Callable[[Tensor | float], Callable[[Tensor], Tensor]]
"""hold(sigma): what chains are held to where they carry noise σ, a function of chains (B, …) -> (B, …).

A sampler calls `hold` once for every σ > 0 that its steps lead to, before it draws anything for them, and the
function after every step; if it starts from noise, also for σ₁, and the function before the first step.
"""


def free(sigma: Tensor | float) -> Callable[[Tensor], Tensor]:
    """Chains are held to nothing."""
    return lambda x: x


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

    @property
    def starts_from(self) -> StartsFrom:
        """What its chains should start from; see `start`."""
        ...

    def num_steps(self, num_levels: int) -> int:
        """The number of states that a run over so many levels yields, known beforehand."""
        ...

    def __call__(self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = ...) -> Iterator[State]:
        """Runs the chains that start at x. Neither x nor a state that was yielded is changed afterwards.

        No gradients are recorded. Nothing is checked, and nothing drawn, before the first state is asked for.

        Args:
            score: s(x, σ); for a sampler that accepts or rejects (`needs_energy`), with its energy beside it as
                `score.energy(x, sigma)` -> (B,).
            x: the start (B, …).
            sigmas: σ₁ > … > σ_L, shape (L,).
            normal: draws every random value; `normal(x)` has the shape of x.

        Yields:
            The state after every step.

        Raises:
            ValueError: `sigmas` is no ladder (`noise.check`), or not one that the sampler's settings suit.
            TypeError: the score lacks an energy that the sampler needs.
            DivergedError: the chains grew beyond all bounds, or are no longer finite.
        """
        ...


class Holdable(Sampler, Protocol):
    """A sampler whose chains can be held to something; it says so by `can_be_held`."""

    can_be_held: ClassVar[Literal[True]]

    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = ..., hold: Hold = ...
    ) -> Iterator[State]: ...


def start(sampler: Sampler, shape: tuple[int, ...], sigmas: Tensor, draws: Draws) -> Tensor:
    """The start that a sampler asks for.

        "uniform"   x ~ U[0, 1], as in Algorithm 1 of Song & Ermon 2019
        "noise"     x = ½ + σ₁ z, noise of the first level around a grey image

    Args:
        sampler: whose chains these are; one that does not say what it starts from starts from "uniform".
        shape: (B, …).
        sigmas: σ₁ > … > σ_L, shape (L,).
        draws: where the values come from, and on which device they are.

    Returns:
        The start (B, …), float32.
    """
    if getattr(sampler, "starts_from", "uniform") == "uniform":
        return draws.uniform(*shape)
    return 0.5 + float(sigmas[0]) * draws.normal(torch.empty(shape, device="meta"))


def num_evaluations(sampler: Sampler, num_levels: int) -> int:
    """Evaluations of the score per chain in a run over so many levels.

    Args:
        sampler: whose run it is; one whose steps do not take one evaluation each says so itself, by its own
            `num_evaluations(num_levels)`.
        num_levels: L.
    """
    count: Callable[[int], int] = getattr(sampler, "num_evaluations", sampler.num_steps)
    return count(num_levels)
