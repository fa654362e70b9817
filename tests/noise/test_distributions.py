"""Distributions of σ: their quantiles, their ladders, and what they refuse."""

import math
from typing import Any

import pytest
import scipy.stats
import torch

from ncsn import noise

ALL = [noise.LogNormal(), noise.VP(), noise.VE()]


@pytest.mark.parametrize("distribution", ALL)
def test_draw_is_a_quantile_function_over_the_whole_range_of_a_generator(distribution: noise.Distribution) -> None:
    u = torch.tensor([0, 2**-24, 0.1, 0.5, 0.9, 1 - 2**-24])
    sigma = distribution.draw(u)
    assert (sigma.shape, sigma.dtype) == (u.shape, u.dtype)
    assert torch.isfinite(sigma).all()
    assert float(sigma[0]) > 0
    assert (sigma.diff() > 0).all()


@pytest.mark.parametrize("distribution", ALL)
def test_density_is_the_slope_of_the_distribution_function(distribution: noise.Distribution) -> None:
    u = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)
    below, above = (distribution.draw(u + d).log() for d in (-1e-5, 1e-5))
    torch.testing.assert_close(distribution.density(distribution.draw(u)), 2e-5 / (above - below), rtol=1e-5, atol=0)


def test_log_normal_is_the_papers_in_pixels_of_0_to_1() -> None:
    u = torch.rand(100_000, generator=torch.Generator().manual_seed(0))
    log = (2 * noise.LogNormal(mean=-0.6, std=0.9).draw(u)).log()
    assert float(log.mean()) == pytest.approx(-0.6, abs=4 * 0.9 / math.sqrt(len(u)))
    assert float(log.std()) == pytest.approx(0.9, abs=4 * 0.9 / math.sqrt(2 * len(u)))
    assert float(noise.LogNormal().draw(torch.tensor([0.5]))) == pytest.approx(math.exp(-1.2) / 2)
    torch.testing.assert_close(noise.LogNormal().sigmas, noise.karras())


def test_log_normal_is_exact_far_out() -> None:
    """The logarithms are SciPy's quantiles; the ends stand for half the distance of two numbers that are drawn."""
    u = torch.tensor([0, 2**-24, 1e-4, 0.5, 1 - 2**-24, 1 - 2**-30], dtype=torch.float64)
    expected = torch.from_numpy(scipy.stats.norm.ppf(u.clamp(2**-25, 1 - 2**-25)))
    log = (2 * noise.LogNormal(mean=0.0, std=1.0).draw(u)).log()
    torch.testing.assert_close(log, expected, rtol=1e-6, atol=1e-9)


def test_vp_may_begin_without_noise() -> None:
    assert noise.VP(beta_min=0.0).draw(torch.tensor([0.5])).item() == pytest.approx(
        (math.exp(2.5) - 1) ** 0.5 / 2, rel=1e-4
    )


def test_vp_is_the_linear_schedule_of_ddpm_in_continuous_time() -> None:
    vp = noise.VP()
    t = torch.tensor([0.25, 0.5, 1.0])
    integral = 19.9 / 2 * t**2 + 0.1 * t  # of β, whose exponential is 1/ᾱ
    expected = (integral.exp() - 1).sqrt() / 2
    torch.testing.assert_close(vp.draw((t - 1e-5) / (1 - 1e-5)), expected, rtol=1e-5, atol=0)
    assert float(vp.draw(torch.zeros(1))) == pytest.approx(math.sqrt(1e-6) / 2, rel=1e-3)
    # β of DDPM's 1,000 steps are those of VP times the length of a step.
    torch.testing.assert_close(vp.sigmas[:900], noise.ddpm()[:900], rtol=0.04, atol=0)


def test_ve_is_uniform_in_the_logarithm_between_the_ends_of_its_ladder() -> None:
    ve = noise.VE(sigma_max=8.0, sigma_min=0.5, num_levels=5)
    torch.testing.assert_close(ve.sigmas, torch.tensor([8.0, 4.0, 2.0, 1.0, 0.5]))
    torch.testing.assert_close(ve.draw(torch.tensor([0.0, 0.25, 0.5, 0.75])), torch.tensor([0.5, 1.0, 2.0, 4.0]))


@pytest.mark.parametrize("distribution", ALL)
def test_their_ladders_are_ladders(distribution: noise.Distribution) -> None:
    noise.check(distribution.sigmas)
    assert noise.ladder(distribution).equal(distribution.sigmas)


@pytest.mark.parametrize(
    ("kind", "kwargs", "message"),
    [
        (noise.LogNormal, {"std": 0.0}, "std=0.0: must be positive"),
        (noise.LogNormal, {"std": math.inf}, "std=inf: must be positive"),
        (noise.LogNormal, {"mean": 80.0, "std": 9.0}, r"goes from σ = [\d.e+-]+ to inf: must be positive and finite"),
        (noise.LogNormal, {"mean": -80.0, "std": 9.0}, r"goes from σ = 0 to [\d.e+-]+: must be positive and finite"),
        (noise.LogNormal, {"mean": math.nan}, "mean=nan: must be finite"),
        (noise.LogNormal, {"rho": 0.0}, "rho=0.0: must be positive"),
        (noise.VP, {"beta_max": 0.05}, "beta_min=0.1, beta_max=0.05: must be 0 ≤ beta_min < beta_max"),
        (noise.VP, {"beta_max": 0.1}, "beta_min=0.1, beta_max=0.1: must be"),
        (noise.VP, {"beta_max": math.inf}, "beta_max=inf: must be"),
        (noise.VP, {"t_min": 0.0}, "t_min=0.0: must be between 0 and 1"),
        (noise.VP, {"t_min": 1.0}, "t_min=1.0: must be between 0 and 1"),
        (noise.VP, {"num_levels": 1}, "num_levels=1: must be at least 2"),
        (noise.VE, {"num_levels": 1}, "num_levels=1: must be at least 2"),
        (noise.VE, {"sigma_min": 60.0}, "sigma_max=50.0: must be greater than sigma_min"),
    ],
)
def test_refuse_by_name(kind: Any, kwargs: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**kwargs)
