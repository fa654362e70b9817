"""Whole trajectories equal those of diffusers' schedulers, from the same start and with the same noise.

They are driven by the exact noise prediction of a mixture, in their variance-preserving space and with pixels in
[−1, 1]. Their schedules are float32.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from checks import last, noise_of
from densities import Gaussian, Mixture
from torch import Tensor

from ncsn import noise
from ncsn.samplers import DDIM, DDPM, DPMSolverPP, Heun, Sampler, UniPC

schedulers = pytest.importorskip("diffusers.schedulers", reason="diffusers is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs

MIXTURE = Mixture(
    [0.3, 0.7],
    [
        Gaussian(torch.tensor([0.2, 0.3]), torch.tensor([[0.010, 0.003], [0.003, 0.005]])),
        Gaussian(torch.tensor([0.9, 0.6]), 0.02 * torch.eye(2)),
    ],
)


def epsilon(sample: Tensor, sigma: float) -> Tensor:
    """The noise prediction for a variance-preserving sample, with its σ for pixels in [−1, 1]."""
    x = (sample * (1 + sigma**2) ** 0.5 + 1) / 2
    return -sigma / 2 * MIXTURE.score(x, sigma / 2)


def start() -> Tensor:
    """Of the chains, x₀ + σ₁ z with σ₁ = 78.7."""
    return 0.5 + 78.7 * noise_of(0)(torch.empty(16, 2, dtype=torch.float64))


def ladder(scheduler: Any) -> Tensor:
    kept = scheduler.alphas_cumprod.double()
    return (((1 - kept) / kept).sqrt() / 2).flip(0)


def theirs(scheduler: Any, steps: int, **options: Any) -> Tensor:
    """Of a scheduler whose steps are levels."""
    scheduler.set_timesteps(steps)
    sigmas = 2 * ladder(scheduler).flip(0)
    sample = (2 * start() - 1) / (1 + sigmas[scheduler.timesteps[0]] ** 2).sqrt()
    for t in scheduler.timesteps:
        output = epsilon(sample, float(sigmas[t]))
        sample = scheduler.step(output, t, sample, **options).prev_sample
    return (sample + 1) / 2


def theirs_between_levels(scheduler: Any, steps: int, variance_preserving: bool, **options: Any) -> Tensor:
    """Of a scheduler that has a list of σ."""
    scheduler.set_timesteps(steps)
    sample = 2 * start() - 1
    if variance_preserving:
        sample = sample / (1 + float(scheduler.sigmas[0]) ** 2) ** 0.5
    for t, sigma in zip(scheduler.timesteps, scheduler.sigmas.tolist(), strict=False):
        scaled = sample if variance_preserving else sample / (1 + sigma**2) ** 0.5
        sample = scheduler.step(epsilon(scaled, sigma), t, sample, **options).prev_sample
    return (sample + 1) / 2


def ours(sampler: Sampler, sigmas: Tensor) -> Tensor:
    return last(sampler(MIXTURE.score, start(), sigmas, normal=noise_of(1)))


def assert_equal(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize(
    ("steps", "variance", "clip"),
    [(20, "fixed_small", False), (20, "fixed_small", True), (20, "fixed_large", False), (1000, "fixed_large", True)],
)
def test_ddpm(steps: int, variance: Any, clip: bool) -> None:
    scheduler = schedulers.DDPMScheduler(variance_type=variance, clip_sample=clip, timestep_spacing="linspace")
    sampler = DDPM(steps, "uniform", clip=clip, variance=variance)
    assert_equal(ours(sampler, ladder(scheduler)), theirs(scheduler, steps, generator=generator()))


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim(eta: float, clip: bool) -> None:
    # "leading": with "linspace" its steps do not end where the next begins.
    scheduler = schedulers.DDIMScheduler(clip_sample=clip, timestep_spacing="leading")
    options = {"eta": eta, "use_clipped_model_output": clip, "generator": generator()}
    expected = theirs(scheduler, 50, **options)
    assert_equal(ours(DDIM(clip=clip, eta=eta), ladder(scheduler).flip(0)[scheduler.timesteps]), expected)


@pytest.mark.parametrize(
    ("scheduler", "variance_preserving", "sampler", "options"),
    [
        ("HeunDiscreteScheduler", False, Heun, {}),
        ("DPMSolverMultistepScheduler", True, DPMSolverPP, {}),
        ("UniPCMultistepScheduler", True, lambda **k: UniPC(order=2, **k), {"solver_order": 2}),
        ("UniPCMultistepScheduler", True, lambda **k: UniPC(order=3, **k), {"solver_order": 3}),
    ],
    ids=["heun", "dpmpp_2m", "unipc-2", "unipc-3"],
)
@pytest.mark.parametrize("steps", [5, 20])
def test_solvers(
    scheduler: str, variance_preserving: bool, sampler: Callable[..., Sampler], options: dict, steps: int
) -> None:
    theirs_is = getattr(schedulers, scheduler)(use_karras_sigmas=True, beta_start=1e-4, beta_end=0.02, **options)
    expected = theirs_between_levels(theirs_is, steps, variance_preserving)
    assert_equal(ours(sampler(steps=steps), ladder(theirs_is)), expected)


@pytest.mark.parametrize("steps", [5, 20])
def test_the_solver_of_the_sde(steps: int) -> None:
    scheduler = schedulers.DPMSolverMultistepScheduler(
        use_karras_sigmas=True, beta_start=1e-4, beta_end=0.02, algorithm_type="sde-dpmsolver++"
    )
    expected = theirs_between_levels(scheduler, steps, True, generator=generator())
    drawn = generator()

    def normal(x: Tensor) -> Tensor:  # theirs draws in float32
        return torch.randn(x.shape, generator=drawn).to(x)

    found = last(DPMSolverPP(steps, eta=1.0)(MIXTURE.score, start(), ladder(scheduler), normal=normal))
    assert_equal(found, expected)


def test_ladders() -> None:
    linear = schedulers.DDPMScheduler()
    torch.testing.assert_close(noise.ddpm().double(), ladder(linear), rtol=5e-4, atol=0)  # 1 − ᾱ₁ in float32
    cosine = schedulers.DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    torch.testing.assert_close(noise.cosine().double(), ladder(cosine), rtol=1e-2, atol=0)
