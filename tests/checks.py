"""What several tests share: seeded noise, known scores, means held to their standard errors, a device's limits."""

import math
from collections.abc import Callable, Iterator

import torch
from densities import Gaussian, Mixture
from torch import Tensor, nn

from ncsn.samplers import State


class Known:
    """The score of a known density, with its energy."""

    def __init__(self, density: Gaussian | Mixture) -> None:
        self.density = density

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.density.score(x, sigma)

    def energy(self, x: Tensor, sigma: Tensor) -> Tensor:
        return -self.density.log_density(x, sigma)


class WithoutFloat64(Tensor):
    """A tensor as on one of Apple's GPUs: it must come to the CPU before it becomes float64."""

    def double(self) -> Tensor:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    def cpu(self) -> Tensor:
        return self.as_subclass(Tensor)


def noise_of(seed: int) -> Callable[[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda x: torch.randn(x.shape, generator=generator, dtype=x.dtype)


def levels(sigma: float, x: Tensor) -> Tensor:
    return torch.full((len(x),), sigma, dtype=x.dtype)


def tanh_network(seed: int, outputs: int = 2, scale: float = 1.0) -> Callable[[Tensor, Tensor], Tensor]:
    """A nonlinear s(x, σ) in two dimensions with random weights, float64."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, outputs)).double()
    return lambda x, sigma: scale * net(torch.cat([x, sigma[:, None]], dim=1))


def last(states: Iterator[State]) -> Tensor:
    *_, state = states
    return state.x


def assert_mean(rows: Tensor, expected: Tensor | float, errors: float = 4.0) -> None:
    """The mean over the rows is `expected` within so many standard errors."""
    error = rows.mean(0) - expected
    assert (error.abs() < errors * rows.std(0) / math.sqrt(len(rows))).all()


def assert_normal(x: Tensor, mean: Tensor, axes: Tensor, variances: Tensor, errors: float = 3.0) -> None:
    """The rows are of N(mean, axes · variances · axesᵀ), by their first two moments."""
    n, y = len(x), (x - mean) @ axes / variances.sqrt()
    assert (y.mean(0).abs() < errors / math.sqrt(n)).all()
    second = (y.T @ y / n - torch.eye(len(mean))).abs()
    assert (second.diagonal() < errors * math.sqrt(2 / n)).all()
    assert (second.fill_diagonal_(0) < errors / math.sqrt(n)).all()
