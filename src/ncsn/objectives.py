"""Objectives: how far a score network s(x, σ) is from the score of the data, per example.

    objective(score, x, sigma, normal=…) -> (B,)

takes clean images x (B, …) and one noise level a row, sigma (B,), and returns the loss of each row, already
weighted by λ(σ) = σ² (Song & Ermon 2019, Sec. 4.2), so that all levels are of one size and the mean over rows
whose levels are drawn uniformly is the paper's eq. 6.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Score = Callable[[Tensor, Tensor], Tensor]
"""score(x, sigma): (B, …), (B,) -> (B, …), the gradient of log q_σ at x."""


def expand(sigma: Tensor, x: Tensor) -> Tensor:
    """`sigma` (B,) with as many trailing axes of length 1 as broadcasting against `x` (B, …) needs."""
    return sigma.view(-1, *[1] * (x.ndim - 1))


def denoising_score_matching(
    score: Score, x: Tensor, sigma: Tensor, *, normal: Callable[[Tensor], Tensor] = torch.randn_like
) -> Tensor:
    """Denoising score matching, λ(σ)·ℓ(θ; σ) with λ(σ) = σ² (Vincent 2011; Song & Ermon 2019, eq. 5 and 6).

        ℓ(θ; σ) = ½ E ‖ s(x̃, σ) + (x̃ − x)/σ² ‖²,   x̃ = x + σ z,   z ~ N(0, I)

    With the weight a row is ½‖σ s(x̃, σ) + z‖², which is what is computed: nothing is divided by a small σ.

    Args:
        score: the network.
        x: clean images (B, …), pixel values in [0, 1].
        sigma: noise levels (B,).
        normal: draws z; `normal(x)` has the shape of x.

    Returns:
        Loss of each row, (B,), summed over its D values; about ½·D·(something below 1) once trained.
    """
    z = normal(x)
    sigma_ = expand(sigma, x)
    residual = sigma_ * score(x + sigma_ * z, sigma) + z
    return residual.square().flatten(1).sum(1) / 2
