"""Techniques 2 and 4 give the published numbers of levels and step sizes; where they do not, it is said here."""

import math
import re

import pytest
import torch

from ncsn import noise
from ncsn.samplers import AnnealedLangevin

PUBLISHED = [  # name, image size, T, ε in the code's convention, and what technique 4 gives to two digits
    ("CIFAR-10", 32, 5, 6.2e-6, 6.2e-6),
    ("CelebA", 64, 5, 3.3e-6, 3.3e-6),
    ("LSUN church", 96, 4, 4.9e-6, 2.3e-6),  # published with another step than its own rule gives
    ("LSUN bedroom, tower", 128, 3, 1.8e-6, 1.8e-6),
    ("FFHQ", 256, 3, 9e-7, 8.9e-7),
]
LADDERS = [(name, size, *noise.PUBLISHED[size]) for name, size, *_ in PUBLISHED]


@pytest.mark.parametrize(("name", "size", "sigma_max", "levels"), LADDERS)
def test_technique_2_gives_the_published_levels(name: str, size: int, sigma_max: float, levels: int) -> None:
    assert noise.num_levels(sigma_max, 0.01, dimensions=3 * size**2) == levels


@pytest.mark.parametrize(("name", "size", "sigma_max", "levels"), LADDERS)
def test_the_published_ladders_overlap_by_0_567(name: str, size: int, sigma_max: float, levels: int) -> None:
    gamma = noise.ratio(noise.geometric(sigma_max, 0.01, levels))
    assert noise.level_overlap(gamma, 3 * size**2) == pytest.approx(0.567, abs=1e-3)


def test_half_an_overlap_would_give_fewer_levels() -> None:
    assert noise.num_levels(50, 0.01, 3072, overlap=0.5) == 219


@pytest.mark.parametrize(("name", "size", "steps", "published", "rule"), PUBLISHED)
def test_technique_4_gives_the_published_steps(
    name: str, size: int, steps: int, published: float, rule: float
) -> None:
    gamma = noise.ratio(noise.geometric(noise.PUBLISHED[size].sigma_max, 0.01, noise.PUBLISHED[size].num_levels))
    epsilon = noise.step_size(0.01, gamma, steps) / 2  # the code's convention
    assert float(f"{epsilon:.1e}") == rule
    if name == "LSUN church":
        assert epsilon < published / 2
    else:
        assert epsilon == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize("gamma", [1.0045, 1.0376, 1.2, 5 / 3, 10.0])
@pytest.mark.parametrize("steps", [1, 3, 5, 100, 1000])
def test_technique_4_comes_closest_to_the_variance_of_the_level(gamma: float, steps: int) -> None:
    epsilon = noise.step_size(0.01, gamma, steps)
    least = noise.variance_ratio(epsilon, 0.01, gamma, steps)
    etas = torch.logspace(-7, 0, 20_000, dtype=torch.float64).tolist()
    assert 1 < least <= min(noise.variance_ratio(2e-4 * eta, 0.01, gamma, steps) for eta in etas) + 1e-12
    assert noise.step_size(3.0, gamma, steps) == pytest.approx(epsilon * 300**2)  # only ε/σ_L² matters


