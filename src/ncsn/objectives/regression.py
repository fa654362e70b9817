"""Regression of an image on what the network is given of it: Palette's baseline (Saharia et al. 2022).

The mean of all images that a damaged one may come from, E[x | damaged], is what a denoiser estimates of an x̃ that
says nothing. So the same network is shown x̃ = ½ everywhere, and Tweedie's x̃ + σ² s(x̃, σ) is its estimate;
`ncsn.restoration.Regression` draws it.
"""

import torch
from torch import Tensor

from ncsn.score import Normal, Score, expand

GREY = 0.5


def image_regression(score: Score, x: Tensor, sigma: Tensor, *, normal: Normal = torch.randn_like) -> Tensor:
    """½‖x̃ + σ² s(x̃, σ) − x‖², x̃ = ½ everywhere; nothing is drawn. With one level, σ = 1, the weight is λ(σ) = σ²."""
    grey = torch.full_like(x, GREY)
    residual = grey - x + expand(sigma, x) ** 2 * score(grey, sigma)
    return residual.square().flatten(1).sum(1) / 2
