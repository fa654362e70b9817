"""The probability flow (Song et al. 2021, Sec. 4.3), from images to latents and back:

    dx/dσ = −σ s(x, σ).

What is distributed as q_σ₁ at σ₁ is distributed as q_σ at every σ below. Nothing is drawn on the way: to every image
belongs one latent, and to every latent one image. Along a path the density changes by the divergence,

    d log q_σ(x)/d ln σ = σ² ∇·s(x, σ),

which lies between −D, where all is noise, and 0, where there is none. Hence ln σ is what it is integrated over.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from ncsn import noise
from ncsn.samplers.spacing import Spacing, check_spacing, respace
from ncsn.samplers.state import StartsFrom, State
from ncsn.score import Normal, Score

Field = Callable[[Tensor, float], tuple[Tensor, Tensor]]
"""field(x, sigma): the score s(x, σ) (B, …) and its divergence ∇·s(x, σ) (B,), with one σ for all rows."""

MOST_EVALUATIONS = 10_000


class Solution(NamedTuple):
    """A flow that has been solved.

    Attributes:
        x: its end (B, …), float64 where the device has it.
        change: of log q_σ(x), from its start to its end, (B,).
        evaluations: of the score, for each row.
    """

    x: Tensor
    change: Tensor
    evaluations: int


class Solver(Protocol):
    """Follows the flow from σ_L to σ₁, or back."""

    def __call__(self, field: Field, x: Tensor, sigmas: Tensor, *, upwards: bool) -> Solution:
        """Solves the flow that starts at x (B, …).

        Args:
            field: the score and its divergence, given x in its own type.
            x: the start.
            sigmas: the ladder (L,), as samplers take it.
            upwards: from σ_L to σ₁; otherwise from σ₁ to σ_L.

        Raises:
            ArithmeticError: it left the finite numbers.
        """


@dataclass(frozen=True)
class HeunSteps:
    """Heun's method, of order 2, with two evaluations per step. Rows do not depend on each other.

    Attributes:
        steps: N levels, N − 1 steps between them; None takes every level of the ladder.
        spacing, rho: how N levels are chosen; see `ncsn.samplers.spacing`.

    Raises:
        ValueError: a value out of range.
    """

    steps: int | None = 100
    spacing: Spacing = "karras"
    rho: float = 7.0

    def __post_init__(self) -> None:
        check_spacing(self.steps, self.spacing, self.rho)

    def __call__(self, field: Field, x: Tensor, sigmas: Tensor, *, upwards: bool) -> Solution:
        levels = respace(sigmas, self.steps, self.spacing, self.rho).tolist()
        dtype, x = x.dtype, _wide(x)
        change = x.new_zeros(len(x))
        for sigma, other in pairwise(reversed(levels) if upwards else levels):
            s, divergence = field(x.to(dtype), sigma)
            ahead = x - (other - sigma) * sigma * s
            s_ahead, divergence_ahead = field(ahead.to(dtype), other)
            x = x - (other - sigma) / 2 * (sigma * s + other * s_ahead)
            mean = (sigma**2 * _wide(divergence) + other**2 * _wide(divergence_ahead)) / 2
            change = change + math.log(other / sigma) * mean
        if not (x.isfinite().all() and change.isfinite().all()):
            raise ArithmeticError("the flow left the finite numbers; more steps help, unless the score does the same")
        return Solution(x, change, 2 * (len(levels) - 1))


@dataclass(frozen=True)
class DormandPrince:
    """Dormand & Prince's method of order 5(4) as scipy has it, RK45, with which the likelihoods of Song et al. 2021
    were computed. The state is kept on the CPU in float64.

    The length of a step is the same for all rows, so that a row depends, within the tolerance, on those beside it.

    Attributes:
        rtol, atol: relative and absolute tolerance; the root of the mean square of the error, over all values of all
            rows, is held below atol + rtol·|value| at every step.

    Raises:
        ValueError: a value out of range.
    """

    rtol: float = 1e-5
    atol: float = 1e-5

    def __post_init__(self) -> None:
        for name, value in (("rtol", self.rtol), ("atol", self.atol)):
            if not 1e-13 <= value < 1:
                raise ValueError(f"{name}={value}: must be from 1e-13 to below 1")

    def __call__(self, field: Field, x: Tensor, sigmas: Tensor, *, upwards: bool) -> Solution:
        from scipy.integrate import RK45  # takes a while to import

        highest, lowest = float(sigmas[0]), float(sigmas[-1])
        start, end = (lowest, highest) if upwards else (highest, lowest)

        def slope(log_sigma: float, state: np.ndarray) -> np.ndarray:  # dx/d ln σ and d log q/d ln σ
            if not np.isfinite(state).all():  # no step would ever be short enough
                raise ArithmeticError(f"the flow left the finite numbers at σ = {math.exp(log_sigma):.3g}")
            sigma = min(max(math.exp(log_sigma), lowest), highest)  # rounding must not leave the ladder
            at = torch.from_numpy(state[: x.numel()]).view(x.shape)
            s, divergence = (value.cpu().double() for value in field(at.to(x), sigma))
            return np.concatenate([-(sigma**2) * s.numpy().ravel(), sigma**2 * divergence.numpy()])

        state = np.concatenate([x.cpu().double().numpy().ravel(), np.zeros(len(x))])
        solver = RK45(slope, math.log(start), state, math.log(end), rtol=self.rtol, atol=self.atol)
        while solver.status == "running":
            problem = solver.step()
            if solver.nfev > MOST_EVALUATIONS:
                problem = f"took more than {MOST_EVALUATIONS} evaluations; a larger tolerance takes fewer"
            if problem:
                raise ArithmeticError(f"the flow was not solved from σ = {start:.3g} to {end:.3g}: {problem}")
        found = torch.from_numpy(solver.y)
        ends = found[: x.numel()].view(x.shape)
        device = "cpu" if x.device.type == "mps" else x.device  # which has no float64
        return Solution(ends.to(device), found[x.numel() :].to(device), solver.nfev)


@torch.no_grad()
def encode(score: Score, x: Tensor, sigmas: Tensor, *, solver: Solver | None = None) -> Tensor:
    """The latents of images: the flow from σ_L to σ₁.

    Args:
        score: s(x, σ).
        x: images (B, …).
        sigmas: the ladder (L,).
        solver: `DormandPrince` with the tolerances of Song et al. 2021 if None.

    Returns:
        Latents (B, …) of the type of x, distributed as images with noise of σ₁.

    Raises:
        ValueError: `sigmas` is no ladder above 0.
        ArithmeticError: the flow cannot be solved.
    """
    return _solved(score, x, sigmas, solver, upwards=True)


@torch.no_grad()
def decode(score: Score, latents: Tensor, sigmas: Tensor, *, solver: Solver | None = None) -> Tensor:
    """The images of latents: the flow from σ₁ to σ_L, the inverse of `encode` up to the error of the solver.

    The arguments and errors are those of `encode`. The images carry noise of σ_L.
    """
    return _solved(score, latents, sigmas, solver, upwards=False)


@dataclass(frozen=True)
class ProbabilityFlow:
    """`decode` as a sampler: its chains start at latents and draw nothing, and the one state is their images."""

    solver: Solver

    starts_from: ClassVar[StartsFrom] = "noise"

    def num_steps(self, num_levels: int) -> int:
        return 1

    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like
    ) -> Iterator[State]:
        yield State(decode(score, x, sigmas, solver=self.solver), len(sigmas) - 1, 0)


def check_levels(sigmas: Tensor) -> None:
    """Refuses what the flow cannot run over.

    Raises:
        ValueError: it is no ladder above 0.
    """
    noise.check(sigmas)
    if float(sigmas[-1]) == 0:
        raise ValueError("sigmas=[0]: the flow runs between levels of noise, and there is none")


def _solved(score: Score, x: Tensor, sigmas: Tensor, solver: Solver | None, upwards: bool) -> Tensor:
    check_levels(sigmas)

    def field(x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        return score(x, x.new_full((len(x),), sigma)), x.new_zeros(len(x))

    return (solver or DormandPrince())(field, x, sigmas, upwards=upwards).x.to(x)


def _wide(x: Tensor) -> Tensor:
    return x if x.device.type == "mps" else x.double()  # which has no float64
