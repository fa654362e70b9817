"""Scores from energies: −∇E wherever it is asked, differentiable again, and learned from data."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from checks import Known, assert_mean, last, levels, noise_of
from densities import Gaussian, Mixture
from torch import Tensor, nn

from ncsn.energy import EnergyScore
from ncsn.objectives import (
    SlicedScoreMatching,
    denoising_score_matching,
    denoising_with_control_variate,
    exact_score_matching,
)
from ncsn.samplers import AnnealedLangevin, HamiltonianMonteCarlo, MetropolisLangevin
from ncsn.score import expand

OBJECTIVES = [
    denoising_score_matching,
    denoising_with_control_variate,
    SlicedScoreMatching(2, "rademacher"),
    SlicedScoreMatching(variance_reduced=True),
    exact_score_matching,
]
MIXTURE = Mixture(
    [0.3, 0.7],
    [
        Gaussian(torch.tensor([-1.0, -1.0]), 0.3 * torch.eye(2)),
        Gaussian(torch.tensor([1.0, 1.5]), torch.tensor([[0.5, 0.2], [0.2, 0.2]])),
    ],
)


class Quartic(nn.Module):
    """E(x, σ) = Σ a xᵢ⁴/(1 + σ), of which every derivative is known."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return (self.a * x**4 / (1 + expand(sigma, x))).flatten(1).sum(1)


class Network(nn.Module):
    """E(x, σ) = ½‖x‖²/(1 + σ²) + a network of x, for two dimensions."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
        )

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x.square().sum(1) / 2 / (1 + sigma**2) + self.layers(x)[:, 0]


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("shape", [(3,), (2, 3, 4)])
def test_score_is_minus_the_gradient_of_the_energy(shape: tuple[int, ...], mode: Any) -> None:
    with mode():
        x, sigma = torch.rand(5, *shape, dtype=torch.float64), torch.rand(5, dtype=torch.float64)
        score = EnergyScore(Quartic())
        value = score(x, sigma)
        torch.testing.assert_close(value, -2 * x**3 / (1 + expand(sigma, x)))
        torch.testing.assert_close(score.energy(x, sigma), (x**4).flatten(1).sum(1) / 2 / (1 + sigma))
        assert value.requires_grad == torch.is_grad_enabled()
        assert not x.requires_grad


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_trains_it_as_it_trains_the_score_itself(objective: Callable) -> None:
    energy = Quartic()
    x, sigma = torch.rand(6, 3, dtype=torch.float64), torch.rand(6, dtype=torch.float64)

    def written_out(x: Tensor, sigma: Tensor) -> Tensor:
        return -4 * energy.a * x**3 / (1 + expand(sigma, x))

    rows = [objective(score, x, sigma, normal=noise_of(0)) for score in (EnergyScore(energy), written_out)]
    torch.testing.assert_close(rows[0], rows[1])
    gradients = [torch.autograd.grad(row.sum(), energy.a)[0] for row in rows]
    torch.testing.assert_close(gradients[0], gradients[1])
    with torch.no_grad():
        torch.testing.assert_close(objective(EnergyScore(energy), x, sigma, normal=noise_of(0)), rows[0])


@pytest.mark.parametrize("objective", [denoising_score_matching, SlicedScoreMatching(variance_reduced=True)])
def test_learns_the_score_of_a_mixture(objective: Callable) -> None:
    torch.manual_seed(0)
    sigma, score = 0.3, EnergyScore(Network())
    optimizer = torch.optim.Adam(score.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 500)
    generator, normal = torch.Generator().manual_seed(1), noise_of(2)
    for _ in range(500):
        x = MIXTURE.sample(512, generator).float()
        optimizer.zero_grad()
        objective(score, x, levels(sigma, x), normal=normal).mean().backward()
        optimizer.step()
        schedule.step()

    x = MIXTURE.sample(2_000, torch.Generator().manual_seed(3))
    x = x + sigma * noise_of(4)(x)
    true = MIXTURE.score(x, sigma)
    with torch.no_grad():
        learned = score(x.float(), levels(sigma, x.float())).double()
        energy = score.energy(x.float(), levels(sigma, x.float())).double()
    assert (learned - true).square().mean() < 0.15**2 * true.square().mean()
    difference = energy + MIXTURE.log_density(x, sigma)  # a constant, were it perfect
    assert difference.std() < 0.15 * energy.std()


@pytest.mark.parametrize(
    "sampler", [AnnealedLangevin(50, 0.02), MetropolisLangevin(30), HamiltonianMonteCarlo(10)], ids=lambda s: type(s)
)
def test_every_sampler_draws_from_it(sampler: Any) -> None:
    class Energy(nn.Module):
        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
            return Known(MIXTURE).energy(x, sigma)

    sigmas = torch.tensor([3.0, 1.0, 0.3], dtype=torch.float64)
    x = last(sampler(EnergyScore(Energy()), torch.zeros(1_000, 2).double(), sigmas, normal=noise_of(0)))
    assert not x.requires_grad
    assert_mean(x, torch.tensor([0.4, 0.75]))


@pytest.mark.parametrize("shape", [(5, 1), (), (5, 2)])
def test_refuses_energies_that_are_not_one_number_per_row(shape: tuple[int, ...]) -> None:
    class Wrong(nn.Module):
        def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
            return torch.zeros(shape) * x.sum()

    score = EnergyScore(Wrong())
    for call in (score, score.energy):
        with pytest.raises(ValueError, match=r"returned \(.*\) for 5 rows: must be one number per row, \(5,\)"):
            call(torch.rand(5, 2), torch.ones(5))
