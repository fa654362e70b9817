"""Exact score matching (Hyvärinen 2005; Song & Ermon 2019, eq. 1).

    E[ tr ∇s(x) + ½‖s(x)‖² ] = ½ E‖s(x) − ∇log p(x)‖² + a constant,

by integration by parts, so that the unknown score of the data drops out. The trace takes D derivatives, too many for
images; one slices or denoises instead.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ncsn.score import Normal, Score, expand

MAX_VALUES = 256
"""The largest D that is accepted; time and memory are those of about 2D evaluations of the network."""


def exact_score_matching_loss(s: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Exact score matching of unperturbed data, tr ∇s(x) + ½‖s(x)‖².

    Args:
        s, x: see `jacobian_trace`.

    Returns:
        Loss of each row, (B,).

    Raises:
        ValueError: D is too large.
    """
    D = x[0].numel()
    if D > MAX_VALUES:
        raise ValueError(
            f"exact score matching of D={D} values takes D derivatives per example and is refused above "
            f"{MAX_VALUES}; SlicedScoreMatching and denoising_score_matching take the same minimum at any size"
        )
    trace = jacobian_trace(s, x)
    return trace + s(x).square().flatten(1).sum(1) / 2


def jacobian_trace(s: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """tr ∇s(x) of each row, (B,), in time and memory those of about 2D evaluations of s.

    The derivatives are taken in forward mode, all D directions at once: four times as fast as reverse mode for images
    of 8×8 (`benchmarks/jvp.py`).

    Args:
        s: the score as a function of x alone, (B, …) -> (B, …), in which no row depends on another; made of
            operations that `torch.func.vmap` knows.
        x: data (B, …).
    """

    def derivative(e: Tensor) -> Tensor:  # eᵀ∇s(x)e, (B,)
        e = e.expand_as(x)
        return (e * torch.func.jvp(s, (x,), (e,))[1]).flatten(1).sum(1)

    D = x[0].numel()
    basis = torch.eye(D, dtype=x.dtype, device=x.device).view(D, 1, *x.shape[1:])
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no forward mode
        return torch.func.vmap(derivative, randomness="same")(basis).sum(0)  # one dropout for all D directions


def exact_score_matching(score: Score, x: Tensor, sigma: Tensor, *, normal: Normal = torch.randn_like) -> Tensor:
    """Exact score matching at a noise level, λ(σ) = σ² times the loss at x̃ = x + σz; D is at most `MAX_VALUES`.

    Without noise, σ = 0, the weight is 0; see `exact_score_matching_loss`.

    Raises:
        ValueError: D is too large, or the network recomputes its features (`checkpointing`), which forward mode
            cannot differentiate.
    """
    if getattr(score, "checkpointing", False):
        raise ValueError(
            "exact score matching cannot differentiate through model.checkpointing=true; "
            "set model.checkpointing=false"
        )
    noisy = x + expand(sigma, x) * normal(x)
    return sigma**2 * exact_score_matching_loss(lambda x: score(x, sigma), noisy)
