"""The geometric ladder: its ends, its ratio, the paper's default, and what it refuses."""

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

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
        (1, 0.01, 100_001, "num_levels=100001: must be at most 100,000"),
        (1, 1e-50, 10, "sigmas[9]=0: noise levels must be positive and finite"),
        (1e50, 1, 10, "sigmas[0]=inf: noise levels must be positive and finite"),
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


def test_needs_no_float64_of_the_default_device() -> None:
    """MPS has none."""

    class Float32Only(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            assert not (isinstance(out, Tensor) and out.is_meta and out.dtype == torch.float64), func
            return out

    with torch.device("meta"), Float32Only():
        sigmas = noise.geometric(1, 0.01, 10)
    assert (sigmas.device.type, sigmas.dtype, sigmas.shape) == ("meta", torch.float32, (10,))


# A place in it.


@pytest.mark.parametrize(("sigma_max", "sigma_min", "num_levels"), [*LADDERS, (0.3, 0.3, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_position_is_exactly_whole_at_levels(
    sigma_max: float, sigma_min: float, num_levels: int, dtype: torch.dtype
) -> None:
    sigmas = noise.geometric(sigma_max, sigma_min, num_levels)
    order = torch.randperm(num_levels, generator=torch.Generator().manual_seed(0))
    for batch in (order, order[:1], order[:3], order.repeat(2)):  # where they lie in a vector must not matter
        found = noise.position(sigmas[batch].to(dtype), sigmas)
        assert found.dtype == dtype
        assert torch.equal(found, batch.to(dtype))


@pytest.mark.parametrize("sigmas", [noise.geometric(50, 0.01, 232), torch.tensor([8.0, 2.0, 1.0])], ids=["232", "3"])
def test_position_is_linear_in_log_sigma_between_levels(sigmas: Tensor) -> None:
    shares = torch.tensor([0.1, 0.5, 0.9])
    logs = sigmas.double().log()
    between = torch.lerp(logs[:-1, None], logs[1:, None], shares.double()).exp().flatten()
    expected = (torch.arange(len(sigmas) - 1)[:, None] + shares).flatten()
    torch.testing.assert_close(noise.position(between.float(), sigmas), expected, rtol=0, atol=1e-4)
    fine = torch.linspace(math.log(60), math.log(0.005), 10_001).exp()
    found = noise.position(fine, sigmas)
    assert (found.diff() >= 0).all()
    assert (found[0], found[-1]) == (0, len(sigmas) - 1)


def test_position_beyond_the_ends_is_theirs_and_of_no_noise_level_is_none() -> None:
    sigmas = noise.geometric(1, 0.01, 10)
    assert noise.position(torch.tensor([2.0, math.inf, 0.005, 1e-30]), sigmas).tolist() == [0, 0, 9, 9]
    assert noise.position(torch.tensor([0.0, -1.0, -math.inf, math.nan]), sigmas).isnan().all()
    assert noise.position(torch.tensor([0.0, 2.0]), sigmas[:1]).isnan().tolist() == [True, False]


# What is none.


@pytest.mark.parametrize(
    ("sigmas", "message"),
    [
        ([0.1, 1.0], "sigmas[1]=1: must be below the level before it, 0.1"),
        ([1.0, 0.5, 0.5], "sigmas[2]=0.5: must be below the level before it, 0.5"),
        ([1.0, 0.0], "sigmas[1]=0: noise levels must be positive and finite"),
        ([1.0, -0.5], "sigmas[1]=-0.5: noise levels must be positive and finite"),
        ([math.nan, 0.5], "sigmas[0]=nan: noise levels must be positive and finite"),
        ([math.inf, 0.5], "sigmas[0]=inf: noise levels must be positive and finite"),
        ([], "sigmas: must have the shape (L,) with L ≥ 1, not (0,)"),
        ([[1.0, 0.5]], "sigmas: must have the shape (L,) with L ≥ 1, not (1, 2)"),
        (0.5, "sigmas: must have the shape (L,) with L ≥ 1, not ()"),
    ],
)
def test_what_is_no_ladder_is_refused(sigmas: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        noise.check(torch.tensor(sigmas))


def test_a_ladder_is_accepted() -> None:
    noise.check(noise.geometric(348, 0.01, 2311))
    noise.check(torch.tensor([0.1]))
    noise.check(torch.tensor([0.0]))  # no noise at all
