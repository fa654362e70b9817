"""Plain Langevin dynamics, consistent annealed sampling, and what they reach."""

import math
import re
from typing import Any

import pytest
import torch
from checks import assert_normal, last, noise_of
from densities import Gaussian, Mixture
from torch import Tensor

from ncsn import noise
from ncsn.samplers import ConsistentAnnealedSampling, Langevin
from ncsn.samplers.consistent import refine

GAUSSIAN = Gaussian(torch.tensor([1.0, -2.0]), torch.tensor([[1.0, 0.6], [0.6, 0.5]]))
LADDER = torch.tensor([2.0, 0.7, 0.3, 0.1], dtype=torch.float64)


def point(x: Tensor, sigma: Tensor) -> Tensor:
    """The score of a single point, the origin, under noise."""
    return -x / sigma[:, None] ** 2


def zeros(n: int) -> Tensor:
    return torch.zeros(n, 2, dtype=torch.float64)


# Langevin


def test_every_step_is_eq_4_at_the_last_level() -> None:
    x, normal = torch.rand(5, 2, dtype=torch.float64), noise_of(0)
    states = list(Langevin(4, 0.01)(GAUSSIAN.score, x, LADDER, normal=noise_of(0)))
    for t, state in enumerate(states):
        x = x + 0.005 * GAUSSIAN.score(x, 0.1) + 0.1 * normal(x)
        torch.testing.assert_close(state.x, x)
        assert (state.level, state.step, float(state.step_size)) == (3, t, 0.01)
    assert len(states) == Langevin(4).num_steps(10) == 4


def test_default_is_the_papers_baseline() -> None:
    assert Langevin() == Langevin(steps=1000, step_size=2 * 2e-5)


def test_langevin_reaches_a_correlated_gaussian() -> None:
    epsilon, v = 0.05, GAUSSIAN.variances + 0.5**2
    sigmas = torch.tensor([3.0, 0.5], dtype=torch.float64)
    x = last(Langevin(200, epsilon)(GAUSSIAN.score, zeros(10_000), sigmas, normal=noise_of(1)))
    assert_normal(x, GAUSSIAN.mean, GAUSSIAN.axes, v / (1 - epsilon / (4 * v)))  # what it tends to at this ε


def test_langevin_loses_the_weights_of_the_papers_toy() -> None:
    toy = Mixture([0.2, 0.8], [Gaussian(torch.full((2,), m), torch.zeros(2, 2)) for m in (-5.0, 5.0)])
    x = 16 * torch.rand(1_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 8
    x = last(Langevin(300, 0.1)(toy.score, x, noise.geometric(20, 1, 10).double(), normal=noise_of(1)))
    assert abs((x.sum(1) > 0).double().mean() - 0.5) < 0.1


# Consistent annealed sampling


def test_every_step_is_that_of_the_paper() -> None:
    sigmas, eta, x = torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64), 0.6, torch.rand(5, 2, dtype=torch.float64)
    states = list(ConsistentAnnealedSampling(1, eta)(GAUSSIAN.score, x, sigmas, normal=noise_of(0)))
    normal, beta = noise_of(0), math.sqrt(1 - (1 - eta) ** 2 / 0.5**2)
    for i, state in enumerate(states):
        x = x + eta * sigmas[i] ** 2 * GAUSSIAN.score(x, sigmas[i])
        if i < 2:
            x = x + beta * sigmas[i + 1] * normal(x)
        torch.testing.assert_close(state.x, x)
        torch.testing.assert_close(state.step_size, eta * sigmas[i] ** 2)
    assert len(states) == 3


@pytest.mark.parametrize(("eta", "T"), [(0.5, 3), (0.2, 8), (1.0, 1)])
def test_every_step_leaves_the_noise_of_the_next_level(eta: float, T: int) -> None:
    n = 20_000
    x = LADDER[0] * noise_of(0)(zeros(n))
    ladder = [*refine(LADDER, T).tolist()[1:], (1 - eta) * float(LADDER[-1])]
    for sigma, state in zip(
        ladder, ConsistentAnnealedSampling(T, eta)(point, x, LADDER, normal=noise_of(1)), strict=True
    ):
        assert (state.x.mean(0).abs() <= 3.5 * sigma / math.sqrt(n) + 1e-12).all()
        assert state.x.square().mean().sqrt() == pytest.approx(sigma, rel=3.5 / math.sqrt(4 * n), abs=1e-12)


def test_at_the_smallest_eta_it_is_deterministic() -> None:
    sigmas = torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64)
    x = torch.rand(5, 2, dtype=torch.float64)
    runs = [last(ConsistentAnnealedSampling(1, 0.5)(point, x, sigmas, normal=noise_of(seed))) for seed in (0, 1)]
    torch.testing.assert_close(runs[0], runs[1])
    torch.testing.assert_close(runs[0], x / 8)


