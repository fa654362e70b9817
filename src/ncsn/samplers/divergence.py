"""Chains that diverge stop with the step that did it, instead of ending as NaN.

A step longer than the score's scale overshoots by more than it corrects: for s(x) = −x/v, x ← x + α/2·s + √α·z grows
without bound as soon as α > 4v. Whether the chains are finite is noted after every step on the device they are on;
the answers are fetched only every hundred steps and at the end, because to wait for one makes a GPU idle.
So up to a hundred states may be yielded that are not finite, before the error names the first of them.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import ParamSpec

import torch
from torch import Tensor

from ncsn.samplers.state import State

P = ParamSpec("P")

CHECK_EVERY = 100


class DivergedError(ArithmeticError):
    """Chains left the finite numbers.

    Attributes:
        level, step: of the first step after which a chain was not finite, counted from 0 as in `State`.
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


def stops_when_diverged(run: Callable[P, Iterator[State]]) -> Callable[P, Iterator[State]]:
    """Makes a sampler's run, which has an argument `sigmas`, raise `DivergedError` when its chains diverge."""
    signature = inspect.signature(run)

    @functools.wraps(run)
    def watched(*args: P.args, **kwargs: P.kwargs) -> Iterator[State]:
        sigmas: Tensor = signature.bind(*args, **kwargs).arguments["sigmas"]
        notes: list[tuple[Tensor, int, int, Tensor | None]] = []
        for state in run(*args, **kwargs):
            if len(notes) == CHECK_EVERY:
                _check(notes, sigmas)
                notes.clear()
            notes.append((state.x.isfinite().all(), state.level, state.step, state.step_size))
            yield state
        _check(notes, sigmas)

    return watched


def _check(notes: list[tuple[Tensor, int, int, Tensor | None]], sigmas: Tensor) -> None:
    """Raises for the first of the steps after which the chains were not finite."""
    if not notes:
        return
    finite = torch.stack([note[0] for note in notes]).tolist()
    if not all(finite):
        _, level, step, step_size = notes[finite.index(False)]
        raise DivergedError(level, step, float(sigmas[level]), None if step_size is None else float(step_size))
