"""Chains that diverge stop with the step that did it, instead of ending as NaN or as huge values.

A step longer than the score's scale overshoots by more than it corrects: for s(x) = −x/v, x ← x + α/2·s + √α·z grows
without bound as soon as α > 4v. Data perturbed by N(0, σ²I) have v ≥ σ², and v ≈ σ² in the directions in which the
data themselves hardly vary; so Langevin steps are safe up to ε = 4σ_L², and beyond it a warning is given.

How fast chains grow is up to the network. A score that is linear far from the data takes them to infinity; NCSN and
NCSNv2, whose last layer is normalised, keep it bounded, and the chains grow step by step for as long as they run. So
what is looked at is size: a chain that has its place is no larger than the data and a few times the noise it carries,
and `LIMIT` times the largest of σ₁, of the values it started from, and of 1, the range of pixels, is far beyond that.

The size is noted after every step on the device that the chains are on; the answers are fetched only every hundred
steps and at the end, because to wait for one makes a GPU idle. So up to a hundred states may be yielded after the
first bad one, before the error names it.
"""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import ParamSpec

import torch
from torch import Tensor

from ncsn import noise
from ncsn.samplers.state import State

P = ParamSpec("P")

CHECK_EVERY = 100
LIMIT = 100


class DivergedError(ArithmeticError):
    """Chains grew beyond all bounds, or left the finite numbers.

    Attributes:
        level, step: of the first step after which a chain had done so, counted from 0 as in `State`.
        sigma: σ of the level.
        step_size: of the step, where it has one.
    """

    def __init__(self, level: int, step: int, sigma: float, step_size: float | None) -> None:
        self.level, self.step, self.sigma, self.step_size = level, step, sigma, step_size
        size = "" if step_size is None else f" with step size {step_size:.3g}"
        super().__init__(
            f"the chains diverged at level {level} (σ = {sigma:.3g}), step {step}{size}: "
            "a smaller step size helps, unless the score itself is not finite there"
        )

    def __reduce__(self) -> tuple[type, tuple[int, int, float, float | None]]:
        """Processes tell each other of it."""
        return type(self), (self.level, self.step, self.sigma, self.step_size)


def stops_when_diverged(run: Callable[P, Iterator[State]]) -> Callable[P, Iterator[State]]:
    """Makes a sampler's run, whose arguments include `x` and `sigmas`, raise `DivergedError` when its chains diverge.

    It also has the run refuse `sigmas` that are no ladder, before its first step.
    """
    signature = inspect.signature(run)

    @functools.wraps(run)
    def watched(*args: P.args, **kwargs: P.kwargs) -> Iterator[State]:
        given = signature.bind(*args, **kwargs).arguments
        x, sigmas = given["x"], given["sigmas"]
        noise.check(sigmas)
        limit = LIMIT * x.abs().amax().clamp(min=max(float(sigmas[0]), 1.0))
        notes: list[tuple[Tensor, int, int, Tensor | None]] = []
        for state in run(*args, **kwargs):
            if len(notes) == CHECK_EVERY:
                _check(notes, sigmas)
                notes.clear()
            # False also for what is not a number, and for infinity after a start that was not finite.
            notes.append((state.x.abs().amax() < limit, state.level, state.step, state.step_size))
            yield state
        _check(notes, sigmas)

    return watched


def warn_of_long_steps(step_size: float, sigmas: Tensor) -> None:
    """Warns if Langevin steps x + ε/2 s + √ε z at the last level of a ladder (L,) may diverge, ε > 4σ_L²."""
    bound = 4 * float(sigmas[-1]) ** 2
    if step_size > bound > 0:  # of a density without noise nothing is known
        warnings.warn(
            f"the step size ε = {step_size:.4g} is above 4σ_L² = {bound:.4g}: wherever the data vary less than the "
            f"noise of the last level, σ_L = {float(sigmas[-1]):.4g}, chains diverge; take a smaller one",
            stacklevel=2,
        )


def _check(notes: list[tuple[Tensor, int, int, Tensor | None]], sigmas: Tensor) -> None:
    """Raises for the first of the steps after which a chain was too large or not a number."""
    if not notes:
        return
    sane = torch.stack([note[0] for note in notes]).tolist()
    if not all(sane):
        _, level, step, step_size = notes[sane.index(False)]
        raise DivergedError(level, step, float(sigmas[level]), None if step_size is None else float(step_size))
