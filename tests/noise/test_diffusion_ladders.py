"""The ladders of diffusion models: published values, their definitions, and what they refuse."""

import math
from typing import Any

import pytest
import torch

from ncsn import noise


def test_ddpm_is_that_of_its_forward_process() -> None:
    kept, expected = 1.0, []
    for t in range(1000):
        kept *= 1 - (1e-4 + t * (0.02 - 1e-4) / 999)
        expected.append(math.sqrt((1 - kept) / kept) / 2)
    sigmas = noise.ddpm()
    torch.testing.assert_close(sigmas, torch.tensor(expected[::-1]), rtol=1e-6, atol=0)
    assert 2 * float(sigmas[0]) == pytest.approx(157.4, rel=1e-3)  # published, for pixels in [−1, 1]
    assert 2 * float(sigmas[-1]) == pytest.approx(0.0100, rel=1e-3)


def test_cosine_is_that_of_its_forward_process() -> None:
    sigmas = 2 * noise.cosine().double()
    kept = 1 / (1 + sigmas**2)
    t = torch.arange(1000, 0, -1).double()
    expected = ((t / 1000 + 0.008) / 1.008 * math.pi / 2).cos() ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    torch.testing.assert_close(kept[1:], expected[1:], rtol=1e-5, atol=0)
    assert float(1 - kept[0] / kept[1]) == pytest.approx(0.999, rel=1e-5)


def test_beta_may_be_constant() -> None:
    kept = 1 / (1 + (2 * noise.ddpm(0.5, 0.5, num_levels=4)) ** 2)
    torch.testing.assert_close(kept, torch.tensor([1 / 16, 1 / 8, 1 / 4, 1 / 2]))


def test_karras_is_uniform_in_the_root_of_sigma() -> None:
    roots = noise.karras(rho=5).double() ** 0.2
    torch.testing.assert_close(roots.diff(), (roots[-1] - roots[0]).expand(17) / 17, rtol=1e-5, atol=0)
    assert noise.karras()[[0, -1]].tolist() == pytest.approx([40, 0.001], rel=1e-6)
    torch.testing.assert_close(noise.karras(2, 1, 3, rho=0.5), torch.tensor([2, 2.5**0.5, 1]))


@pytest.mark.parametrize("ladder", [noise.ddpm, noise.cosine, noise.karras])
def test_they_are_ladders(ladder: Any) -> None:
    for num_levels in (2, 7, 1000):
        sigmas = ladder(num_levels=num_levels)
        assert (sigmas.shape, sigmas.dtype) == ((num_levels,), torch.float32)
        noise.check(sigmas)
    with pytest.raises(ValueError, match=r"^num_levels=1: must be at least 2$"):
        ladder(num_levels=1)


@pytest.mark.parametrize(
    ("ladder", "kwargs", "message"),
    [
        (noise.ddpm, {"beta_min": 0.0}, "beta_min=0.0, beta_max=0.02: must be 0 < beta_min"),
        (noise.ddpm, {"beta_max": 1.0}, "beta_max=1.0: must be 0 < beta_min"),
        (noise.cosine, {"beta_max": 1.0}, "beta_max=1.0: must be positive, and beta_max below 1"),
        (noise.cosine, {"offset": 0.0}, "offset=0.0, beta_max=0.999: must be positive"),
        (noise.cosine, {"offset": math.inf}, "offset=inf, beta_max=0.999: must be positive"),
        (noise.cosine, {"beta_max": 0.0}, "beta_max=0.0: must be positive"),
        (noise.karras, {"sigma_min": 50.0}, "sigma_max=40.0, sigma_min=50.0: must be 0 < sigma_min < sigma_max"),
        (noise.karras, {"sigma_min": 40.0}, "sigma_min=40.0: must be 0 < sigma_min < sigma_max"),
        (noise.karras, {"sigma_min": 0.0}, "sigma_min=0.0: must be 0 < sigma_min"),
        (noise.karras, {"sigma_max": math.inf}, "sigma_max=inf"),
        (noise.karras, {"rho": 0.0}, "rho=0.0: must be positive"),
        (noise.karras, {"rho": math.inf}, "rho=inf: must be positive"),
    ],
)
def test_refuse_by_name(ladder: Any, kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ladder(**kwargs)
