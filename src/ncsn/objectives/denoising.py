"""Denoising score matching (Vincent 2011; Song & Ermon 2019, eq. 2, 5 and 6)."""

import torch
from torch import Tensor

from ncsn.score import Normal, Score, expand


def denoising_score_matching(score: Score, x: Tensor, sigma: Tensor, *, normal: Normal = torch.randn_like) -> Tensor:
    """Denoising score matching, λ(σ)·ℓ(θ; σ) with λ(σ) = σ² (Vincent 2011; Song & Ermon 2019, eq. 5 and 6).

        ℓ(θ; σ) = ½ E ‖ s(x̃, σ) + (x̃ − x)/σ² ‖²,   x̃ = x + σ z,   z ~ N(0, I)

    With the weight, the loss of a row is ½‖σ s(x̃, σ) + z‖². It is computed so: nothing is divided by a small σ.
    """
    z = normal(x)
    sigma_ = expand(sigma, x)
    residual = sigma_ * score(x + sigma_ * z, sigma) + z
    return residual.square().flatten(1).sum(1) / 2
