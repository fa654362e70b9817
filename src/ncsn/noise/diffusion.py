"""The ladders of diffusion models in σ: DDPM's, Nichol & Dhariwal's cosine, and Karras et al.'s.

A variance-preserving x_t = √ᾱ_t x₀ + √(1 − ᾱ_t) ε, divided by √ᾱ_t, is x₀ + σ_t ε with

    σ_t = √((1 − ᾱ_t)/ᾱ_t)    for pixels in [−1, 1], and half of it for pixels in [0, 1].
"""

import math

import torch
from torch import Tensor

from ncsn.noise.ladder import check, check_count


def ddpm(beta_min: float = 1e-4, beta_max: float = 0.02, num_levels: int = 1000) -> Tensor:
    """The linear schedule β₁ = `beta_min`, …, β_T = `beta_max` (Ho et al. 2020): σ from 78.7 to 0.005.

    Args:
        beta_min: > 0, the variance that the first step of the forward process adds.
        beta_max: < 1, that of the last.
        num_levels: L = T ≥ 2.

    Returns:
        σ of shape (L,), float32, descending, in units of pixel values in [0, 1].

    Raises:
        ValueError: a value out of range.
    """
    check_count(num_levels)
    _check_betas(beta_min, beta_max)
    return _from_betas(torch.linspace(beta_min, beta_max, num_levels, dtype=torch.float64, device="cpu"))


def scaled_linear(beta_min: float = 1e-4, beta_max: float = 0.02, num_levels: int = 1000) -> Tensor:
    """The schedule of latent diffusion (Rombach et al. 2022), whose √β_t are evenly spaced; otherwise as `ddpm`."""
    check_count(num_levels)
    _check_betas(beta_min, beta_max)
    roots = torch.linspace(beta_min**0.5, beta_max**0.5, num_levels, dtype=torch.float64, device="cpu")
    return _from_betas(roots**2)


def cosine(num_levels: int = 1000, offset: float = 0.008, beta_max: float = 0.999) -> Tensor:
    """The cosine schedule (Nichol & Dhariwal 2021), ᾱ_t = cos²((t/T + s)/(1 + s) · π/2) up to a factor.

    Args:
        num_levels: L = T ≥ 2.
        offset: s > 0, which keeps β from vanishing at t = 0.
        beta_max: no β is larger, in (0, 1).

    Returns:
        As `ddpm`.

    Raises:
        ValueError: a value out of range.
    """
    check_count(num_levels)
    if not (0 < offset < math.inf and 0 < beta_max < 1):
        raise ValueError(f"offset={offset}, beta_max={beta_max}: must be positive, and beta_max below 1")
    t = torch.arange(num_levels + 1, dtype=torch.float64, device="cpu") / num_levels
    alpha_bar = ((t + offset) / (1 + offset) * math.pi / 2).cos() ** 2
    return _from_betas((1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=beta_max))


def karras(sigma_max: float = 40.0, sigma_min: float = 0.001, num_levels: int = 18, rho: float = 7.0) -> Tensor:
    """σᵢ = (σ_max^(1/ρ) + (i − 1)/(L − 1) · (σ_min^(1/ρ) − σ_max^(1/ρ)))^ρ (Karras et al. 2022, eq. 5).

    Args:
        sigma_max: σ₁, in units of pixel values in [0, 1]; the paper's 80 and 0.002 are for [−1, 1].
        sigma_min: σ_L.
        num_levels: L ≥ 2.
        rho: ρ > 0; the larger, the more levels are near `sigma_min`.

    Returns:
        As `ddpm`.

    Raises:
        ValueError: a value out of range.
    """
    check_count(num_levels)
    if not 0 < sigma_min < sigma_max < math.inf:
        raise ValueError(f"sigma_max={sigma_max}, sigma_min={sigma_min}: must be 0 < sigma_min < sigma_max")
    if not 0 < rho < math.inf:
        raise ValueError(f"rho={rho}: must be positive")
    first, last = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    sigmas = (torch.linspace(first, last, num_levels, dtype=torch.float64, device="cpu") ** rho).float()
    check(sigmas)
    return sigmas.to(torch.get_default_device())


def _from_betas(betas: Tensor) -> Tensor:
    """The ladder of a forward process, whose levels are counted the other way."""
    alpha_bar = (1 - betas).cumprod(0)
    sigmas = (((1 - alpha_bar) / alpha_bar).sqrt() / 2).flip(0).float()
    check(sigmas)
    return sigmas.to(torch.get_default_device())


def _check_betas(beta_min: float, beta_max: float) -> None:
    if not 0 < beta_min <= beta_max < 1:
        raise ValueError(f"beta_min={beta_min}, beta_max={beta_max}: must be 0 < beta_min ≤ beta_max < 1")
