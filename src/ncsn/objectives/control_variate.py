"""Denoising score matching with a control variate.

From Song & Kingma 2021, "How to Train Your Energy-Based Models", Sec. 3. Written out, the loss of denoising score
matching at x̃ = x + σz is

    ℓ = ½‖s(x̃) + z/σ‖² = ½‖s(x̃)‖² + s(x̃)ᵀz/σ + ½‖z‖²/σ²,

and as σ → 0 the variance of ℓ grows as 1/σ⁴ and that of its gradient as 1/σ², although their expectations tend, up to
a constant, to those of exact score matching. As s(x̃) = s(x) + σ∇s(x)z + …, what grows is, to first order,

    c = s(x)ᵀz/σ + ½(‖z‖² − D)/σ²,   with E c = 0, since z is independent of x.

Subtracting it leaves the expectations of ℓ and of its gradient as they are and removes what grew:

    ℓ − c = ½‖s(x̃)‖² + (s(x̃) − s(x))ᵀz/σ + ½D/σ²,

which tends to ½‖s(x)‖² + zᵀ∇s(x)z plus the constant: variance-reduced sliced score matching with the noise itself as
the projection, and without taking a derivative.
"""

import torch
from torch import Tensor

from ncsn.score import Normal, Score, expand


def denoising_with_control_variate(
    score: Score, x: Tensor, sigma: Tensor, *, normal: Normal = torch.randn_like
) -> Tensor:
    """Denoising score matching minus its control variate, σ²(ℓ − c), which has the expectation of σ²ℓ.

    It costs a second evaluation of the network, at the clean images. It helps where σ is small beside the scale on
    which the score varies. Where σ is large, s(x, σ) says little about s(x̃, σ), and the variance may be larger. As
    σ → 0 the loss of a row tends to ½D, whatever the network.
    """
    z = normal(x)
    sigma_ = expand(sigma, x)
    noisy, clean = score(x + sigma_ * z, sigma), score(x, sigma)
    terms = (sigma_ * noisy).square() / 2 + sigma_ * (noisy - clean) * z + 0.5
    return terms.flatten(1).sum(1)
