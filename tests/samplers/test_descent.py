"""Samplers that go down the ladder once: their orders, special cases, distributions, and shared settings."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from checks import assert_normal, last, noise_of
from densities import Gaussian, Mixture
from torch import Tensor

from ncsn import noise
from ncsn.networks import Preconditioned
from ncsn.random import Draws
from ncsn.samplers import (
    DDIM,
    DDPM,
    AnnealedLangevin,
    DivergedError,
    DPMSolverPP,
    Heun,
    Interpolation,
    PredictorCorrector,
    Sampler,
    UniPC,
    num_evaluations,
    start,
)
from ncsn.score import Clipped

MIXTURE = Mixture(
    [0.3, 0.7],
    [
        Gaussian(torch.tensor([0.2, 0.3]), torch.tensor([[0.010, 0.003], [0.003, 0.005]])),
        Gaussian(torch.tensor([0.8, 0.6]), 0.02 * torch.eye(2)),
    ],
)
DETERMINISTIC = [DDIM, Heun, DPMSolverPP, UniPC]
ALL = [*DETERMINISTIC, DDPM, PredictorCorrector]


def begin(n: int, sigma: float) -> Tensor:
    return 0.5 + sigma * noise_of(0)(torch.empty(n, 2, dtype=torch.float64))


def no_noise(x: Tensor) -> Tensor:
    raise AssertionError("nothing should be drawn")


# Orders of convergence


@pytest.fixture(scope="module")
def exact() -> Callable[[Sampler], float]:
    """The error of a solver: the mean distance of its samples from those of many small steps."""
    sigmas, x = torch.tensor([10.0, 0.02]), begin(32, 10.0)
    end = last(UniPC(1000, order=3)(MIXTURE.score, x, sigmas))

    def error(sampler: Sampler) -> float:
        return float((last(sampler(MIXTURE.score, x, sigmas, normal=no_noise)) - end).norm(dim=1).mean())

    return error


@pytest.mark.parametrize("spacing", ["karras", "logsnr"])
@pytest.mark.parametrize(
    ("kind", "settings", "order"),
    [
        (DDIM, {}, 1),
        (Heun, {}, 2),
        (DPMSolverPP, {}, 2),
        (UniPC, {"order": 1}, 2),
        (UniPC, {"order": 2}, 3),
    ],
)
def test_order(
    exact: Callable[[Sampler], float], kind: Callable[..., Sampler], settings: dict, order: int, spacing: str
) -> None:
    steps = torch.tensor([80, 113, 160, 226])
    errors = [exact(kind(steps=n, spacing=spacing, **settings)) for n in steps.tolist()]
    logs = torch.stack([steps.double().log(), torch.ones(4).double()], dim=1)
    slope = torch.linalg.lstsq(logs, torch.tensor(errors).double().log()[:, None]).solution[0]
    assert float(-slope) == pytest.approx(order, abs=0.1)


def test_third_order_is_the_better_where_steps_are_few(exact: Callable[[Sampler], float]) -> None:
    assert exact(UniPC(40, order=3)) < exact(UniPC(40, order=2)) / 2
    assert exact(UniPC(40)) < exact(DPMSolverPP(40)) / 2


def test_heun_with_churn_is_algorithm_2() -> None:
    sigmas, x = noise.karras(10, 0.1, 5).double(), begin(8, 10.0)
    s_min, s_max = float(sigmas[3]), float(sigmas[1])  # the ends are among those that are raised
    sampler = Heun(churn=1.0, s_min=s_min, s_max=s_max, s_noise=1.003)
    found = last(sampler(MIXTURE.score, x, sigmas, normal=noise_of(1)))

    def denoise(x: Tensor, t: float) -> Tensor:
        return x + t**2 * MIXTURE.score(x, t)

    normal, t = noise_of(1), [*sigmas.tolist(), 0.0]
    for i in range(5):
        gamma = min(1.0 / 5, math.sqrt(2) - 1) if s_min <= t[i] <= s_max else 0.0
        t_hat, x_hat = t[i] + gamma * t[i], x
        if gamma:
            x_hat = x + math.sqrt(t_hat**2 - t[i] ** 2) * 1.003 * normal(x)
        d = (x_hat - denoise(x_hat, t_hat)) / t_hat
        x = x_hat + (t[i + 1] - t_hat) * d
        if t[i + 1]:
            x = x_hat + (t[i + 1] - t_hat) * (d + (x - denoise(x, t[i + 1])) / t[i + 1]) / 2
    torch.testing.assert_close(found, x, rtol=1e-10, atol=1e-10)


# Ancestral sampling


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_ddpm_is_its_own_loop(variance: Any, clip: bool) -> None:
    """Algorithm 2 of Ho et al. in x_t, with α and β and pixels in [−1, 1]."""
    betas = torch.linspace(1e-3, 0.2, 100, dtype=torch.float64)
    alphas, kept = 1 - betas, (1 - betas).cumprod(0)
    sigmas = ((1 - kept) / kept).sqrt() / 2
    x0 = begin(16, float(sigmas[-1]))
    found = last(DDPM(variance=variance, clip=clip)(MIXTURE.score, x0, sigmas.flip(0), normal=noise_of(1)))

    x, normal = (2 * x0 - 1) * kept[-1].sqrt(), noise_of(1)
    for t in reversed(range(100)):
        s = float(sigmas[t])
        predicted = -2 * s * MIXTURE.score((x / kept[t].sqrt() + 1) / 2, s) / 2  # ε_θ
        clean = (x - (1 - kept[t]).sqrt() * predicted) / kept[t].sqrt()
        clean = clean.clamp(-1, 1) if clip else clean
        before = kept[t - 1] if t else torch.ones(()).double()
        mean = before.sqrt() * betas[t] * clean + alphas[t].sqrt() * (1 - before) * x
        x = mean / (1 - kept[t])
        if t:
            beta = betas[t] if variance == "fixed_large" else (1 - before) / (1 - kept[t]) * betas[t]
            x = x + beta.sqrt() * normal(x)
    torch.testing.assert_close(found, (x + 1) / 2, rtol=1e-10, atol=1e-10)


def test_ddpm_samples_with_a_schedule_of_its_own() -> None:
    """As Palette does, whose begins above the levels of training; here with fewer levels."""
    trained, own = noise.ddpm(1e-6, 0.01, 2000), noise.ddpm(1e-4, 0.09, 300)
    assert own[0] > 5 * trained[0]
    palette = DDPM(300, betas=[1e-4, 0.09], variance="fixed_large", clip=True)
    x = begin(20, float(trained[0]))
    states = list(palette(MIXTURE.score, x, trained, normal=noise_of(1)))
    assert (len(states), palette.num_steps(2000)) == (300, 300)
    assert [state.level for state in states[:40]] == [0] * 40  # the nearest of training's
    begun = 0.5 + (x - 0.5) * float(own[0] / trained[0])
    plain = DDPM(variance="fixed_large", clip=True)
    torch.testing.assert_close(states[-1].x, last(plain(MIXTURE.score, begun, own, normal=noise_of(1))))
    network = Preconditioned(lambda x, c: x.tanh() + c.view(-1, 1) / 2000, "ddpm", trained)  # type: ignore[arg-type]
    assert last(palette(network, x[:4].float(), trained, normal=noise_of(1))).isfinite().all()


def test_ddim_is_euler_or_ancestral_sampling() -> None:
    sigmas, x = noise.karras(10, 0.05, 30).double(), begin(16, 10.0)
    ancestral = last(DDPM()(MIXTURE.score, x, sigmas, normal=noise_of(1)))
    implicit = last(DDIM(eta=1.0)(MIXTURE.score, x, sigmas, normal=noise_of(1)))
    torch.testing.assert_close(implicit, ancestral, rtol=1e-10, atol=1e-10)

    found = last(DDIM()(MIXTURE.score, x, sigmas, normal=no_noise))
    for sigma, below in zip(sigmas.tolist(), [*sigmas.tolist()[1:], 0.0], strict=True):
        x = x + (below - sigma) * -sigma * MIXTURE.score(x, sigma)
    torch.testing.assert_close(found, x, rtol=1e-10, atol=1e-10)


VARIANCE_PRESERVING = (1 - torch.linspace(1e-3, 0.2, 100, dtype=torch.float64)).cumprod(0)  # ᾱ_t


def ddim_step(x: Tensor, predicted: Tensor, t: int, eta: float, normal: Any) -> Tensor:
    """Song, Meng & Ermon 2021, eq. 12 and 16."""
    kept, before = float(VARIANCE_PRESERVING[t]), float(VARIANCE_PRESERVING[t - 1]) if t else 1.0
    deviation = eta * math.sqrt((1 - before) / (1 - kept)) * math.sqrt(1 - kept / before)
    clean = (x - math.sqrt(1 - kept) * predicted) / math.sqrt(kept)
    x = math.sqrt(before) * clean + math.sqrt(1 - before - deviation**2) * predicted
    return x + deviation * normal(x) if deviation > 0 else x


def dpm_solver_loop(x: Tensor, predict: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Lu et al. 2022, Algorithm 2, with their α_t = √ᾱ_t, σ_t = √(1 − ᾱ_t) and λ_t = ln(α_t/σ_t)."""
    alpha, sigma = VARIANCE_PRESERVING.sqrt(), (1 - VARIANCE_PRESERVING).sqrt()
    lam = (alpha / sigma).log()
    clean = list[Tensor]()
    for t in reversed(range(100)):
        clean.append((x - sigma[t] * predict(x, t)) / alpha[t])
        if t == 0:
            return clean[-1]  # λ = ∞
        h = lam[t - 1] - lam[t]
        D = clean[-1]
        if len(clean) > 1:
            r = (lam[t] - lam[t + 1]) / h
            D = (1 + 1 / (2 * r)) * clean[-1] - 1 / (2 * r) * clean[-2]
        x = sigma[t - 1] / sigma[t] * x - alpha[t - 1] * ((-h).exp() - 1) * D
    raise AssertionError


