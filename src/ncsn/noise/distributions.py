"""Distributions of σ that training draws from, where a ladder alone would be drawn from uniformly.

    LogNormal   ln S ~ N(mean, std²)                    Karras et al. 2022 ("EDM")
    VP          S = √(e^{½(β₁ − β₀)t² + β₀t} − 1)       Song et al. 2021, App. C: variance preserving, t uniform
    VE          σ = σ_min (σ_max/σ_min)^t               Song et al. 2021, App. C: variance exploding, t uniform

S = 2σ is the noise of pixels in [−1, 1], σ that of pixels in [0, 1]. Each has

    sigmas          a ladder (L,), descending: samplers start from it, and losses are grouped by its levels
    draw(u)         σ (B,) from numbers u (B,) in [0, 1): the inverse distribution function, which never decreases
    density(sigma)  the density of ln σ (B,) where σ (B,) can be drawn, what importance sampling divides by
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ncsn.noise.diffusion import karras
from ncsn.noise.ladder import check, check_count, geometric

_SMALLEST = 2.0**-25
"""Half the distance of two numbers that `torch.rand` draws in float32: it stands for 0, whose σ could be 0."""


class Distribution(Protocol):
    """See the module."""

    @property
    def sigmas(self) -> Tensor: ...

    def draw(self, u: Tensor) -> Tensor: ...

    def density(self, sigma: Tensor) -> Tensor: ...


def ladder(levels: Tensor | Distribution) -> Tensor:
    """The ladder (L,) of noise levels, which may be one, or a distribution that has one."""
    return levels if isinstance(levels, Tensor) else levels.sigmas


@dataclass(frozen=True)
class LogNormal:
    """ln S ~ N(mean, std²), S = 2σ; the ladder is `karras` (Karras et al. 2022, Table 1, "EDM").

    Attributes:
        mean: P_mean of the paper, the mean of ln S: its numbers are for pixels in [−1, 1], and so is this one.
        std: P_std, the standard deviation of ln S, and so of ln σ.
        sigma_max, sigma_min, num_levels, rho: of the ladder, σ in units of pixel values in [0, 1]. What is drawn is
            not bounded by them.

    Raises:
        ValueError: a value out of range.
    """

    mean: float = -1.2
    std: float = 1.2
    sigma_max: float = 40.0
    sigma_min: float = 0.001
    num_levels: int = 18
    rho: float = 7.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean):
            raise ValueError(f"mean={self.mean}: must be finite")
        if not 0 < self.std < math.inf:
            raise ValueError(f"std={self.std}: must be positive")
        _check(self)

    @property
    def sigmas(self) -> Tensor:
        return karras(self.sigma_max, self.sigma_min, self.num_levels, self.rho)

    def draw(self, u: Tensor) -> Tensor:
        wide = u if u.device.type == "mps" else u.double()  # which has no float64
        z = math.sqrt(2) * torch.erfinv((2 * wide - 1).clamp(2 * _SMALLEST - 1, 1 - 2 * _SMALLEST))
        return ((self.mean + self.std * z).exp() / 2).to(u.dtype)

    def density(self, sigma: Tensor) -> Tensor:
        z = ((2 * sigma).log() - self.mean) / self.std
        return (-(z**2) / 2).exp() / (self.std * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class VP:
    """S = √(e^{½(β₁ − β₀)t² + β₀t} − 1), t uniform in [t_min, 1]: the VP SDE (Song et al. 2021, App. C).

    Attributes:
        beta_min: β₀ ≥ 0, noise per time at t = 0.
        beta_max: β₁ > β₀, at t = 1.
        t_min: ε in (0, 1), the smallest t.
        num_levels: L ≥ 2, of the ladder, with t equally far apart.

    Raises:
        ValueError: a value out of range.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-5
    num_levels: int = 1000

    def __post_init__(self) -> None:
        if not 0 <= self.beta_min < self.beta_max < math.inf:
            raise ValueError(f"beta_min={self.beta_min}, beta_max={self.beta_max}: must be 0 ≤ beta_min < beta_max")
        if not 0 < self.t_min < 1:
            raise ValueError(f"t_min={self.t_min}: must be between 0 and 1")
        check_count(self.num_levels)
        _check(self)

    @property
    def sigmas(self) -> Tensor:
        t = torch.linspace(1, self.t_min, self.num_levels, dtype=torch.float64, device="cpu")
        return self._sigma(t).float().to(torch.get_default_device())

    def draw(self, u: Tensor) -> Tensor:
        return self._sigma(self.t_min + (1 - self.t_min) * u)

    def density(self, sigma: Tensor) -> Tensor:
        square = (2 * sigma) ** 2
        beta = (self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * square.log1p()).sqrt()  # at t(σ)
        return 2 * square / ((1 + square) * beta * (1 - self.t_min))

    def _sigma(self, t: Tensor) -> Tensor:
        return ((self.beta_max - self.beta_min) / 2 * t**2 + self.beta_min * t).expm1().sqrt() / 2


@dataclass(frozen=True)
class VE:
    """σ = σ_min (σ_max/σ_min)^t, t uniform in [0, 1]: the VE SDE (Song et al. 2021, App. C). The ladder is geometric.

    Attributes:
        sigma_max, sigma_min: in units of pixel values in [0, 1]; 50 and 0.01 as published for CIFAR-10.
        num_levels: L ≥ 2, of the ladder.

    Raises:
        ValueError: a value out of range.
    """

    sigma_max: float = 50.0
    sigma_min: float = 0.01
    num_levels: int = 1000

    def __post_init__(self) -> None:
        check_count(self.num_levels)
        _check(self)

    @property
    def sigmas(self) -> Tensor:
        return geometric(self.sigma_max, self.sigma_min, self.num_levels)

    def draw(self, u: Tensor) -> Tensor:
        return self.sigma_min * (u * math.log(self.sigma_max / self.sigma_min)).exp()

    def density(self, sigma: Tensor) -> Tensor:
        return torch.full_like(sigma, 1 / math.log(self.sigma_max / self.sigma_min))


def _check(distribution: Distribution) -> None:
    """Refuses settings whose ladder is none, or that draw what is no noise level.

    Raises:
        ValueError: they do.
    """
    check(distribution.sigmas)
    ends = distribution.draw(torch.tensor([0.0, 1 - 2**-24])).tolist()
    if not all(0 < sigma < math.inf for sigma in ends):
        raise ValueError(f"what is drawn goes from σ = {ends[0]:g} to {ends[1]:g}: must be positive and finite")
