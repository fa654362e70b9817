"""Likelihood weighting (Song et al. 2021, "Maximum Likelihood Training of Score-Based Diffusion Models").

With λ(t) = g(t)², score matching bounds −log p of the reverse SDE, up to what does not depend on the score (Cor. 1).
In x = x_t/√ᾱ_t, g² dt is dσ², for variance exploding and variance preserving SDEs alike, and the bound is

    ½ ∫ E‖s + z/σ‖² dσ²  =  ∫ E‖σ s + z‖² d ln σ,        from σ_L to σ₁.

Where ln σ is drawn from a density p, ‖σ s + z‖²/p(ln σ) has that expectation, whatever p: every distribution of σ is
one for importance sampling. Theirs, p(t) ∝ g²/σ², is ln σ uniform, `noise=ve`: there 1/p is a constant, and
denoising score matching with λ(σ) = σ² bounds the likelihood as it is. Where p is small and the error is not, a loss
is rare and large: with `noise=vp` at small σ, with `noise=edm` at both ends.

A ladder has the bound of Ho et al. 2020 (`ncsn.bound`). The step from σᵢ to σᵢ₊₁ has

    ½ (1/σᵢ₊₁² − 1/σᵢ²) ‖x₀ − D‖²  =  ½ (σᵢ²/σᵢ₊₁² − 1) ‖σᵢ s + z‖²,

and σ_L the decoder, ½‖x₀ − D‖² over its variance if x₀ had a density. Levels are drawn uniformly; hence the factor L.
"""

import torch
from torch import Tensor

from ncsn import noise
from ncsn.bound import decoder_variance


class LikelihoodWeight:
    """What ½‖σ s + z‖² is multiplied with, so that its mean is the bound in nats, up to a constant.

    Args:
        levels: where σ is drawn from: a ladder (L,), uniformly, or a distribution.
    """

    def __init__(self, levels: Tensor | noise.Distribution) -> None:
        self.levels, self.sigmas = levels, noise.ladder(levels)
        self.ends = float(self.sigmas[-1]), float(self.sigmas[0])
        squares = self.sigmas.cpu().double().square()
        decoder = squares[-1:] / decoder_variance(self.sigmas)
        self.of_level = (torch.cat([squares[:-1] / squares[1:] - 1, decoder]) * len(squares)).float()

    def __call__(self, sigma: Tensor) -> Tensor:
        """The weights of σ (B,); 0 outside of the ladder of a distribution."""
        if isinstance(self.levels, Tensor):
            self.sigmas, self.of_level = self.sigmas.to(sigma.device), self.of_level.to(sigma.device)  # once
            return self.of_level[noise.position(sigma, self.sigmas).round().long()].to(sigma.dtype)
        lowest, highest = self.ends
        inside = (sigma >= lowest) & (sigma <= highest)
        return torch.where(inside, 2 / self.levels.density(sigma), 0)
