"""The network as an energy: a score that is its gradient, row by row, at any of the project's sizes."""

from typing import Any

import pytest
import torch
from checks import levels, noise_of
from torch import Tensor

from ncsn import noise
from ncsn.networks import NCSN, EnergyNCSN
from ncsn.objectives import (
    SlicedScoreMatching,
    denoising_score_matching,
    denoising_with_control_variate,
    exact_score_matching,
)

SIGMAS = noise.geometric(1, 0.1, 3)


def network(**kwargs: Any) -> EnergyNCSN:
    torch.manual_seed(0)
    return EnergyNCSN(SIGMAS, **{"image_size": 8, "in_channels": 1, "num_filters": 4} | kwargs)


def batch(n: int = 3, channels: int = 1, size: int = 8) -> tuple[Tensor, Tensor]:
    x = torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(1))
    return x, SIGMAS[torch.arange(n) % len(SIGMAS)]


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_score_is_minus_the_gradient_of_the_energy(mode: Any) -> None:
    score = network()
    x, sigma = batch()
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(score.energy(x, sigma).sum(), x)
    with mode():
        torch.testing.assert_close(score(x.detach(), sigma), -gradient)


def test_score_is_the_slope_of_the_energy() -> None:
    score, (x, sigma) = network().double(), batch()
    x, sigma = x.double(), sigma.double()
    v, h = noise_of(2)(x), 1e-5
    slope = (score.energy(x + h * v, sigma) - score.energy(x - h * v, sigma)) / (2 * h)
    torch.testing.assert_close((score(x, sigma) * v).sum((1, 2, 3)), -slope, rtol=1e-5, atol=1e-6)


def test_with_nothing_learned_it_is_a_gaussian_of_mean_and_deviation_one_half() -> None:
    score, (x, sigma) = network(), batch()
    for parameter in score.network.network.head.parameters():
        torch.nn.init.zeros_(parameter)
    variance = (1 / 4 + sigma**2)[:, None, None, None]
    torch.testing.assert_close(score(x, sigma), -(x - 0.5) / variance)
    torch.testing.assert_close(score.energy(x, sigma), ((x - 0.5) ** 2 / variance).sum((1, 2, 3)) / 2)


def test_grows_as_a_square_far_away() -> None:
    score, (x, sigma) = network(), batch()
    near, far = (score.energy(scale * (x - 0.5), sigma) for scale in (1e4, 1e5))
    torch.testing.assert_close(far / near, torch.full((3,), 100.0), rtol=0.01, atol=0)


@pytest.mark.parametrize("call", ["energy", "forward"])
def test_rows_do_not_depend_on_one_another(call: str) -> None:
    score, (x, sigma) = network(), batch()
    together = getattr(score, call)(x, sigma)
    for i in range(len(x)):
        torch.testing.assert_close(getattr(score, call)(x[i : i + 1], sigma[i : i + 1])[0], together[i])


@pytest.mark.parametrize(("size", "channels", "filters"), [(8, 1, 4), (10, 2, 6), (32, 3, 4)])
def test_any_even_size_any_channels_any_width(size: int, channels: int, filters: int) -> None:
    score = network(image_size=size, in_channels=channels, num_filters=filters)
    x, sigma = batch(2, channels, size)
    assert score(x, sigma).shape == x.shape
    assert score.energy(x, sigma).shape == (2,)


def test_has_the_parameters_of_the_score_network() -> None:
    plain = NCSN(SIGMAS, image_size=8, in_channels=1, num_filters=4)
    assert sum(p.numel() for p in network().parameters()) == sum(p.numel() for p in plain.parameters())


@pytest.mark.parametrize("sigma", [2.0, 0.5, 0.2, 0.01])
def test_between_and_beyond_its_levels_it_is_the_same_formula(sigma: float) -> None:
    score, (x, _) = network().double(), batch()
    x = x.double()
    at, f = levels(sigma, x), score.network.network
    expected = (2 * x - 1) / (1 + 4 * sigma**2) ** 0.5 + sigma * f(x, at)
    torch.testing.assert_close(score.energy(x, at), expected.square().sum((1, 2, 3)) / 2)
    v, h = noise_of(2)(x), 1e-5
    slope = (score.energy(x + h * v, at) - score.energy(x - h * v, at)) / (2 * h)
    torch.testing.assert_close((score(x, at) * v).sum((1, 2, 3)), -slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "objective",
    [
        denoising_score_matching,
        denoising_with_control_variate,
        SlicedScoreMatching(variance_reduced=True),
        exact_score_matching,
    ],
)
def test_every_objective_reaches_every_parameter(objective: Any) -> None:
    score = network(image_size=4, num_filters=2)
    x, sigma = batch(3, 1, 4)
    objective(score, x, sigma, normal=noise_of(3)).mean().backward()
    for name, parameter in score.named_parameters():
        assert parameter.grad is not None, name  # or processes would wait for it
        assert parameter.grad.isfinite().all()


def test_energy_is_a_float_under_mixed_precision() -> None:
    score, (x, sigma) = network(), batch()
    with torch.autocast("cpu", torch.bfloat16):
        energy, value = score.energy(x, sigma), score(x, sigma)
    assert energy.dtype == value.dtype == torch.float32
    torch.testing.assert_close(energy, score.energy(x, sigma), rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"image_size": 27}, "image_size=27: must be even"),
        ({"in_channels": 0}, "in_channels=0"),
        ({"num_filters": 1}, "num_filters=1"),
    ],
)
def test_refuses_by_name(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**kwargs)