@pytest.mark.parametrize("sampler", [DDIM(), DDIM(eta=0.5), DDIM(eta=1.0), DPMSolverPP()], ids=repr)
def test_variance_preserving_chains_give_the_same_samples(sampler: Any) -> None:
    """As published, in x_t = √ᾱ_t u, u = 2x − 1; DDPM's own loop is above."""
    sigmas = ((1 - VARIANCE_PRESERVING) / VARIANCE_PRESERVING).sqrt() / 2
    x0 = begin(16, float(sigmas[-1]))
    found = last(sampler(MIXTURE.score, x0, sigmas.flip(0), normal=noise_of(1)))

    def predict(x: Tensor, t: int) -> Tensor:
        return -float(sigmas[t]) * MIXTURE.score((x / VARIANCE_PRESERVING[t].sqrt() + 1) / 2, float(sigmas[t]))

    x, normal = (2 * x0 - 1) * VARIANCE_PRESERVING[-1].sqrt(), noise_of(1)
    if isinstance(sampler, DDIM):
        for t in reversed(range(100)):
            x = ddim_step(x, predict(x, t), t, sampler.eta, normal)
    else:
        x = dpm_solver_loop(x, predict)
    torch.testing.assert_close(found, (x + 1) / 2, rtol=1e-10, atol=1e-10)


