"""Sliced score matching (Song et al., UAI 2019; Song & Ermon 2019, eq. 3).

Exact score matching needs the trace of the Jacobian, D derivatives. For random v with E vvᵀ = I one is enough:

    tr ∇s = E_v vᵀ∇s v,        ½‖s‖² = E_v ½(vᵀs)².

Plain sliced score matching estimates both terms with v; its variance-reduced form keeps the second as it is. What
that saves grows with D: at the score of N(0, I), s = −x, the loss of an example has a variance of ½D² + 3/2·D in the
plain form and of 5/2·D in the reduced one (with signs for v: ½D² and ½D).

At a noise level both are applied to the perturbed data, x̃ = x + σz, whose score always exists.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ncsn.score import Normal, Score, expand


def sliced_score_matching_loss(
    s: Callable[[Tensor], Tensor], x: Tensor, v: Tensor, *, variance_reduced: bool = False
) -> Tensor:
    """Sliced score matching of the data as they are: the mean over v of vᵀ∇s(x)v + ½(vᵀs(x))².

    The derivative is taken in reverse mode, two to three times as fast as forward mode at one direction a time
    (`benchmarks/jvp.py`), and taken also where the caller records none, as in validation.

    Args:
        s: the score as a function of x alone, (B, …) -> (B, …), each row of it of its own row.
        x: data (B, …).
        v: M projections for every row, (M, B, …).
        variance_reduced: ½‖s(x)‖² in place of ½(vᵀs(x))².

    Returns:
        Loss of each row, (B,).
    """
    training = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        x, v = x.clone().requires_grad_(), v.clone()  # what was made in inference mode could not be differentiated
        value = s(x)
        losses = []
        for v_m in v:
            (slope,) = torch.autograd.grad(
                value, x, v_m, retain_graph=True, create_graph=training, materialize_grads=True
            )
            squared = value.square().flatten(1).sum(1) if variance_reduced else _dot(v_m, value).square()
            losses.append(_dot(slope, v_m) + squared / 2)
        loss = torch.stack(losses).mean(0)
    return loss if training else loss.detach()


@dataclass(frozen=True)
class SlicedScoreMatching:
    """Sliced score matching at every noise level, λ(σ) = σ² times the loss at x̃ = x + σz.

    σ = 0 has no weight; for data without noise there is `sliced_score_matching_loss`.

    Attributes:
        num_projections: M ≥ 1 for every example; each costs one derivative, about two evaluations.
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
        """The loss of each row.

        Args:
            score: the network, differentiable twice.
            x: clean images (B, …), pixel values in [0, 1].
            sigma: noise levels (B,).
            normal: draws z, then every v; `normal(x)` has the shape of x.

        Returns:
            Loss of each row, (B,), summed over its D values; negative once trained, down to −½D.
        """
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
