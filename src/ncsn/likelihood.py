"""Likelihoods by the probability flow (Song et al. 2021, Sec. 4.3 and App. D.2).

    log p(x) = log N(x₁; mean, σ₁² + variance) − ∫ σ² ∇·s(x_σ, σ) d ln σ,        from σ_L to σ₁,

where x_σ is the flow that starts at x_{σ_L} = x and ends at x₁. The divergence is vᵀ∇s v, averaged over random v with
E vvᵀ = I (Hutchinson), the same v all along the flow; or all of the trace, for small images. p is the density of what
the flow makes of Gaussian latents, and a density whatever the score. If this is that of data with noise, p is the
density of the data with noise of σ_L, as nearly as the data are Gaussian under noise of σ₁.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ncsn.flow import DormandPrince, Solver, check_levels
from ncsn.objectives.exact import MAX_VALUES, jacobian_trace
from ncsn.objectives.sliced import projected_jacobian
from ncsn.score import Normal, Score

Projection = Literal["gaussian", "rademacher"]


class Likelihood(NamedTuple):
    """What is known of images by their flow.

    Attributes:
        nats: log p(x), (B,), float64 where the device has it; unbiased if the divergence is estimated, and p(x) not.
        latents: x₁ (B, …).
        evaluations: of the score, for each row, each with its derivatives.
    """

    nats: Tensor
    latents: Tensor
    evaluations: int


@torch.no_grad()
def log_likelihood(
    score: Score,
    x: Tensor,
    sigmas: Tensor,
    *,
    mean: Tensor | float,
    variance: Tensor | float,
    solver: Solver | None = None,
    num_projections: int | None = 1,
    projection: Projection = "rademacher",
    normal: Normal = torch.randn_like,
) -> Likelihood:
    """Log-likelihoods in nats.

    Args:
        score: s(x, σ), which can be differentiated.
        x: images (B, …).
        sigmas: the ladder (L,); σ₁ and σ_L are the ends of the flow.
        mean, variance: of the data, numbers or tensors that broadcast against x.
        solver: `DormandPrince` with the tolerances of Song et al. 2021 if None.
        num_projections: v per row, each one derivative per evaluation; None takes the trace itself.
        projection: "rademacher", signs ±1, or "gaussian".
        normal: draws every v.

    Raises:
        ValueError: `sigmas` is no ladder above 0; a value out of range; or the trace of so many values was asked for.
        ArithmeticError: the flow cannot be solved.
    """
    check_levels(sigmas)
    check_projections(num_projections, projection)
    if num_projections is None and x[0].numel() > MAX_VALUES:
        raise ValueError(
            f"num_projections=None: the trace of D={x[0].numel()} values takes D derivatives per evaluation and is "
            f"refused above {MAX_VALUES}; num_projections=1 estimates it at any size"
        )
    drawn = [normal(x) for _ in range(num_projections or 0)]
    v = [d.sign() for d in drawn] if projection == "rademacher" else drawn

    def field(x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        def s(x: Tensor) -> Tensor:
            return score(x, x.new_full((len(x),), sigma))

        if not v:
            return s(x), jacobian_trace(s, x)
        value, slopes = projected_jacobian(s, x, torch.stack(v))
        return value, torch.stack(slopes).mean(0)

    solved = (solver or DormandPrince())(field, x, sigmas, upwards=True)
    spread = variance + float(sigmas[0]) ** 2
    terms = (solved.x - _like(mean, solved.x)).square() / _like(spread, solved.x) + _like(
        2 * math.pi * spread, solved.x
    ).log()
    nats = -terms.flatten(1).sum(1) / 2 - solved.change
    return Likelihood(nats, solved.x.to(x), solved.evaluations)


def bits_per_dim(nats: Tensor, dimensions: int) -> Tensor:
    """−log₂ P/D of images with 256 grey levels: −log p/(D ln 2) + 8.

    Args:
        nats: log-likelihoods, (…), of the image plus uniform noise one grey level wide, in pixels of [0, 1]: of
            (k + u)/256, where the cell of a grey level k has the volume 256^−D. Their mean over u is a bound, since
            log P(k) = log E_u p((k + u)/256)/256^D ≥ E_u log p((k + u)/256) − D log 256 (Theis et al. 2016).
        dimensions: D.
    """
    return 8 - nats / (dimensions * math.log(2))


def check_projections(num_projections: int | None, projection: str) -> None:
    """Refuses settings that suit no image.

    Raises:
        ValueError: naming the setting.
    """
    if num_projections is not None and num_projections < 1:
        raise ValueError(f"num_projections={num_projections}: must be at least 1, or None for the trace itself")
    if projection not in ("gaussian", "rademacher"):
        raise ValueError(f"projection={projection}: must be gaussian or rademacher")


def _like(value: Tensor | float, x: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=x.dtype, device=x.device)
