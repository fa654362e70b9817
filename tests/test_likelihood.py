"""Likelihoods and the probability flow against densities that are known, and of networks of every kind."""

import math
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from checks import Known, noise_of
from densities import Gaussian, Mixture
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ncsn import noise
from ncsn.flow import DormandPrince, HeunSteps, Solution, decode, encode
from ncsn.likelihood import Likelihood, bits_per_dim, log_likelihood
from ncsn.networks import NCSN, EnergyNCSN, UNet
from ncsn.score import Clipped

SIGMAS = noise.geometric(100, 0.05, 20).double()
TIGHT, PLAIN = DormandPrince(rtol=1e-6, atol=1e-6), DormandPrince()


def gaussian(dimensions: int) -> Gaussian:
    """Correlated, with variances from 0.004 to 0.6."""
    generator = torch.Generator().manual_seed(dimensions)
    axes, _ = torch.linalg.qr(torch.randn(dimensions, dimensions, generator=generator, dtype=torch.float64))
    variances = torch.linspace(-2.5, -0.2, dimensions, dtype=torch.float64).mul(math.log(10)).exp()
    return Gaussian(torch.rand(dimensions, generator=generator), axes * variances @ axes.T)


def mixture(dimensions: int) -> Mixture:
    first = gaussian(dimensions)
    return Mixture([0.3, 0.7], [first, Gaussian(first.mean + 1, first.covariance.flip(0, 1) / 2)])


def images(density: Gaussian | Mixture, rows: int) -> Tensor:
    """Of the density with noise of σ_L, of which the flow gives the likelihood."""
    x = density.sample(rows, torch.Generator().manual_seed(0))
    return x + float(SIGMAS[-1]) * noise_of(1)(x)


def moments(density: Gaussian | Mixture) -> dict[str, Tensor]:
    """Mean and variance of each dimension."""
    if isinstance(density, Gaussian):
        return {"mean": density.mean, "variance": density.covariance.diagonal()}
    parts = [moments(component) for component in density.components]
    mean = sum(w * p["mean"] for w, p in zip(density.weights, parts, strict=True))
    second = sum(w * (p["variance"] + p["mean"] ** 2) for w, p in zip(density.weights, parts, strict=True))
    return {"mean": mean, "variance": second - mean**2}


def likelihood(density: Gaussian | Mixture, x: Tensor, **options: Any) -> Likelihood:
    return log_likelihood(Known(density), x, SIGMAS, **moments(density) | options)


def truth(density: Gaussian | Mixture, x: Tensor) -> Tensor:
    return density.log_density(x, float(SIGMAS[-1]))


def test_where_nothing_moves_it_is_that_of_the_start_in_float64() -> None:
    """Mean and variance may be numbers, which float32 would round."""
    x, spread = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3), 0.3 + 100**2
    found = log_likelihood(lambda x, sigma: 0 * x, x, SIGMAS, mean=0.1, variance=0.3)
    expected = -((x - 0.1).square() / spread + math.log(2 * math.pi * spread)).sum(1) / 2
    torch.testing.assert_close(found.nats, expected, rtol=1e-14, atol=0)


# Against closed forms


@pytest.mark.parametrize(("density", "dimensions"), [(mixture, 2), (gaussian, 64), (mixture, 64)])
def test_likelihoods_are_exact(density: Callable[[int], Gaussian | Mixture], dimensions: int) -> None:
    """To 1e-3 nats, of which a part is that the data are no Gaussian of independent pixels under noise of σ₁."""
    known = density(dimensions)
    x = images(known, 2)
    found = likelihood(known, x, solver=TIGHT, num_projections=None)
    assert (found.nats - truth(known, x)).abs().max() < 1e-3