# Distributions


@pytest.mark.parametrize(
    "sampler",
    [
        DDPM(400),
        DDPM(variance="fixed_large"),
        DDIM(400, eta=0.5),
        Heun(40, churn=20.0),
        DPMSolverPP(40, eta=1.0),
        DPMSolverPP(40, eta=0.5),
    ],
    ids=repr,
)
def test_moments_of_a_gaussian(sampler: Sampler) -> None:
    gaussian = Gaussian(torch.tensor([0.6, 0.3]), torch.tensor([[0.05, 0.03], [0.03, 0.04]]))
    x = last(sampler(gaussian.score, begin(4_000, 78.7), noise.ddpm().double(), normal=noise_of(1)))
    assert_normal(x, gaussian.mean, gaussian.axes, gaussian.variances)


@pytest.mark.parametrize("predictor", ["ancestral", "reverse_diffusion"])
def test_moments_of_predictor_and_corrector(predictor: Any) -> None:
    """In many dimensions norms are what is expected of them, and so the variance follows a recursion."""
    v, D, n = 0.04, 2_000, 50
    sigmas = noise.geometric(10, 0.02, 60).double()
    sampler = PredictorCorrector(predictor=predictor)
    x = 0.5 + math.sqrt(v + 100) * noise_of(0)(torch.empty(n, D, dtype=torch.float64))
    x = last(sampler(lambda x, s: (0.5 - x) / (v + s[:, None] ** 2), x, sigmas, normal=noise_of(1)))

    variance = v + 100
    for sigma, below in zip(sigmas.tolist(), [*sigmas.tolist()[1:], 0.0], strict=True):
        total = v + sigma**2
        epsilon = 2 * 0.16**2 * total**2 / variance
        variance = (1 - epsilon / total) ** 2 * variance + 2 * epsilon
        removed = sigma**2 - below**2
        added = removed * (below / sigma) ** 2 if predictor == "ancestral" else removed if below else 0
        variance = (1 - removed / total) ** 2 * variance + added
    found = float((x - 0.5).square().mean())
    assert found == pytest.approx(variance, rel=4 * math.sqrt(2 / (n * D)))
    assert found == pytest.approx(v, rel=0.15)


