"""Sliced score matching (Song et al., UAI 2019; Song & Ermon 2019, eq. 3).

Exact score matching needs the trace of the Jacobian, D derivatives. For random v with E vvᵀ = I one is enough:

    tr ∇s = E_v vᵀ∇s v,        ½‖s‖² = E_v ½(vᵀs)².

Plain sliced score matching estimates both terms with v; its variance-reduced form keeps ½‖s‖². What that saves grows
with D: at the score of N(0, I), s = −x, the loss of an example has a variance of ½D² + 3/2·D in the plain form and of
5/2·D in the reduced one (with signs for v: ½D² and ½D).

At a noise level both are applied to the perturbed data, x̃ = x + σz, whose score always exists.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ncsn.score import Normal, Score, expand


def sliced_score_matching_loss(
    s: Callable[[Tensor], Tensor], x: Tensor, v: Tensor, *, variance_reduced: bool = False
) -> Tensor:
    """Sliced score matching of unperturbed data: the mean over v of vᵀ∇s(x)v + ½(vᵀs(x))².

    Args:
        s, x, v: see `projected_jacobian`.
        variance_reduced: ½‖s(x)‖² in place of ½(vᵀs(x))².

    Returns:
        Loss of each row, (B,).
    """
    value, slopes = projected_jacobian(s, x, v)
    losses = []
    for v_m, slope in zip(v, slopes, strict=True):
        squared = value.square().flatten(1).sum(1) if variance_reduced else _dot(v_m, value).square()
        losses.append(slope + squared / 2)
    return torch.stack(losses).mean(0)


def projected_jacobian(s: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The score, and vᵀ∇s(x)v of every projection, whose mean over v estimates tr ∇s(x) (Hutchinson 1990).

    The derivative is taken in reverse mode, for one direction at a time two to three times as fast as forward mode
    (`benchmarks/jvp.py`). It is taken even where the caller records no gradients, as in validation.

    Args:
        s: the score as a function of x alone, (B, …) -> (B, …), in which no row depends on another.
        x: data (B, …).
        v: M projections per row, (M, B, …).

    Returns:
        s(x), (B, …), and M tensors (B,).
    """
    training = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        x, v = x.clone().requires_grad_(), v.clone()  # what was made in inference mode could not be differentiated
        with sdpa_kernel(SDPBackend.MATH):  # fused attention is differentiated once only
            value = s(x)
        slopes = []
        for v_m in v:
            (slope,) = torch.autograd.grad(
                value, x, v_m, retain_graph=True, create_graph=training, materialize_grads=True
            )
            slopes.append(_dot(slope, v_m))
    return (value, slopes) if training else (value.detach(), [slope.detach() for slope in slopes])


@dataclass(frozen=True)
class SlicedScoreMatching:
    """Sliced score matching at every noise level, λ(σ) = σ² times the loss at x̃ = x + σz.

    Without noise, σ = 0, the weight is 0; see `sliced_score_matching_loss`.

    Attributes:
        num_projections: M ≥ 1 per example; each costs one derivative, about two evaluations.
        projection: "gaussian", v ~ N(0, I), or "rademacher", signs ±1, with which the trace has less variance.
        variance_reduced: ½‖s‖² in place of ½(vᵀs)².

    Raises:
        ValueError: a value out of range.
    """

    num_projections: int = 1
    projection: Literal["gaussian", "rademacher"] = "gaussian"
    variance_reduced: bool = False

    def __post_init__(self) -> None:
        if self.num_projections < 1:
            raise ValueError(f"num_projections={self.num_projections}: must be at least 1")
        if self.projection not in ("gaussian", "rademacher"):
            raise ValueError(f"projection={self.projection}: must be gaussian or rademacher")

    def __call__(self, score: Score, x: Tensor, sigma: Tensor, *, normal: Normal = torch.randn_like) -> Tensor:
        """The loss of each row, for a network that can be differentiated twice. `normal` draws z, then every v."""
        noisy = x + expand(sigma, x) * normal(x)
        v = torch.stack([normal(x) for _ in range(self.num_projections)])
        loss = sliced_score_matching_loss(
            lambda x: score(x, sigma.clone()),
            noisy,
            v.sign() if self.projection == "rademacher" else v,
            variance_reduced=self.variance_reduced,
        )
        return sigma**2 * loss


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """aᵀb of each row: (B, …), (B, …) -> (B,)."""
    return (a * b).flatten(1).sum(1)
