"""Densities whose perturbation by N(0, σ²I) is known in closed form, to hold estimates against."""

import math

import torch
from torch import Tensor


class Gaussian:
    """N(mean, covariance) in D dimensions, in float64; the covariance may be singular where σ > 0."""

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        self.mean, self.covariance = mean.double(), covariance.double()
        self.variances, self.axes = torch.linalg.eigh(self.covariance)  # covariance = axes · variances · axesᵀ
        self.variances = self.variances.clamp(min=0)

    def perturbed_variances(self, sigma: Tensor | float) -> Tensor:
        """Variances along the axes of the density perturbed by N(0, σ²I): (B, D), or (1, D) for one σ."""
        return self.variances + torch.as_tensor(sigma, dtype=torch.float64).reshape(-1, 1) ** 2

    def log_density(self, x: Tensor, sigma: Tensor | float = 0.0) -> Tensor:
        """log q_σ(x): (B, D), (B,) or one number -> (B,)."""
        variances, y = self.perturbed_variances(sigma), (x - self.mean) @ self.axes
        return -0.5 * (y**2 / variances + variances.log() + math.log(2 * math.pi)).sum(1)

    def score(self, x: Tensor, sigma: Tensor | float = 0.0) -> Tensor:
        """∇ log q_σ(x): (B, D), (B,) or one number -> (B, D)."""
        return -((x - self.mean) @ self.axes / self.perturbed_variances(sigma)) @ self.axes.T

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n samples of the density itself, (n, D)."""
        z = torch.randn(n, len(self.mean), generator=generator, dtype=torch.float64)
        return self.mean + z * self.variances.sqrt() @ self.axes.T


class Mixture:
    """Σ_k weights_k · components_k."""

    def __init__(self, weights: list[float], components: list[Gaussian]) -> None:
        self.weights, self.components = torch.tensor(weights, dtype=torch.float64), components

    def _joint(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        logs = torch.stack([c.log_density(x, sigma) for c in self.components], dim=1)
        return self.weights.log() + logs

    def log_density(self, x: Tensor, sigma: Tensor | float = 0.0) -> Tensor:
        """log q_σ(x): (B, D), (B,) or one number -> (B,)."""
        return self._joint(x, sigma).logsumexp(1)

    def score(self, x: Tensor, sigma: Tensor | float = 0.0) -> Tensor:
        """∇ log q_σ(x): (B, D), (B,) or one number -> (B, D)."""
        scores = torch.stack([c.score(x, sigma) for c in self.components], dim=1)
        return (self._joint(x, sigma).softmax(1)[..., None] * scores).sum(1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n samples of the density itself, (n, D)."""
        which = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        draws = torch.stack([c.sample(n, generator) for c in self.components])
        return draws[which, torch.arange(n)]