def test_a_sample_does_not_depend_on_its_batch() -> None:
    sigmas, x = noise.geometric(10, 0.05, 10).double(), begin(4, 10.0)
    drawn = noise_of(1)(torch.empty(20, 4, 2, dtype=torch.float64))
    for sampler in (PredictorCorrector(), DDPM(), Heun(churn=5.0)):
        whole, alone = iter(drawn), iter(drawn)
        together = last(sampler(MIXTURE.score, x, sigmas, normal=lambda x, z=whole: next(z)))
        one = last(sampler(MIXTURE.score, x[2:3], sigmas, normal=lambda x, z=alone: next(z)[2:3]))
        torch.testing.assert_close(together[2:3], one)


# What they share


@pytest.mark.parametrize("steps", [None, 6])
@pytest.mark.parametrize("kind", ALL)
def test_steps_evaluations_and_levels(kind: Any, steps: int | None) -> None:
    sigmas, seen = noise.geometric(5, 0.05, 4), []
    sampler: Sampler = kind(steps, "logsnr")

    def score(x: Tensor, sigma: Tensor) -> Tensor:
        assert (x.dtype, sigma.shape) == (torch.float32, (3,))
        assert not torch.is_grad_enabled()
        seen.append(float(sigma[0]))
        return (0.5 - x) / (0.01 + sigma[:, None] ** 2)

    x = start(sampler, (3, 2), sigmas, Draws(0))
    assert torch.equal(x, 0.5 + 5 * Draws(0).normal(x))
    before = x.clone()
    states = list(sampler(score, x, sigmas))
    assert torch.equal(x, before)
    assert len(states) == sampler.num_steps(4) == (steps or 4)
    assert len(seen) == num_evaluations(sampler, 4) == num_evaluations(Interpolation(sampler, 3), 4)
    places = [(state.level, state.step) for state in states]
    nearest = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0)]
    assert places == (nearest if steps else [(0, 0), (1, 0), (2, 0), (3, 0)])
    assert all(state.x.dtype == torch.float32 for state in states)
    if steps is None:
        assert set(seen) == set(sigmas.tolist())  # the network's own levels, to the last bit


def test_evaluations_of_other_samplers_are_their_steps() -> None:
    assert num_evaluations(AnnealedLangevin(7, 0.001), 10) == 70
    assert num_evaluations(Heun(18), 1000) == 35  # as published


@pytest.mark.parametrize("kind", ALL)
def test_clipping_is_that_of_the_score(kind: Any) -> None:
    sigmas, x = noise.karras(10, 0.05, 8).double(), begin(16, 10.0)
    wide = Gaussian(torch.tensor([0.9, 0.5]), torch.eye(2))
    clipped = last(kind(clip=True)(wide.score, x, sigmas, normal=noise_of(1)))
    expected = last(kind()(Clipped(wide.score), x, sigmas, normal=noise_of(1)))
    assert torch.equal(clipped, expected)
    assert clipped.min() > -1e-9
    assert clipped.max() < 1 + 1e-9
    free = last(kind()(wide.score, x, sigmas, normal=noise_of(1)))
    assert free.max() > 1.1


