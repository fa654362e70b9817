"""The variational bound of diffusion models on −log P(image), in σ (Ho et al. 2020, eq. 5 and 13).

The model draws x₁ ~ N(½, σ₁² + ¼) and goes down the ladder, xᵢ₊₁ from the Gaussian that ancestral sampling has
(`ncsn.samplers.ddpm`), and in the end draws the grey levels k. With x₀ the place of k among pixel values,
xᵢ = x₀ + σᵢ zᵢ, and D = x + σ² s clipped to [0, 1],

    −log P(k) ≤  KL(N(x₀, σ₁²) ‖ N(½, σ₁² + ¼))                     prior: L_T
               + Σ ½ (1/σᵢ₊₁² − 1/σᵢ²) E‖x₀ − D(xᵢ, σᵢ)‖²           diffusion: L_t−1, i = 1 … L − 1
               − E log P(k | D(x_L, σ_L))                           decoder: L_0

The terms are those of Ho et al., whose variables are √ᾱ (2x − 1) with ᾱ = 1/(1 + 4σ²); its prior N(0, I) is
N(½, σ₁² + ¼) here. That prior and both variances of the steps are as good for any other ladder, and the bound holds
for any score. Clipping can only tighten the diffusion term.

The decoder is a Gaussian around D of which a grey level takes its cell, and 0 and 255 take what lies beyond as well.
Its variance is σ_L² max(½, 1 − σ_L²/σ_L−1²)/(1 + 4σ_L²). Where β does not fall with t, the second is the larger, and
the variance is what Ho et al. have in their code; the half keeps it from vanishing on ladders of many levels.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from ncsn import noise
from ncsn.samplers.spacing import Spacing, check_spacing, respace
from ncsn.score import Normal, Score, expand

Variance = Literal["fixed_small", "fixed_large"]

PRIOR_MEAN, PRIOR_VARIANCE = 0.5, 0.25  # without the noise of σ₁


class Bound(NamedTuple):
    """The bound on −log P of each image in nats, by its terms, each (B,).

    Attributes:
        prior: L_T.
        diffusion: the sum of all L_t−1.
        decoder: L_0.
        evaluations: of the score, for each row.
    """

    prior: Tensor
    diffusion: Tensor
    decoder: Tensor
    evaluations: int

    @property
    def total(self) -> Tensor:
        return self.prior + self.diffusion + self.decoder


@dataclass(frozen=True)
class VariationalBound:
    """Estimates the bound of images, without bias; see the module.

    Attributes:
        num_levels: steps whose terms are evaluated, of each image, evenly spread from a place that is drawn; None
            takes all of them.
        variance: of the steps, β̃ ("fixed_small") or β ("fixed_large"), as `ncsn.samplers.DDPM` has them.
        steps: N levels; None takes every level of the ladder. More than the ladder has are for networks that were
            trained on all σ.
        spacing, rho: how N levels are chosen; see `ncsn.samplers.spacing`.

    Raises:
        ValueError: a value out of range.
    """

    num_levels: int | None = None
    variance: Variance = "fixed_small"
    steps: int | None = None
    spacing: Spacing = "logsnr"
    rho: float = 7.0

    def __post_init__(self) -> None:
        if self.num_levels is not None and self.num_levels < 1:
            raise ValueError(f"num_levels={self.num_levels}: must be at least 1, or null for all")
        if self.variance not in get_args(Variance):
            raise ValueError(f"variance={self.variance}: must be {' or '.join(get_args(Variance))}")
        check_spacing(self.steps, self.spacing, self.rho)

    @torch.no_grad()
    def __call__(
        self,
        score: Score,
        images: Tensor,
        sigmas: Tensor,
        *,
        dequantized: bool = False,
        normal: Normal = torch.randn_like,
    ) -> Bound:
        """The terms for images.

        Args:
            score: s(x, σ).
            images: grey levels, uint8 (B, …).
            sigmas: the ladder (L,); x has its type.
            dequantized: what the network takes k for: (k + ½)/256, the middle of (k + u)/256, if it was trained on
                dequantised images, else k/255.
            normal: draws z of every level, and the place that levels are drawn from.

        Raises:
            ValueError: `sigmas` is no ladder above 0, or has no such levels.
            ArithmeticError: the score is not finite.
        """
        noise.check(sigmas)
        levels = respace(sigmas, self.steps, self.spacing, self.rho)
        grey = images.to(levels.dtype)
        x, cell = ((grey + 0.5) / 256, 1 / 256) if dequantized else (grey / 255, 1 / 255)

        def denoised(sigma: Tensor) -> Tensor:
            sigma_ = expand(sigma, x)
            noisy = x + sigma_ * normal(x)
            return (noisy + sigma_**2 * score(noisy, sigma)).clamp(0, 1)

        slopes, offsets = (one.to(x) for one in self._steps(levels))
        steps, diffusion = len(slopes), x.new_zeros(len(x))
        count = steps if self.num_levels is None else min(self.num_levels, steps)
        start = torch.special.ndtr(normal(x.new_empty(len(x)))) if count < steps else x.new_zeros(len(x))
        for number in range(count):
            step = ((start + number) * steps / count).long().clamp(max=steps - 1)
            errors = (x - denoised(levels[step])).square().flatten(1).sum(1)
            diffusion = diffusion + (slopes[step] * errors + offsets[step] * x[0].numel()) * steps / count
        prior = _prior(x, float(levels[0]) ** 2)
        deviation = decoder_variance(levels) ** 0.5
        means = denoised(levels[-1:].expand(len(x)))
        decoder = -_log_probability(images, (x - means) / deviation, cell / 2 / deviation).flatten(1).sum(1)
        found = Bound(prior, diffusion, decoder, count + 1)
        if not found.total.isfinite().all():
            raise ArithmeticError("the bound is not finite, since the score is not")
        return found

    def _steps(self, levels: Tensor) -> tuple[Tensor, Tensor]:
        """KL of each step, slope ‖x₀ − D‖² + offset D, with D the number of values in the second."""
        squares = levels.cpu().double().square()
        above, below = squares[:-1], squares[1:]
        kept = 1 - below / above  # of x₀ − D, in the mean of the step
        posterior = below * kept
        large = (above - below) * (1 + 4 * below) / (1 + 4 * above)
        own = posterior if self.variance == "fixed_small" else large
        ratio = posterior / own
        return kept**2 / own / 2, (ratio - 1 - ratio.log()) / 2


def decoder_variance(sigmas: Tensor) -> float:
    """Of the Gaussian around D(x_L, σ_L) from which grey levels are drawn, for a ladder (L,)."""
    squares = sigmas.cpu().double().square().tolist()
    last = squares[-1]
    share = 1 - last / squares[-2] if len(squares) > 1 else 1.0
    return last * max(share, 0.5) / (1 + 4 * last)


def _prior(x: Tensor, square: float) -> Tensor:
    """KL(N(x, σ₁²) ‖ N(½, σ₁² + ¼)) of each row; square is σ₁²."""
    excess = (x - PRIOR_MEAN).square() - PRIOR_VARIANCE
    terms = math.log1p(PRIOR_VARIANCE / square) + excess / (square + PRIOR_VARIANCE)
    return terms.flatten(1).sum(1) / 2


def _log_probability(images: Tensor, off: Tensor, half: float) -> Tensor:
    """log P of grey levels that lie `off` a standard normal's mean, in cells of ± half."""
    lower = torch.where(images == 0, -torch.inf, off - half)
    upper = torch.where(images == 255, torch.inf, off + half)
    # Where the density is that of the upper tail, its mirror image: no small difference of numbers close to 1.
    mirrored = lower + upper > 0
    lower, upper = torch.where(mirrored, -upper, lower), torch.where(mirrored, -lower, upper)
    log_upper = torch.special.log_ndtr(upper)
    return log_upper + (-(torch.special.log_ndtr(lower) - log_upper).exp()).log1p()
