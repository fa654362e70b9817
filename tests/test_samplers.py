"""Annealed Langevin dynamics: Algorithm 1 step by step, and the distributions that it reaches."""

import math
import re
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
from densities import Gaussian, Mixture
from torch import Tensor, nn

from ncsn import noise
from ncsn.random import Draws
from ncsn.restoration import Restoration, Tweedie
from ncsn.samplers import (
    AnnealedLangevin,
    BudgetedLangevin,
    ConsistentAnnealedSampling,
    HamiltonianMonteCarlo,
    Interpolation,
    Langevin,
    MetropolisLangevin,
    Sampler,
    State,
    start,
)

SEVERAL = 4.5  # standard errors that an estimate may be off
LADDER = torch.tensor([2.0, 0.7, 0.3, 0.1], dtype=torch.float64)


def noise_of(seed: int) -> Callable[[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda x: torch.randn(x.shape, generator=generator, dtype=x.dtype)


def no_noise(x: Tensor) -> Tensor:
    return torch.zeros_like(x)


def curved(x: Tensor, sigma: Tensor) -> Tensor:
    """Some s(x, σ), nonlinear in both, of a row alone."""
    sigma = sigma.reshape(-1, *[1] * (x.ndim - 1))
    return (torch.sin(3 * x) - x) / (0.1 + sigma**2)


def starts(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def last(states: Iterator[State]) -> Tensor:
    *_, state = states
    return state.x


# Algorithm 1


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4)])
def test_every_step_is_that_of_algorithm_1(shape: tuple[int, ...]) -> None:
    epsilon, T, x0 = 0.002, 3, starts(5, *shape)
    states = list(AnnealedLangevin(T, epsilon)(curved, x0, LADDER, normal=noise_of(1)))

    normal, x, k = noise_of(1), x0.clone(), 0
    for i in range(len(LADDER)):
        sigma_i, sigma_L = float(LADDER[i]), float(LADDER[-1])
        alpha_i = epsilon * sigma_i**2 / sigma_L**2
        for t in range(T):
            z, s = normal(x), curved(x, torch.full((5,), sigma_i, dtype=torch.float64))
            x = x + alpha_i / 2 * s + math.sqrt(alpha_i) * z
            torch.testing.assert_close(states[k].x, x, rtol=1e-12, atol=1e-12)
            assert (states[k].level, states[k].step) == (i, t)
            k += 1
    assert k == len(states)


def test_step_of_the_released_code_is_half_of_ours() -> None:
    step, T, x = 0.001, 3, starts(5, 2)
    ours = last(AnnealedLangevin(T, 2 * step)(curved, x, LADDER, normal=noise_of(1)))

    normal = noise_of(1)
    for sigma in LADDER:
        alpha = step * (sigma / LADDER[-1]) ** 2
        for _ in range(T):
            x = x + alpha * curved(x, sigma.expand(5)) + (2 * alpha).sqrt() * normal(x)
    torch.testing.assert_close(ours, x, rtol=1e-12, atol=1e-12)


def test_default_is_what_the_paper_ran() -> None:
    sampler = AnnealedLangevin()
    assert sampler.step_size == 2 * 2e-5  # the code's 2e-5
    assert sampler.num_steps(10) == 1000
    assert not sampler.denoise


