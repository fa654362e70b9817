"""The step size in the three forms in which it is published: the paper's, the released code's, and as snr."""

import pytest
import torch
from checks import last, noise_of
from torch import Tensor

from ncsn import noise
from ncsn.samplers import AnnealedLangevin


def test_released_is_the_codes_step() -> None:
    """x ← x + α·s + √(2α)·z, α = ε σᵢ²/σ_L²."""

    def score(x: Tensor, sigma: Tensor) -> Tensor:
        return -x / sigma[:, None] ** 2

    sigmas = noise.geometric(1, 0.1, 3).double()
    x, normal = torch.rand(5, 2, dtype=torch.float64), noise_of(0)
    expected = x
    for sigma in sigmas:
        alpha = 2e-3 * (sigma / sigmas[-1]) ** 2
        for _ in range(4):
            z = normal(expected)
            expected = expected + alpha * score(expected, sigma.expand(5)) + (2 * alpha).sqrt() * z
    sampler = AnnealedLangevin.released(steps_per_level=4, step_lr=2e-3)
    torch.testing.assert_close(last(sampler(score, x, sigmas, normal=noise_of(0))), expected)


def test_released_has_the_papers_run_by_default() -> None:
    assert AnnealedLangevin.released() == AnnealedLangevin(steps_per_level=100, step_size=4e-5, denoise=False)


@pytest.mark.parametrize(("step_lr", "snr"), [(2e-5, 0.316), (6.2e-6, 0.176), (3.3e-6, 0.128), (1.8e-6, 0.095)])
def test_snr_is_that_of_the_released_step_size(step_lr: float, snr: float) -> None:
    """As Song et al. (2021) print it for NCSN, and for NCSNv2 at three resolutions; σ_L is 0.01 in all."""
    of_snr = AnnealedLangevin.from_snr(snr, sigma_min=0.01, steps_per_level=5, denoise=True)
    released = AnnealedLangevin.released(5, step_lr, denoise=True)
    assert of_snr.step_size == pytest.approx(released.step_size, rel=0.01)  # three digits of snr
    assert (of_snr.steps_per_level, of_snr.denoise) == (5, True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AnnealedLangevin.released(step_lr=0.0), "step_lr=0.0: must be positive"),
        (lambda: AnnealedLangevin.from_snr(0.0, 0.01), "snr=0.0, sigma_min=0.01: must be positive"),
        (lambda: AnnealedLangevin.from_snr(0.1, -1.0), "snr=0.1, sigma_min=-1.0: must be positive"),
    ],
)
def test_refuses_by_name(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