def consistent_samples(eta: float | None) -> Tensor:
    start = GAUSSIAN.sample(10_000, torch.Generator().manual_seed(0)) + 5 * noise_of(2)(zeros(10_000))
    sampler = ConsistentAnnealedSampling(100, eta, denoise=True)
    return last(sampler(GAUSSIAN.score, start, noise.geometric(5, 0.02, 6).double(), normal=noise_of(1)))


@pytest.mark.parametrize("eta", [None, 0.012])
def test_consistent_sampling_reaches_a_correlated_gaussian(eta: float | None) -> None:
    assert_normal(consistent_samples(eta), GAUSSIAN.mean, GAUSSIAN.axes, GAUSSIAN.variances)


@pytest.mark.parametrize("eta", [0.2, 0.5])
def test_consistent_sampling_loses_variance_as_eta_grows(eta: float) -> None:
    variances = ((consistent_samples(eta) - GAUSSIAN.mean) @ GAUSSIAN.axes).var(0)
    torch.testing.assert_close(variances, (1 - eta / 2) * GAUSSIAN.variances, rtol=0.06, atol=0)


@pytest.mark.parametrize("denoise", [False, True])
@pytest.mark.parametrize("T", [1, 3])
@pytest.mark.parametrize("L", [1, 4])
def test_number_of_steps_is_known_beforehand(L: int, T: int, denoise: bool) -> None:
    sampler = ConsistentAnnealedSampling(T, 0.9, denoise)
    states = list(sampler(GAUSSIAN.score, zeros(3), LADDER[:L], normal=noise_of(0)))
    assert sampler.num_steps(L) == len(states) == (L - 1) * T + 1 + denoise
    expected = [(i, t) for i in range(L - 1) for t in range(T)] + [(L - 1, 0)] + [(L - 1, 1)] * denoise
    assert [(s.level, s.step) for s in states] == expected


def test_denoising_step_is_the_posterior_mean() -> None:
    *_, noisy, denoised = ConsistentAnnealedSampling(9, denoise=True)(GAUSSIAN.score, zeros(9), LADDER)
    torch.testing.assert_close(denoised.x, noisy.x + 0.1**2 * GAUSSIAN.score(noisy.x, 0.1))


def test_refined_ladder_is_geometric_between_the_levels() -> None:
    torch.testing.assert_close(refine(LADDER, 1), LADDER)
    torch.testing.assert_close(refine(noise.geometric(1, 0.01, 3), 4), noise.geometric(1, 0.01, 9))
    ladder = refine(LADDER, 5)
    assert torch.equal(ladder[::5], LADDER)
    assert (ladder.diff() < 0).all()


def test_eta_is_twice_the_least_by_default() -> None:
    for T in (1, 4, 50):
        ladder = refine(LADDER, T)
        state = next(ConsistentAnnealedSampling(T)(point, zeros(2), LADDER))
        expected = min(1.0, 2 * float(1 - (ladder[1:] / ladder[:-1]).min()))
        assert float(state.step_size) == pytest.approx(expected * 2.0**2)


def test_eta_too_small_for_the_ladder_is_refused_with_what_would_do() -> None:
    sampler, sigmas = ConsistentAnnealedSampling(1, 0.2), noise.geometric(1, 0.01, 10)
    with pytest.raises(
        ValueError, match=r"^eta=0.2: .* at least 0.4005 with this ladder, or steps_per_level at least 3$"
    ):
        next(sampler(point, zeros(2), sigmas))
    last(ConsistentAnnealedSampling(3, 0.2)(point, zeros(2), sigmas))
    last(ConsistentAnnealedSampling(1, 0.4006)(point, zeros(2), sigmas))
    with pytest.raises(ValueError, match="steps_per_level at least 3"):
        next(ConsistentAnnealedSampling(2, 0.2)(point, zeros(2), sigmas))


@pytest.mark.parametrize(
    ("kind", "kwargs", "message"),
    [
        (Langevin, {"steps": 0}, "steps=0: must be at least 1"),
        (Langevin, {"step_size": 0.0}, "step_size=0.0: must be positive and finite"),
        (Langevin, {"step_size": math.nan}, "step_size=nan: must be positive and finite"),
        (ConsistentAnnealedSampling, {"steps_per_level": 0}, "steps_per_level=0: must be at least 1"),
        (ConsistentAnnealedSampling, {"eta": 0.0}, "eta=0.0: must be in (0, 1]"),
        (ConsistentAnnealedSampling, {"eta": 1.5}, "eta=1.5: must be in (0, 1]"),
        (ConsistentAnnealedSampling, {"eta": math.nan}, "eta=nan: must be in (0, 1]"),
    ],
)
def test_refuses_by_name(kind: Any, kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        kind(**kwargs)
