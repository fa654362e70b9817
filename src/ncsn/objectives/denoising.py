"""Denoising score matching (Vincent 2011; Song & Ermon 2019, eq. 2, 5 and 6), which diffusion models train with, too.

With s = −ε/σ, where ε(x̃, σ) estimates the noise, twice the loss is L_simple = ‖ε − z‖² of DDPM (Ho et al. 2020,
eq. 14).

The loss of Karras et al. 2022 is λ(S)‖D − u₀‖² with λ(S) = (S² + d²)/(S d)², for pixels u in [−1, 1] under noise of
S = 2σ; d = ½ is the standard deviation of the data. As D − u₀ = S (σ s + z), that is 2 (4σ² + d²)/d² times
½‖σ s + z‖².

Palette (Saharia et al. 2022) compares it with the norm L1, ‖ε − z‖₁ = ‖σ s + z‖₁: as good in FID, less diverse.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from ncsn.networks.forms import SIGMA_DATA
from ncsn.objectives.likelihood import LikelihoodWeight
from ncsn.score import Normal, Score, expand

Weight = Literal["sigma_squared", "edm", "likelihood"]
Norm = Literal["l2", "l1"]


def denoising_score_matching(
    score: Score,
    x: Tensor,
    sigma: Tensor,
    *,
    weight: Weight | LikelihoodWeight = "sigma_squared",
    norm: Norm = "l2",
    normal: Normal = torch.randn_like,
) -> Tensor:
    """Denoising score matching, λ(σ)·ℓ(θ; σ) with λ(σ) = σ² (Vincent 2011; Song & Ermon 2019, eq. 5 and 6).

        ℓ(θ; σ) = ½ E ‖ s(x̃, σ) + (x̃ − x)/σ² ‖²,   x̃ = x + σ z,   z ~ N(0, I)

    With the weight, the loss of a row is ½‖σ s(x̃, σ) + z‖². It is computed so: nothing is divided by a small σ.

    Args:
        weight: "sigma_squared" as above; "edm" multiplies the loss by 2 (4σ² + d²)/d², and is the loss of Karras et
            al. 2022, with which a network in the form `edm` that estimates 0 has a loss of about D at every σ. A
            `LikelihoodWeight` makes the mean a bound on −log p; for train.py, which knows how σ is drawn, its name is
            "likelihood".
        norm: "l2" as above; "l1" takes ‖σ s(x̃, σ) + z‖₁ in place of ½‖σ s(x̃, σ) + z‖². The weight "edm" then
            multiplies it by √(1 + 4σ²/d²): both norms are those of the error of F in the form `edm`.

    Raises:
        ValueError: there is no such weight or norm, or they do not go together.
    """
    if weight == "likelihood":
        raise ValueError("weight=likelihood: depends on how σ is drawn; give LikelihoodWeight(levels)")
    if isinstance(weight, str) and weight not in get_args(Weight):
        raise ValueError(f"weight={weight}: must be {', '.join(get_args(Weight))}")
    if norm not in get_args(Norm):
        raise ValueError(f"norm={norm}: must be {' or '.join(get_args(Norm))}")
    if norm == "l1" and isinstance(weight, LikelihoodWeight):
        raise ValueError("norm=l1: bounds no likelihood; take norm=l2, or another weight")
    z = normal(x)
    sigma_ = expand(sigma, x)
    residual = sigma_ * score(x + sigma_ * z, sigma) + z
    if isinstance(weight, LikelihoodWeight):
        return weight(sigma) * residual.square().flatten(1).sum(1) / 2
    edm = 1 + (2 * sigma / SIGMA_DATA) ** 2
    if norm == "l1":
        loss = residual.abs().flatten(1).sum(1)
        return loss if weight == "sigma_squared" else edm.sqrt() * loss
    loss = residual.square().flatten(1).sum(1) / 2
    return loss if weight == "sigma_squared" else 2 * edm * loss
