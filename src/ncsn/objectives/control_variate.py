"""Denoising score matching with a control variate.

From Song & Kingma 2021, "How to Train Your Energy-Based Models", Sec. 3. Written out, the loss of denoising score
matching at x̃ = x + σz is

    ℓ = ½‖s(x̃) + z/σ‖² = ½‖s(x̃)‖² + s(x̃)ᵀz/σ + ½‖z‖²/σ²,

and as σ → 0 the variance of ℓ grows as 1/σ⁴ and that of its gradient as 1/σ², although their expectations, up to a
constant, tend to those of exact score matching. Now s(x̃) = s(x) + σ∇s(x)z + …, so what grows is, to first order,

    c = s(x)ᵀz/σ + ½(‖z‖² − D)/σ²,   with E c = 0, since z is independent of x.

Subtracting it leaves the expectations of ℓ and of its gradient as they are and removes what grew:

    ℓ − c = ½‖s(x̃)‖² + (s(x̃) − s(x))ᵀz/σ + ½D/σ²,

which, but for the constant, tends to ½‖s(x)‖² + zᵀ∇s(x)z: variance-reduced sliced score matching with the noise
itself for the projection, and no derivative taken.
"""

import torch
from torch import Tensor

from ncsn.score import Normal, Score, expand


def denoising_with_control_variate(
    score: Score, x: Tensor, sigma: Tensor, *, normal: Normal = torch.randn_like
) -> Tensor:
    """Denoising score matching less its control variate, σ²(ℓ − c), of which the expectation is σ²ℓ's.

    It costs a second evaluation of the network, at the clean images. What it gains it gains where σ is small beside
    the scale on which the score varies; where σ is large, s(x, σ) says little of s(x̃, σ), and it may lose.

    Args:
        score: the network.
        x: clean images (B, …), pixel values in [0, 1].
        sigma: noise levels (B,).
        normal: draws z; `normal(x)` has the shape of x.

    Returns:
        Loss of each row, (B,), summed over its D values; ½D as σ → 0, whatever the network.
    """
    z = normal(x)
    sigma_ = expand(sigma, x)
    noisy, clean = score(x + sigma_ * z, sigma), score(x, sigma)
    terms = (sigma_ * noisy).square() / 2 + sigma_ * (noisy - clean) * z + 0.5
    return terms.flatten(1).sum(1)
