"""Which levels a sampler steps through, where it is to take fewer or more than the ladder has."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from ncsn import noise

Spacing = Literal["karras", "logsnr", "uniform", "quadratic", "levels"]
"""How steps are spread over a ladder:

    "karras"      σ^(1/ρ) uniform between the ladder's ends (Karras et al. 2022, eq. 5)
    "logsnr"      log σ uniform between the ladder's ends
    "uniform"     levels of the ladder, their indices uniform (DDIM's linear)
    "quadratic"   levels of the ladder, the roots of their indices uniform, denser towards σ_L (DDIM's quadratic)
    "levels"      the levels of the ladder nearest to karras, for networks that know no other σ
"""

MOST_STEPS = 10_000


def respace(sigmas: Tensor, steps: int | None, spacing: Spacing = "karras", rho: float = 7.0) -> Tensor:
    """So many levels from σ₁ to σ_L, both of them included.

    Args:
        sigmas: σ₁ > … > σ_L > 0, shape (L,).
        steps: N ≥ 2; None takes the ladder as it is.
        spacing: how they are spread.
        rho: ρ of "karras" and "levels".

    Returns:
        Shape (N,), descending, of the type of `sigmas`.

    Raises:
        ValueError: a value out of range; or N levels cannot be had from this ladder.
    """
    check_spacing(steps, spacing, rho)
    if float(sigmas[0]) == 0:
        raise ValueError("sigmas=[0]: there is no noise to remove")
    if steps is None:
        return sigmas
    last = len(sigmas) - 1
    if not last:
        raise ValueError(f"steps={steps}: a ladder of one level has no levels between its ends; take steps=null")
    if spacing in ("karras", "logsnr"):
        found = _between(sigmas, steps, spacing, rho)
        # The ends are the network's own levels, to the last bit.
        return torch.cat([sigmas[:1], found[1:-1], sigmas[-1:]])
    if steps > len(sigmas):
        raise ValueError(
            f"steps={steps}: spacing={spacing} takes levels of the ladder, and it has {len(sigmas)}; "
            "karras and logsnr take any number"
        )
    if spacing == "levels":
        places = noise.position(_between(sigmas, steps, "karras", rho), sigmas).cpu()
    elif spacing == "uniform":
        places = torch.linspace(0, last, steps, dtype=torch.float64, device="cpu")
    else:
        places = last - torch.linspace(last**0.5, 0, steps, dtype=torch.float64, device="cpu") ** 2
    return sigmas[_distinct(places.round().long(), len(sigmas)).to(sigmas.device)]


def check_spacing(steps: int | None, spacing: str, rho: float) -> None:
    """Refuses settings that suit no ladder.

    Raises:
        ValueError: naming the setting.
    """
    if steps is not None and not 2 <= steps <= MOST_STEPS:
        raise ValueError(f"steps={steps}: must be from 2 to {MOST_STEPS}, or null for all levels")
    if spacing not in get_args(Spacing):
        raise ValueError(f"spacing={spacing}: must be one of {', '.join(get_args(Spacing))}")
    if not 0 < rho < math.inf:
        raise ValueError(f"rho={rho}: must be positive and finite")


def _between(sigmas: Tensor, steps: int, spacing: str, rho: float) -> Tensor:
    ends = float(sigmas[0]), float(sigmas[-1])
    found = noise.geometric(*ends, steps) if spacing == "logsnr" else noise.karras(*ends, steps, rho)
    return found.to(sigmas)


def _distinct(indices: Tensor, count: int) -> Tensor:
    """Indices 0 = i₁ ≤ … ≤ i_N = `count` − 1 made distinct, each moved no farther than that takes."""
    order = torch.arange(len(indices))
    return ((indices - order).cummax(0).values + order).minimum(count - len(indices) + order)