def test_every_update_is_returned_the_last_one_too() -> None:
    seen: list[Tensor] = []

    def score(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(x.clone())
        return curved(x, sigma)

    states = list(AnnealedLangevin(2, 0.01)(score, starts(5, 2), LADDER, normal=no_noise))
    assert len(seen) == len(states) == 8
    for state, next_seen in zip(states[:-1], seen[1:], strict=True):
        assert torch.equal(state.x, next_seen)
    expected = seen[-1] + 0.01 / 2 * curved(seen[-1], LADDER[-1:].expand(5))
    torch.testing.assert_close(states[-1].x, expected)
    assert not torch.equal(states[-1].x, seen[-1])


def test_score_sees_the_chains_and_one_level_a_row() -> None:
    seen: list[Tensor] = []

    def score(x: Tensor, sigma: Tensor) -> Tensor:
        assert x.dtype == torch.float32
        assert sigma.shape == (5,)
        seen.append(sigma)
        return -x

    sigmas, x = noise.geometric(1, 0.01, 3), starts(5, 2).float()
    assert last(AnnealedLangevin(2, 1e-5, denoise=True)(score, x, sigmas)).dtype == torch.float32
    assert torch.equal(torch.stack(seen)[:, 0], sigmas[[0, 0, 1, 1, 2, 2, 2]])


# The run


@pytest.mark.parametrize("denoise", [False, True])
@pytest.mark.parametrize("T", [1, 4])
@pytest.mark.parametrize("L", [1, 3])
def test_number_of_steps_is_known_beforehand(L: int, T: int, denoise: bool) -> None:
    sampler: Sampler = AnnealedLangevin(T, 0.001, denoise)
    states = list(sampler(curved, starts(2, 2), LADDER[:L]))
    assert sampler.num_steps(L) == len(states) == L * T + denoise
    expected = [(i, t) for i in range(L) for t in range(T)] + [(L - 1, T)] * denoise
    assert [(s.level, s.step) for s in states] == expected


def test_starts_and_earlier_states_are_left_alone() -> None:
    x = starts(5, 2)
    before, run = x.clone(), AnnealedLangevin(3, 0.01, denoise=True)(curved, x, LADDER)
    states = [(state.x, state.x.clone()) for state in run]
    assert torch.equal(x, before)
    assert all(torch.equal(kept, copy) for kept, copy in states)
    assert all(not torch.equal(a, b) for (a, _), (b, _) in pairwise(states))


def test_same_noise_same_samples() -> None:
    def run(seed: int) -> Tensor:
        x = starts(5, 2).float()
        return last(AnnealedLangevin(3, 0.001)(curved, x, LADDER, normal=Draws(seed, "sample").normal))

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))


def test_noise_is_drawn_afresh_for_every_step_and_value() -> None:
    drawn: list[Tensor] = []

    def normal(x: Tensor) -> Tensor:
        drawn.append(torch.randn_like(x))
        return drawn[-1]

    x = starts(5, 2)
    states = list(AnnealedLangevin(3, 0.01)(lambda x, sigma: 0 * x, x, LADDER[-1:], normal=normal))
    assert len(drawn) == 3
    for state, z, before in zip(states, drawn, [x, *[s.x for s in states]], strict=False):
        torch.testing.assert_close(state.x, before + 0.1 * z)