def test_clipped_score_is_the_score_where_nothing_is_clipped() -> None:
    x = begin(100, 0.3)
    sigma = torch.full((100,), 0.3, dtype=torch.float64)
    denoised = x + sigma[:, None] ** 2 * MIXTURE.score(x, sigma)
    s = Clipped(lambda x, sigma: 3 * MIXTURE.score(x, sigma))(x, sigma)
    estimate = x + 0.09 * s
    assert ((estimate > -1e-12) & (estimate < 1 + 1e-12)).all()
    within = ((denoised >= 0) & (denoised <= 1)).all(1)
    assert within.any()
    torch.testing.assert_close(Clipped(MIXTURE.score)(x, sigma)[within], MIXTURE.score(x, sigma)[within])


@pytest.mark.parametrize("kind", ALL)
def test_float64_keeps_what_float32_rounds(kind: Any) -> None:
    sigmas, x = noise.karras(500, 0.05, 200), begin(16, 500.0).float()

    def score(x: Tensor, sigma: Tensor) -> Tensor:
        assert x.dtype == sigma.dtype
        return MIXTURE.score(x.double(), sigma.double()).to(x.dtype)

    def normal(generator: Any) -> Any:
        return lambda x: generator(x.float())  # as `Draws` gives it

    expected = last(kind()(score, x.double(), sigmas.double(), normal=normal(noise_of(1))))
    states = list(kind(float64=True)(score, x, sigmas, normal=normal(noise_of(1))))
    coarse = last(kind()(score, x, sigmas, normal=normal(noise_of(1))))
    assert states[-1].x.dtype == torch.float32
    assert (states[-1].x - expected).norm() < 0.5 * (coarse - expected).norm()


@pytest.mark.parametrize("kind", ALL)
def test_they_are_watched(kind: Any) -> None:
    sigmas = noise.geometric(1, 0.1, 5)
    with pytest.raises(DivergedError) as caught:
        list(
            kind()(
                lambda x, sigma: x.new_full(x.shape, math.nan if sigma[0] < 0.5 else 0.1), torch.rand(2, 3), sigmas
            )
        )
    assert caught.value.sigma in sigmas.tolist()
    with pytest.raises(ValueError, match=r"^sigmas\[1\]"):
        next(kind()(MIXTURE.score, begin(2, 1.0), sigmas.flip(0)))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (DDPM, {"variance": "learned"}, "variance=learned: must be fixed_small or fixed_large"),
        (DDPM, {"betas": [1e-4, 0.02]}, r"betas=\[0.0001, 0.02\]: must be two numbers, β₁ and β_T, with steps=T"),
        (DDPM, {"betas": [0.1], "steps": 5}, r"betas=\[0.1\]: must be two numbers, β₁ and β_T, with steps=T"),
        (DDIM, {"eta": 1.5}, r"eta=1.5: must be in \[0, 1\]"),
        (DPMSolverPP, {"eta": -0.1}, r"eta=-0.1: must be in \[0, 1\]"),
        (Heun, {"churn": -1.0}, "churn=-1.0: must be at least 0, and finite"),
        (Heun, {"s_min": 2.0, "s_max": 1.0}, "s_min=2.0, s_max=1.0: must be 0 ≤ s_min ≤ s_max"),
        (Heun, {"s_noise": 0.0}, "s_noise=0.0: must be positive and finite"),
        (UniPC, {"order": 4}, "order=4: must be 1, 2 or 3"),
        (PredictorCorrector, {"snr": 0.0}, "snr=0.0: must be positive and finite"),
        (PredictorCorrector, {"predictor": "euler"}, "predictor=euler: must be reverse_diffusion or ancestral"),
        *((kind, {"steps": 1}, "steps=1: must be from 2 to 10000, or null for all levels") for kind in ALL),
    ],
)
def test_refuses_by_name(kind: Any, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        kind(**settings)