def test_likelihoods_of_many_dimensions() -> None:
    """Where dimensions are independent, one vector of signs gives the whole trace."""
    variances, sigma = torch.linspace(0.001, 0.2, 784, dtype=torch.float64), float(SIGMAS[-1])

    def score(x: Tensor, sigma: Tensor) -> Tensor:
        return (0.5 - x) / (variances + sigma[:, None] ** 2)

    spread = (variances + sigma**2).sqrt()
    x = 0.5 + spread * noise_of(0)(torch.empty(2, 784, dtype=torch.float64))
    expected = torch.distributions.Normal(0.5, spread).log_prob(x).sum(1)
    options: dict[str, Any] = {"mean": 0.5, "variance": variances}
    found = log_likelihood(score, x, SIGMAS, solver=DormandPrince(1e-7, 1e-7), **options)
    assert (found.nats - expected).abs().max() < 1e-3
    plain = log_likelihood(score, x, SIGMAS, **options)
    assert 1e-3 < (plain.nats - expected).abs().max() < 0.2
    assert plain.evaluations < found.evaluations / 2


@pytest.mark.parametrize("spacing", ["logsnr", "karras"])
def test_steps_of_a_fixed_length_have_order_2(spacing: Any) -> None:
    """In one dimension a sign gives the trace."""
    known = mixture(1)
    x, errors = images(known, 8), []
    for steps in (40, 80, 160):
        found = likelihood(known, x, solver=HeunSteps(steps + 1, spacing))
        assert found.evaluations == 2 * steps
        errors.append(float((found.nats - truth(known, x)).abs().mean()))
    assert [math.log2(a / b) for a, b in pairwise(errors)] == pytest.approx([2, 2], abs=0.35), errors


@pytest.mark.parametrize(("projection", "num_projections"), [("rademacher", 1), ("gaussian", 4)])
def test_the_estimate_of_the_divergence_is_unbiased(projection: Any, num_projections: int) -> None:
    known = gaussian(8)
    x = images(known, 1).expand(400, -1)
    exact = likelihood(known, x[:1], solver=HeunSteps(60), num_projections=None).nats
    options: dict[str, Any] = {"num_projections": num_projections, "projection": projection, "normal": noise_of(2)}
    found = likelihood(known, x, solver=HeunSteps(60), **options).nats
    error = found.std() / math.sqrt(len(x))
    assert error > 0
    assert (found.mean() - exact).abs() < 3 * error


def test_more_projections_have_less_variance() -> None:
    known = gaussian(8)
    x = images(known, 1).expand(300, -1)
    one, four = (
        likelihood(known, x, solver=HeunSteps(20), num_projections=n, normal=noise_of(3)).nats.var() for n in (1, 4)
    )
    assert float(one / four) == pytest.approx(4, rel=0.35)


def test_bits_of_a_density_of_grey_levels() -> None:
    """Uniform pixels take 8 bits. Of N(½, v) per pixel, the mean is the entropy, log₂(256 √(2πev))."""
    assert bits_per_dim(torch.zeros(2), 12).tolist() == [8, 8]
    variance, dimensions = 0.02, 16
    known = Gaussian(torch.full((dimensions,), 0.5), variance * torch.eye(dimensions))
    x = known.sample(4000, torch.Generator().manual_seed(0))
    found = bits_per_dim(known.log_density(x), dimensions)
    entropy = math.log2(256 * math.sqrt(2 * math.pi * math.e * variance))
    assert abs(float(found.mean()) - entropy) < 3 * float(found.std()) / math.sqrt(len(x))


# There and back


@pytest.mark.parametrize(("solver", "bound"), [(PLAIN, 5e-4), (TIGHT, 1e-4), (HeunSteps(200), 0.02)])
def test_decoding_inverts_encoding(solver: Any, bound: float) -> None:
    known = mixture(64)
    x = images(known, 4)
    latents = encode(Known(known), x, SIGMAS, solver=solver)
    assert (latents / SIGMAS[0]).std() == pytest.approx(1, abs=0.2)
    assert (decode(Known(known), latents, SIGMAS, solver=solver) - x).abs().max() < bound


