"""The geometric ladder: its ends, its ratio, the paper's default, and what it refuses."""

import math
import re

import pytest
import torch

from ncsn import noise

LADDERS = [(1.0, 0.01, 10), (20.0, 1.0, 10), (50.0, 0.01, 232), (0.3, 0.1, 2), (348.0, 0.01, 2311)]


@pytest.mark.parametrize(("sigma_max", "sigma_min", "num_levels"), LADDERS)
def test_runs_from_exactly_the_largest_to_exactly_the_smallest(
    sigma_max: float, sigma_min: float, num_levels: int
) -> None:
    sigmas = noise.geometric(sigma_max, sigma_min, num_levels)
    assert sigmas.shape == (num_levels,)
    assert sigmas.dtype == torch.float32
    assert sigmas[0] == torch.tensor(sigma_max)
    assert sigmas[-1] == torch.tensor(sigma_min)


@pytest.mark.parametrize(("sigma_max", "sigma_min", "num_levels"), LADDERS)
def test_descends_by_one_ratio(sigma_max: float, sigma_min: float, num_levels: int) -> None:
    sigmas = noise.geometric(sigma_max, sigma_min, num_levels).double()
    ratio = (sigma_min / sigma_max) ** (1 / (num_levels - 1))
    assert ratio < 1
    torch.testing.assert_close(
        sigmas[1:] / sigmas[:-1], torch.full((num_levels - 1,), ratio).double(), rtol=3e-7, atol=0
    )


def test_default_is_the_papers() -> None:
    expected = [10 ** (-2 * i / 9) for i in range(10)]  # Sec. 5: L = 10 from 1 to 0.01
    assert noise.geometric().tolist() == pytest.approx(expected, rel=1e-7)


def test_levels_are_rounded_once_from_double_precision() -> None:
    expected = [50 * (0.01 / 50) ** (i / 231) for i in range(232)]
    error = (noise.geometric(50, 0.01, 232).double() / torch.tensor(expected).double() - 1).abs().max()
    assert error < 2**-23


def test_one_level() -> None:
    assert torch.equal(noise.geometric(0.01, 0.01, 1), torch.tensor([0.01]))


@pytest.mark.parametrize(
    ("sigma_max", "sigma_min", "num_levels", "message"),
    [
        (1, 0.01, 0, "num_levels=0: must be at least 1"),
        (1, 0.01, -3, "num_levels=-3: must be at least 1"),
        (1, 0, 10, "sigma_min=0: must be positive"),
        (1, -0.1, 10, "sigma_min=-0.1: must be positive"),
        (1, math.nan, 10, "sigma_min=nan: must be positive"),
        (0, 0, 1, "sigma_min=0: must be positive"),
        (1, 0.01, 1, "sigma_max=1: one level needs sigma_max equal to sigma_min (0.01)"),
        (0.01, 1, 10, "sigma_max=0.01: must be greater than sigma_min (1)"),
        (1, 1, 10, "sigma_max=1: must be greater than sigma_min (1)"),
        (math.nan, 1, 10, "sigma_max=nan: must be greater than sigma_min (1)"),
    ],
)
def test_refuses_by_name(sigma_max: float, sigma_min: float, num_levels: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        noise.geometric(sigma_max, sigma_min, num_levels)
