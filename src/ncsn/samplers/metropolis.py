"""The Metropolis–Hastings correction, with which a chain leaves its density exactly invariant at any step size.

A proposal y from x is accepted with probability min(1, r), otherwise the chain stays at x, where

    r = q(y) p(x | y) / ( q(x) p(y | x) ) = exp( E(x) − E(y) ) · p(x | y)/p(y | x)

and p is the density of the proposals. This needs differences of log q, and so an energy: a score alone is not enough.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ncsn.score import Normal, Score, expand


def energy_of(score: Score, sampler: object) -> Callable[[Tensor, Tensor], Tensor]:
    """The energy that comes with a score, `score.energy(x, sigma)`: (B, …), (B,) -> (B,).

    Raises:
        TypeError: the score has none.
    """
    energy = getattr(score, "energy", None)
    if not callable(energy):
        raise TypeError(
            f"{type(sampler).__name__} accepts or rejects by the energy, and {_name(score)} has none: it needs "
            "a method energy(x, sigma) -> (B,), as ncsn.energy.EnergyScore gives any scalar network (model=energy)"
        )
    return energy


def accepts(log_ratio: Tensor, normal: Normal) -> Tensor:
    """Which chains accept, given log r: (B,) -> (B,), bool. Where log r is NaN, the proposal is rejected."""
    log_uniform = torch.special.log_ndtr(normal(log_ratio))  # Φ of a standard normal value is uniform in (0, 1)
    return log_uniform < log_ratio


def choose(accepted: Tensor, proposed: Tensor, current: Tensor) -> Tensor:
    """The proposed rows where accepted, otherwise the current ones."""
    return torch.where(expand(accepted, current), proposed, current)


def half_square(p: Tensor) -> Tensor:
    """½‖p‖² of each row: (B, …) -> (B,)."""
    return p.square().flatten(1).sum(1) / 2


def _name(score: Score) -> str:
    return getattr(score, "__name__", type(score).__name__)