def test_the_flow_of_a_gaussian() -> None:
    """Along every axis it scales by the ratio of the standard deviations; the latents are those of the likelihood."""
    known = gaussian(4)
    x, tight = images(known, 3), DormandPrince(1e-9, 1e-9)
    ratio = (known.perturbed_variances(100.0) / known.perturbed_variances(0.05)).sqrt()
    expected = known.mean + (x - known.mean) @ known.axes * ratio @ known.axes.T
    latents = encode(Known(known), x, SIGMAS, solver=tight)
    torch.testing.assert_close(latents, expected, rtol=1e-6, atol=1e-5)
    assert torch.equal(
        likelihood(known, x, solver=HeunSteps(30)).latents, encode(Known(known), x, SIGMAS, solver=HeunSteps(30))
    )


# Networks


@pytest.mark.parametrize("kind", ["ncsn", "energy", "edm", "ddpm", "clipped"])
def test_any_network(kind: str) -> None:
    """vᵀ∇s v in float32 and where no gradients are recorded is that of forward mode."""
    torch.manual_seed(0)
    sigmas, side = noise.geometric(1, 0.05, 4), 8
    shape: dict[str, Any] = {"image_size": side, "in_channels": 1}
    network: nn.Module
    if kind in ("edm", "ddpm"):
        form: Any = kind
        network = UNet(
            sigmas, form=form, num_filters=4, multipliers=[1], num_blocks=1, attention_resolutions=[8], **shape
        )
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.1)  # before training it is zero
    else:
        network = (EnergyNCSN if kind == "energy" else NCSN)(sigmas, num_filters=4, **shape)
    score = Clipped(network.eval()) if kind == "clipped" else network.eval()
    x, seen = torch.rand(2, 1, side, side), []

    def solver(field: Any, x: Tensor, sigmas: Tensor, *, upwards: bool) -> Solution:
        seen.extend(field(x, 0.3))
        return Solution(x, seen[1], 1)

    v = noise_of(0)(x)
    options: dict[str, Any] = {"projection": "gaussian", "normal": lambda x: v, "solver": solver}
    with torch.inference_mode():
        found = log_likelihood(score, x, sigmas, mean=0.5, variance=0.1, **options)
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no forward mode
        value, slope = torch.func.jvp(lambda x: score(x, x.new_full((2,), 0.3)), (x,), (v,))
    torch.testing.assert_close(seen[0], value, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(seen[1], (v * slope).flatten(1).sum(1), rtol=1e-3, atol=1e-2)
    assert found.latents.dtype == torch.float32
    assert not found.nats.requires_grad


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_projections": 0}, "num_projections=0"),
        ({"projection": "signs"}, "projection=signs"),
        ({"sigmas": torch.zeros(1)}, "sigmas=[0]"),
        ({"sigmas": torch.tensor([1.0, 2.0])}, "sigmas[1]=2"),
        ({"x": torch.zeros(1, 17, 17), "num_projections": None}, "D=289"),
    ],
)
def test_what_is_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    given = {"x": torch.zeros(1, 2), "sigmas": SIGMAS, "mean": 0.0, "variance": 1.0} | options
    with pytest.raises(ValueError, match=re.escape(message)):
        log_likelihood(lambda x, sigma: -x, **given)


@pytest.mark.parametrize("solver", [DormandPrince(), HeunSteps(10)])
def test_a_flow_that_leaves_the_finite_numbers_ends(solver: Any) -> None:
    with pytest.raises(ArithmeticError, match="left the finite numbers"):
        encode(lambda x, sigma: x * torch.nan, torch.ones(1, 2), SIGMAS, solver=solver)


@pytest.mark.parametrize("options", [{"rtol": 0}, {"atol": 1}])
def test_tolerances_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be from 1e-13 to below 1"):
        DormandPrince(**options)


def test_the_order_of_the_rows_does_not_matter_to_fixed_steps() -> None:
    known = mixture(2)
    x = images(known, 4)
    together = likelihood(known, x, solver=HeunSteps(10), normal=torch.ones_like).nats
    alone = [likelihood(known, row[None], solver=HeunSteps(10), normal=torch.ones_like).nats for row in x]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)
