"""The variational bound against DDPM's own variables, and against entropies that are known."""

import math
import re
from itertools import pairwise
from typing import Any

import pytest
import torch
from checks import noise_of
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from ncsn import noise
from ncsn.bound import Bound, VariationalBound, decoder_variance

BETAS = torch.linspace(1e-3, 0.3, 12, dtype=torch.float64)


def ladder(betas: Tensor) -> Tensor:
    alpha_bar = (1 - betas).cumprod(0)
    return (((1 - alpha_bar) / alpha_bar).sqrt() / 2).flip(0)


def estimated_noise(state: Tensor, alpha_bar: Tensor) -> Tensor:
    """ε(x_t, t) of DDPM, which is nobody's score."""
    return (3 * state).sin() * alpha_bar.sqrt() + state * (1 - alpha_bar).sqrt()


def score(x: Tensor, sigma: Tensor) -> Tensor:
    sigma_ = sigma.view(-1, *[1] * (x.ndim - 1))
    alpha_bar = 1 / (1 + 4 * sigma_**2)
    return -estimated_noise(alpha_bar.sqrt() * (2 * x - 1), alpha_bar) / sigma_


def as_ddpm_has_it(images: Tensor, betas: Tensor, variance: str, z: list[Tensor]) -> dict[str, Tensor]:
    """L_T, the sum of L_t−1, and L_0, in the variables of Ho et al. 2020, by the released code.

    Args:
        z: the noise of t = T, …, 1.
    """
    alpha_bar = (1 - betas).cumprod(0)
    before = torch.cat([torch.ones(1).double(), alpha_bar[:-1]])
    small = betas * (1 - before) / (1 - alpha_bar)
    own = (betas if variance == "fixed_large" else small).clone()
    own[0] = small[1]  # as the code has it
    u0 = images.double() / 127.5 - 1
    standard = Normal(torch.zeros_like(u0), torch.ones_like(u0))
    found = {"prior": kl_divergence(Normal(alpha_bar[-1].sqrt() * u0, (1 - alpha_bar[-1]).sqrt()), standard)}
    found["diffusion"] = torch.zeros_like(u0)
    for t in reversed(range(len(betas))):
        eps = z[len(betas) - 1 - t]
        state = alpha_bar[t].sqrt() * u0 + (1 - alpha_bar[t]).sqrt() * eps
        estimate = (state - (1 - alpha_bar[t]).sqrt() * estimated_noise(state, alpha_bar[t])) / alpha_bar[t].sqrt()

        def mean(start: Tensor, state: Tensor = state, t: int = t) -> Tensor:
            scale = 1 - alpha_bar[t]
            first = betas[t] * before[t].sqrt() / scale * start
            return first + (1 - before[t]) * (1 - betas[t]).sqrt() / scale * state

        model = Normal(mean(estimate.clamp(-1, 1)), own[t].sqrt())
        if t:
            found["diffusion"] += kl_divergence(Normal(mean(u0), small[t].sqrt()), model)
        else:
            upper, lower = model.cdf(u0 + 1 / 255), model.cdf(u0 - 1 / 255)
            upper[images == 255], lower[images == 0] = 1, 0
            found["decoder"] = -(upper - lower).log()
    return {name: value.flatten(1).sum(1) for name, value in found.items()}


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_its_terms_are_those_of_ddpm(variance: Any) -> None:
    images = torch.randint(256, (3, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[0, 0, 0, 0], images[1, 0, 0, 0] = 0, 255
    z = [noise_of(t)(torch.empty(images.shape, dtype=torch.float64)) for t in range(len(BETAS))]
    drawn = iter(z)
    found = VariationalBound(variance=variance)(score, images, ladder(BETAS), normal=lambda x: next(drawn))
    expected = as_ddpm_has_it(images, BETAS, variance, z)
    for name, value in expected.items():
        torch.testing.assert_close(getattr(found, name), value, rtol=1e-6, atol=1e-8)
    assert found.evaluations == len(BETAS)
    torch.testing.assert_close(found.total, sum(expected.values()))


def test_the_ladders_of_ddpm_have_its_variance_of_the_decoder() -> None:
    """β̃₂ of diffusers' scheduler, which is on no ladder below half of 1 − ᾱ₁."""
    schedulers = pytest.importorskip("diffusers.schedulers", reason="diffusers is not installed")
    for schedule, sigmas in {"linear": noise.ddpm(), "squaredcos_cap_v2": noise.cosine()}.items():
        theirs = schedulers.DDPMScheduler(beta_schedule=schedule, beta_start=1e-4, beta_end=0.02)
        own = float(theirs._get_variance(1, variance_type="fixed_small"))
        assert 4 * decoder_variance(sigmas) == pytest.approx(own, rel=1e-3)
    fine = noise.geometric(1, 0.01, 1000)
    assert decoder_variance(fine) == pytest.approx(0.01**2 / 2, rel=1e-3)


class GreyLevel:
    """A dark pixel whose grey level is nearly normal, with its score and its entropy."""

    def __init__(self, dequantized: bool) -> None:
        self.levels = torch.arange(4, 37)
        self.places = ((self.levels + 0.5) / 256 if dequantized else self.levels / 255.0).double()
        self.probabilities = (-((self.levels - 20.0).double() ** 2) / (2 * 5**2)).softmax(0)

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        weights = (self.probabilities.log() - (x - self.places) ** 2 / (2 * sigma[:, None] ** 2)).softmax(1)
        return ((weights @ self.places)[:, None] - x) / sigma[:, None] ** 2

    def excess(self, steps: int, dequantized: bool) -> float:
        """The bound above the entropy in nats: over all grey levels, and over noise by a sum for the integral."""
        nodes = torch.linspace(-6, 6, 49, dtype=torch.float64)
        images = self.levels.repeat_interleave(len(nodes))[:, None].to(torch.uint8)
        z = nodes.repeat(len(self.levels))[:, None]
        bound, sigmas = VariationalBound(steps=steps), noise.geometric(2, 0.001, 2).double()
        found = bound(self, images, sigmas, dequantized=dequantized, normal=lambda x: z).total
        mean = self.probabilities @ found.view(-1, len(nodes)) @ (-(nodes**2) / 2).softmax(0)
        return float(mean - torch.special.entr(self.probabilities).sum())


@pytest.mark.parametrize("dequantized", [False, True])
def test_it_falls_to_the_entropy_with_order_1(dequantized: bool) -> None:
    """With an exact score; the place of grey levels is that of the images that the network was trained on."""
    data = GreyLevel(dequantized)
    excesses = [data.excess(steps, dequantized) for steps in (40, 80, 160)]
    orders = [math.log2(a / b) for a, b in pairwise(excesses)]
    assert orders == pytest.approx([1, 1], abs=0.25), excesses
    assert 0 < excesses[-1] < 0.2
    assert data.excess(160, not dequantized) > excesses[-1] + 0.05


def test_grey_levels_far_from_the_mean_have_the_probability_of_a_tail() -> None:
    """They come from a network that is wrong; their logarithms stay finite in float32."""
    images = torch.tensor([[0, 3, 250, 255]], dtype=torch.uint8)
    found = VariationalBound()(
        lambda x, sigma: (1.0 - images / 255 - x) / sigma[:, None] ** 2, images, torch.tensor([1e-3])
    )
    off, deviation = (images.double() / 255 * 2 - 1).abs(), math.sqrt(decoder_variance(torch.tensor([1e-3])))
    expected = ((off - 0.5 / 255) / deviation).square().sum(1) / 2  # up to the logarithm of its root
    torch.testing.assert_close(found.decoder.double(), expected, rtol=1e-4, atol=40)


@pytest.mark.parametrize("num_levels", [1, 4])
def test_levels_that_are_drawn_estimate_all_of_them(num_levels: int) -> None:
    images = torch.full((4000, 4), 77, dtype=torch.uint8)
    sigmas = noise.geometric(5, 0.01, 11).double()
    whole = VariationalBound()(score, images, sigmas, normal=noise_of(0))
    some = VariationalBound(num_levels=num_levels)(score, images, sigmas, normal=noise_of(1))
    assert some.evaluations == num_levels + 1
    error = (whole.diffusion.var() / len(images) + some.diffusion.var() / len(images)).sqrt()
    assert (some.diffusion.mean() - whole.diffusion.mean()).abs() < 3 * error
    assert error < 0.05 * whole.diffusion.mean()
    torch.testing.assert_close(some.prior, whole.prior)
    assert VariationalBound(num_levels=100)(score, images[:1], sigmas).evaluations == 11


def test_of_one_level_there_are_the_prior_and_the_decoder() -> None:
    images = torch.full((2, 4), 77, dtype=torch.uint8)
    found: Bound = VariationalBound()(score, images, torch.tensor([0.3]))
    assert found.diffusion.tolist() == [0, 0]
    assert found.evaluations == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_levels": 0}, "num_levels=0"),
        ({"variance": "learned"}, "variance=learned"),
        ({"steps": 1}, "steps=1"),
    ],
)
def test_what_is_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        VariationalBound(**options)


def test_what_it_cannot_be_computed_of_is_refused() -> None:
    images = torch.zeros(1, 2, dtype=torch.uint8)
    with pytest.raises(ValueError, match=re.escape("sigmas=[0]")):
        VariationalBound()(score, images, torch.zeros(1))
    with pytest.raises(ArithmeticError, match="not finite"):
        VariationalBound()(lambda x, sigma: x * torch.nan, images, torch.ones(1))