def test_the_variance_is_that_of_chains_in_a_gaussian() -> None:
    gamma, steps = 1.5, 3
    sampler = AnnealedLangevin(steps_per_level=steps, step_size=0.3)
    x = gamma * torch.randn(400_000, 1, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    for state in sampler(lambda x, sigma: -x, x, torch.tensor([1.0])):
        x = state.x
    assert x.var().item() == pytest.approx(noise.variance_ratio(0.3, 1.0, gamma, steps), rel=0.01)


def test_over_a_ladder_chains_carry_more_than_one_level_leaves() -> None:
    """The published settings for CIFAR-10, by the recursion and by chains in a Gaussian."""
    sigmas, epsilon, steps = noise.geometric(50, 0.01, 232), 2 * 6.2e-6, 5
    gamma = noise.ratio(sigmas)
    found = noise.ladder_variance_ratio(epsilon, 0.01, gamma, steps)
    assert found == pytest.approx(1.128, abs=1e-3)
    assert noise.variance_ratio(epsilon, 0.01, gamma, steps) == pytest.approx(1.055, abs=1e-3)

    variance, eta = 50.0**2, epsilon / 2 / 0.01**2
    for sigma in sigmas.tolist():
        for _ in range(steps):
            variance = (1 - eta) ** 2 * variance + 2 * eta * sigma**2
    assert variance / 0.01**2 == pytest.approx(found, rel=1e-5)

    x = 50 * torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    *_, state = AnnealedLangevin(steps, epsilon)(lambda x, sigma: -x / sigma[:, None] ** 2, x, sigmas)
    assert state.x.var().item() / 0.01**2 == pytest.approx(found, rel=0.04)  # 4 standard errors


@pytest.mark.parametrize(
    ("eta", "gamma", "steps"),
    [(0.05, 1.5, 3), (2.0, 1.01, 5), (2.5, 1.01, 5), (1e99, 1.01, 5), (1.9, 2.9, 1)],
    ids=str,
)
def test_noise_that_grows_over_a_ladder_has_no_bound(eta: float, gamma: float, steps: int) -> None:
    assert noise.ladder_variance_ratio(2 * eta, 1.0, gamma, steps) == math.inf


@pytest.mark.parametrize(("epsilon", "expected"), [(2e-5, 0.316), (6.2e-6, 0.176), (3.3e-6, 0.128), (1.8e-6, 0.095)])
def test_snr_is_that_of_the_sde_paper(epsilon: float, expected: float) -> None:
    assert noise.snr(2 * epsilon, 0.01) == pytest.approx(expected, abs=6e-4)
    assert noise.step_size_from_snr(noise.snr(2 * epsilon, 0.01), 0.01) == pytest.approx(2 * epsilon)


@pytest.mark.parametrize("dimensions", [5, 64, 784, 3072, 196_608])
@pytest.mark.parametrize("overlap", [0.1, 0.5, 0.567, 0.99])
def test_the_ratio_solves_its_equation(dimensions: int, overlap: float) -> None:
    gamma = noise.level_ratio(dimensions, overlap)
    assert gamma > 1
    assert noise.level_overlap(gamma, dimensions) == pytest.approx(overlap, abs=1e-9)
    levels = noise.num_levels(7, 0.01, dimensions, overlap)
    above = (7 / 0.01) ** (1 / levels) if levels > 2 else 1  # of one level more
    assert above < gamma <= noise.ratio(noise.geometric(7, 0.01, levels)) * (1 + 1e-6) or levels == 2


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("num_levels", (0.01, 0.01, 64), "sigma_max=0.01: must be greater than sigma_min (0.01), which is positive"),
        ("num_levels", (math.nan, 0.1, 64), "sigma_max=nan: must be greater than sigma_min (0.1), which is positive"),
        ("num_levels", (1, 0, 64), "sigma_max=1: must be greater than sigma_min (0), which is positive"),
        ("level_ratio", (64, 0.0), "overlap=0.0: must lie between 0 and 0.9973"),
        ("level_ratio", (64, 0.998), "overlap=0.998: must lie between 0 and 0.9973"),
        ("level_ratio", (0,), "dimensions=0: must be at least 1"),
        ("level_ratio", (2,), "dimensions=2: so few that no two levels overlap as little as 0.567"),
        ("step_size", (0, 1.1, 5), "sigma_min=0: must be positive"),
        ("step_size", (0.01, 1.0, 5), "gamma=1.0: must be greater than 1"),
        ("step_size", (0.01, 1.1, 0), "steps_per_level=0: must be at least 1"),
        ("published", (28,), "image_size=28: no ladder was published for it (only 32, 64, 96, 128, 256 pixels)"),
        ("ratio", (torch.tensor([1.0]),), "num_levels=1: one level has no ratio to a next one"),
    ],
)
def test_refuses_by_name(function: str, arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        getattr(noise, function)(*arguments)