def test_keeps_no_graph_and_leaves_the_callers_grad_mode() -> None:
    net = nn.Linear(2, 2).double()
    x = starts(5, 2).requires_grad_()
    for state in AnnealedLangevin(2, 0.01, denoise=True)(lambda x, sigma: net(x), x, LADDER):
        assert not state.x.requires_grad
        assert state.x.grad_fn is None
        assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"steps_per_level": 0}, "steps_per_level=0: must be at least 1"),
        ({"steps_per_level": -2}, "steps_per_level=-2: must be at least 1"),
        ({"step_size": 0.0}, "step_size=0.0: must be positive and finite"),
        ({"step_size": -1e-5}, "step_size=-1e-05: must be positive and finite"),
        ({"step_size": math.nan}, "step_size=nan: must be positive and finite"),
        ({"step_size": math.inf}, "step_size=inf: must be positive and finite"),
    ],
)
def test_refuses_by_name(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        AnnealedLangevin(**kwargs)


# The start


@pytest.mark.parametrize(
    ("sampler", "starts_from"),
    [
        (AnnealedLangevin(), "uniform"),
        (BudgetedLangevin(), "uniform"),
        (Langevin(), "uniform"),
        (MetropolisLangevin(), "uniform"),
        (HamiltonianMonteCarlo(), "uniform"),
        (ConsistentAnnealedSampling(), "noise"),
        (Tweedie(0.1), "noise"),
        (Interpolation(AnnealedLangevin(), 2), "uniform"),
        (Interpolation(ConsistentAnnealedSampling(), 2), "noise"),
        (Restoration(AnnealedLangevin(), lambda x: x, torch.zeros(1)), "uniform"),
        (object(), "uniform"),  # a user's own, which does not say
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_samplers_start_from_what_they_ask_for(sampler: Sampler, starts_from: str) -> None:
    x = start(sampler, (2, 3, 4), noise.geometric(5, 0.01, 10), Draws(0, "sample", 1))
    draws = Draws(0, "sample", 1)
    uniform = starts_from == "uniform"
    assert torch.equal(x, draws.uniform(2, 3, 4) if uniform else 0.5 + 5 * draws.normal(torch.empty(2, 3, 4)))
    assert getattr(sampler, "starts_from", "uniform") == starts_from


# What it reaches


GAUSSIAN = Gaussian(torch.tensor([1.0, -2.0]), torch.tensor([[1.0, 0.6], [0.6, 0.5]]))


def modes(sigma: float) -> Mixture:
    """1/5 N((−5, −5), σ²I) + 4/5 N((5, 5), σ²I)."""
    return Mixture([0.2, 0.8], [Gaussian(torch.full((2,), m), sigma**2 * torch.eye(2)) for m in (-5.0, 5.0)])


def assert_normal(x: Tensor, mean: Tensor, axes: Tensor, variances: Tensor) -> None:
    """The rows are of N(mean, axes · variances · axesᵀ), by their first two moments."""
    n, y = len(x), (x - mean) @ axes / variances.sqrt()
    assert (y.mean(0).abs() < SEVERAL / math.sqrt(n)).all()
    second = (y.T @ y / n - torch.eye(len(mean))).abs()
    assert (second.diagonal() < SEVERAL * math.sqrt(2 / n)).all()
    assert (second.fill_diagonal_(0) < SEVERAL / math.sqrt(n)).all()


def test_reaches_a_correlated_gaussian_perturbed_by_the_last_level() -> None:
    sigmas, epsilon = noise.geometric(5, 0.5, 5), 0.05
    x = last(AnnealedLangevin(150, epsilon)(GAUSSIAN.score, starts(10_000, 2), sigmas, normal=noise_of(1)))
    # the stationary variance of x ← (1 − ε/2v)x + √ε z, which tends to v = λ + σ_L² as ε → 0
    v = GAUSSIAN.variances + 0.5**2
    assert_normal(x, GAUSSIAN.mean, GAUSSIAN.axes, v / (1 - epsilon / (4 * v)))


def test_denoising_step_is_the_posterior_mean() -> None:
    sampler = AnnealedLangevin(2, 0.01, denoise=True)
    *_, noisy, denoised = sampler(GAUSSIAN.score, starts(100, 2), LADDER, normal=noise_of(1))
    sigma = float(LADDER[-1])
    gain = GAUSSIAN.covariance @ torch.linalg.inv(GAUSSIAN.covariance + sigma**2 * torch.eye(2))
    torch.testing.assert_close(denoised.x, GAUSSIAN.mean + (noisy.x - GAUSSIAN.mean) @ gain.T)
    torch.testing.assert_close(denoised.x, noisy.x + sigma**2 * GAUSSIAN.score(noisy.x, sigma))


def test_annealing_recovers_the_weights_of_the_papers_toy() -> None:
    points, sigmas, epsilon = modes(0.0), noise.geometric(20, 1, 10), 0.1  # q₁ is the toy itself
    x = 16 * starts(4_000, 2) - 8
    x = last(AnnealedLangevin(100, epsilon)(points.score, x, sigmas, normal=noise_of(1)))
    upper = x.sum(1) > 0
    share = upper.double().mean()
    # by chance ± 0.006; and about 0.018 too few, because the modes part while the weights still drift to 1/5 : 4/5
    assert abs(share - 0.8) < 0.04
    variance = torch.full((2,), 1 / (1 - epsilon / 4))
    for of_mode, m in ((upper, 5.0), (~upper, -5.0)):
        assert_normal(x[of_mode], torch.full((2,), m), torch.eye(2).double(), variance)


def test_without_annealing_the_weights_are_lost() -> None:
    x = 16 * starts(1_000, 2) - 8
    x = last(AnnealedLangevin(300, 0.1)(modes(0.0).score, x, torch.ones(1), normal=noise_of(1)))
    assert abs((x.sum(1) > 0).double().mean() - 0.5) < 0.1
