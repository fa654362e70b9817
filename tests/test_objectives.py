"""Denoising score matching: its formula, its expectation, and its equivalence to explicit score matching."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from densities import Gaussian, Mixture
from torch import Tensor, nn

from ncsn import noise
from ncsn.bound import VariationalBound, decoder_variance
from ncsn.networks import Preconditioned
from ncsn.objectives import LikelihoodWeight, denoising_score_matching, image_regression
from ncsn.restoration import Regression
from ncsn.score import expand, score_given

SIGMAS = [0.05, 0.5, 3.0]
SEVERAL = 4.5  # standard errors that a mean may be off

GAUSSIAN = Gaussian(
    torch.tensor([1.0, -2.0, 0.5]), torch.tensor([[2.0, 0.8, -0.3], [0.8, 1.0, 0.2], [-0.3, 0.2, 0.5]])
)
MIXTURE = Mixture(
    [0.2, 0.8],
    [
        Gaussian(torch.tensor([-1.0, -1.0]), 0.3 * torch.eye(2)),
        Gaussian(torch.tensor([1.0, 1.5]), torch.tensor([[0.5, 0.2], [0.2, 0.2]])),
    ],
)


def noise_of(seed: int) -> Callable[[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda x: torch.randn(x.shape, generator=generator, dtype=x.dtype)


def levels(sigma: float, x: Tensor) -> Tensor:
    return torch.full((len(x),), sigma, dtype=x.dtype)


def assert_mean(rows: Tensor, expected: Tensor | float) -> None:
    """The mean over the rows is `expected` within several standard errors."""
    error = rows.mean(0) - expected
    assert (error.abs() < SEVERAL * rows.std(0) / math.sqrt(len(rows))).all()


class Linear(nn.Module):
    """s(x, σ) = A x + b, whatever σ."""

    def __init__(self, seed: int, dim: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.A = nn.Parameter(torch.randn(dim, dim, generator=generator, dtype=torch.float64))
        self.b = nn.Parameter(torch.randn(dim, generator=generator, dtype=torch.float64))

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x @ self.A.T + self.b


def mlp(seed: int, scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A nonlinear s(x, σ) in two dimensions with random weights, of a size."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2)).double().requires_grad_(False)
    return lambda x, sigma: scale * net(torch.cat([x, sigma[:, None]], dim=1))


def explicit_score_matching(score: Linear, sigma: float) -> Tensor:
    """½σ² E‖s(x̃) − ∇log q_σ(x̃)‖² for the Gaussian, exactly."""
    precision = torch.linalg.inv(GAUSSIAN.covariance + sigma**2 * torch.eye(3))
    slope, offset = score.A + precision, score.A @ GAUSSIAN.mean + score.b
    return sigma**2 / 2 * (precision.inverse() @ slope.T @ slope).trace() + sigma**2 / 2 * offset.square().sum()


def vincents_constant(sigma: float) -> float:
    """What is left of denoising score matching at the true score of the Gaussian: half a posterior variance."""
    return float((GAUSSIAN.variances / (GAUSSIAN.variances + sigma**2)).sum() / 2)


@pytest.mark.parametrize("density", [GAUSSIAN, MIXTURE], ids=["gaussian", "mixture"])
def test_densities_know_their_score(density: Gaussian | Mixture) -> None:
    x = density.sample(50, torch.Generator().manual_seed(0)).requires_grad_()
    sigma = torch.rand(50).double() + 0.1
    (gradient,) = torch.autograd.grad(density.log_density(x, sigma).sum(), x)
    torch.testing.assert_close(density.score(x, sigma), gradient)


def test_densities_are_those_of_pytorch() -> None:
    x = GAUSSIAN.sample(50_000, torch.Generator().manual_seed(0))
    perturbed = torch.distributions.MultivariateNormal(GAUSSIAN.mean, GAUSSIAN.covariance + 0.25 * torch.eye(3))
    torch.testing.assert_close(GAUSSIAN.log_density(x, 0.5), perturbed.log_prob(x))
    torch.testing.assert_close(x.T.cov(), GAUSSIAN.covariance, atol=0.05, rtol=0)
    assert_mean(x, GAUSSIAN.mean)
    assert_mean(MIXTURE.sample(50_000, torch.Generator().manual_seed(0)), torch.tensor([0.6, 1.0]))
    integral = MIXTURE.log_density(torch.cartesian_prod(*[torch.arange(-9, 9, 0.1).double()] * 2), 0.5)
    assert integral.exp().sum() * 0.01 == pytest.approx(1)


@pytest.mark.parametrize("shape", [(5,), (2, 3), (1, 4, 4), (2, 3, 4, 5)])
def test_row_is_the_weighted_formula(shape: tuple[int, ...]) -> None:
    sigma = torch.tensor([1.0, 0.01, 0.3, 7.0, 0.5, 0.01], dtype=torch.float64)
    x = torch.rand(6, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def score(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.sin(3 * x) - x / expand(sigma, x)

    z = noise_of(1)(x)
    expected = []
    for i in range(6):
        noisy = x[i] + sigma[i] * z[i]
        loss = 0.5 * ((score(noisy[None], sigma[i, None])[0] + (noisy - x[i]) / sigma[i] ** 2) ** 2).sum()
        expected.append(sigma[i] ** 2 * loss)  # λ(σ) = σ²

    rows = denoising_score_matching(score, x, sigma, normal=noise_of(1))
    assert rows.shape == (6,)
    torch.testing.assert_close(rows, torch.stack(expected), rtol=1e-9, atol=0)


@pytest.mark.parametrize("shape", [(5,), (3, 4, 4)])
def test_network_sees_the_noisy_images_and_the_level_itself(shape: tuple[int, ...]) -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def score(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append((x, sigma))
        return torch.zeros_like(x)

    x, sigma = torch.rand(4, *shape), torch.tensor([1.0, 0.01, 0.3, 2.0])
    before = x.clone()
    denoising_score_matching(score, x, sigma, normal=noise_of(0))
    assert len(seen) == 1
    assert torch.equal(seen[0][0], x + sigma.reshape(-1, *[1] * len(shape)) * noise_of(0)(x))
    assert torch.equal(seen[0][1], sigma)
    assert torch.equal(x, before)


def test_noise_is_fresh_and_normal_unless_given() -> None:
    def zero(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.zeros_like(x)

    x, sigma = torch.zeros(20_000, 3), torch.ones(20_000)
    torch.manual_seed(0)
    one, two = denoising_score_matching(zero, x, sigma), denoising_score_matching(zero, x, sigma)
    assert not torch.equal(one, two)
    assert_mean(one, 1.5)  # ½ E‖z‖² = ½ D
    assert_mean(one.square(), 15 / 4)  # ¼ E‖z‖⁴ = ¼ D (D + 2)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_is_unbiased(sigma: float) -> None:
    score, eye = Linear(0), torch.eye(3)
    x = GAUSSIAN.sample(100_000, torch.Generator().manual_seed(1))
    with torch.no_grad():
        rows = denoising_score_matching(score, x, levels(sigma, x), normal=noise_of(2))
        A, offset = score.A, score.A @ GAUSSIAN.mean + score.b
        # σ(A x̃ + b) + z = σ(Aμ + b) + σA(x − μ) + (σ²A + I)z, three independent terms
        expected = (sigma * offset).square().sum() / 2
        expected += sigma**2 / 2 * (A @ GAUSSIAN.covariance @ A.T).trace()
        expected += (sigma**2 * A + eye).square().sum() / 2
    assert_mean(rows, expected)
    assert rows.std() / math.sqrt(len(rows)) < 0.01 * expected  # the comparison has power


@pytest.mark.parametrize("sigma", SIGMAS)
def test_gradient_is_that_of_explicit_score_matching(sigma: float) -> None:
    score = Linear(0)
    parameters = list(score.parameters())
    exact = torch.autograd.grad(explicit_score_matching(score, sigma), parameters)
    expected = torch.cat([g.flatten() for g in exact])

    generator, normal, estimates = torch.Generator().manual_seed(3), noise_of(4), []
    for _ in range(100):
        x = GAUSSIAN.sample(2_000, generator)
        loss = denoising_score_matching(score, x, levels(sigma, x), normal=normal).mean()
        estimates.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]))
    gradients = torch.stack(estimates)
    assert_mean(gradients, expected)
    assert gradients.std(0).norm() / 10 < 0.1 * expected.norm()  # the comparison has power


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("seed", [0, 1])
def test_value_differs_from_explicit_score_matching_by_a_constant(sigma: float, seed: int) -> None:
    score, x = Linear(seed), GAUSSIAN.sample(100_000, torch.Generator().manual_seed(5))
    with torch.no_grad():
        rows = denoising_score_matching(score, x, levels(sigma, x), normal=noise_of(6))
        explicit = explicit_score_matching(score, sigma)
    assert_mean(rows, explicit + vincents_constant(sigma))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_constant_is_the_same_for_any_two_networks(sigma: float) -> None:
    x, normal = MIXTURE.sample(100_000, torch.Generator().manual_seed(7)), noise_of(8)
    z, sigmas = normal(x), levels(sigma, x)
    noisy = x + sigma * z
    values, constants = [], []
    for network in (mlp(0, 3.0), mlp(1, 20.0)):
        denoising = denoising_score_matching(network, x, sigmas, normal=lambda _: z)
        explicit = sigma**2 / 2 * (network(noisy, sigmas) - MIXTURE.score(noisy, sigmas)).square().sum(1)
        values.append(explicit.mean())
        constants.append(denoising - explicit)
    difference = constants[0] - constants[1]
    assert_mean(difference, 0.0)
    power = difference.std() / math.sqrt(len(x))
    assert power < 0.1 * (values[0] - values[1]).abs()  # the networks differ by much more than the error


@pytest.mark.parametrize("size", [0.1, -0.1, 0.5, -0.5])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_is_least_at_the_true_score(sigma: float, size: float) -> None:
    x, normal = MIXTURE.sample(50_000, torch.Generator().manual_seed(9)), noise_of(10)
    z, sigmas = normal(x), levels(sigma, x)
    true, noisy = MIXTURE.score(x + sigma * z, sigma), x + sigma * z
    errors = {
        "length": true,
        "shift": torch.tensor([1.0, -1.0], dtype=x.dtype).expand_as(x),
        "direction": true.flip(1),
        "wave": torch.sin(3 * noisy),
    }
    least = denoising_score_matching(MIXTURE.score, x, sigmas, normal=lambda _: z)
    for error in errors.values():
        error = error / error.square().sum(1).mean().sqrt()  # E‖error‖² = 1
        wrong = true + size / sigma * error
        rows = denoising_score_matching(lambda *_, wrong=wrong: wrong, x, sigmas, normal=lambda _: z)
        assert rows.mean() > least.mean()
        assert_mean(rows - least, size**2 / 2)


class Estimate(nn.Module):
    """An F(x, c) for images."""

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return (2 * x).sin() + expand(c, x).cos() / 3


def images_under_noise(size: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """x in [0, 1], σ and the noise z, float64."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(size, 3, 4, 4, generator=generator, dtype=torch.float64)
    sigma = noise.LogNormal().draw((torch.arange(size) + 0.5).double() / size)
    return x, sigma, torch.randn(x.shape, generator=generator, dtype=torch.float64)


def test_edms_weight_makes_it_edms_loss() -> None:
    """λ(S)‖D(u₀ + S z; S) − u₀‖², as printed in Table 1 of Karras et al. 2022, for pixels u in [−1, 1]."""
    x, sigma, z = images_under_noise()
    d, S, u0 = 0.5, 2 * sigma.view(-1, 1, 1, 1), 2 * x - 1
    u = u0 + S * z
    c_skip, c_out, c_in = d**2 / (S**2 + d**2), S * d / (S**2 + d**2).sqrt(), 1 / (S**2 + d**2).sqrt()
    D = c_skip * u + c_out * Estimate()(c_in * u, (2 * sigma).log() / 4)
    expected = ((S**2 + d**2) / (S * d) ** 2 * (D - u0) ** 2).sum(dim=(1, 2, 3))
    score = Preconditioned(Estimate(), "edm", noise.karras())
    found = denoising_score_matching(score, x, sigma, weight="edm", normal=lambda _: z)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    error_of_F = (D - u0) / c_out
    found = denoising_score_matching(score, x, sigma, weight="edm", norm="l1", normal=lambda _: z)
    torch.testing.assert_close(found, error_of_F.abs().sum(dim=(1, 2, 3)), rtol=1e-6, atol=0)
    for options, told in {"weight": "sigma_squared, edm, likelihood", "norm": "l2 or l1"}.items():
        with pytest.raises(ValueError, match=f"{options}=min_snr: must be {told}"):
            denoising_score_matching(score, x, sigma, **{options: "min_snr"})  # type: ignore[arg-type]


def test_likelihood_weighting_is_the_bound_however_sigma_is_drawn() -> None:
    """∫ E‖σ s + z‖² d ln σ between the ends of the ladder, of the score of N(0, I) and another Gaussian."""
    vp = noise.VP(t_min=0.01)
    first, last = (float(vp.sigmas[i]) for i in (0, -1))
    distributions = [vp, noise.VE(first, last), noise.LogNormal(1.0, 2.5, sigma_max=first, sigma_min=last)]
    grid = torch.linspace(math.log(last), math.log(first), 2001, dtype=torch.float64)
    squares = (2 * grid).exp()
    second_moment = GAUSSIAN.covariance.trace() + GAUSSIAN.mean.square().sum()
    expected = torch.trapezoid((squares * second_moment + 3) / (1 + squares) ** 2, grid)
    errors = []
    for distribution in distributions:
        u = torch.rand(50_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        x, sigma = GAUSSIAN.sample(len(u), torch.Generator().manual_seed(1)), distribution.draw(u)
        weight = LikelihoodWeight(distribution)
        ends = weight(torch.tensor([0.999 * last, 1.001 * last, 0.999 * first, 1.001 * first]))
        assert (ends > 0).tolist() == [False, True, True, False]
        rows = denoising_score_matching(
            lambda x, sigma: -x / (1 + sigma[:, None] ** 2), x, sigma, weight=weight, normal=noise_of(2)
        )
        assert_mean(rows, expected)
        errors.append(float(rows.std() / math.sqrt(len(rows)) / expected))
    assert max(errors) < 0.05
    assert errors[1] == min(errors)  # ln σ uniform


def test_likelihood_weighting_of_a_ladder_is_the_bound_of_ddpm() -> None:
    """Over all levels, drawn uniformly: the steps of `VariationalBound`, and the exponent of the decoder."""
    sigmas, images = noise.cosine(12).double(), torch.full((2, 3), 128, dtype=torch.uint8)
    z = noise_of(0)(torch.empty(2, 3, dtype=torch.float64))
    weight, x = LikelihoodWeight(sigmas), images.double() / 255

    def score(x: Tensor, sigma: Tensor) -> Tensor:  # of a Gaussian around ½, never clipped
        return (0.5 - x) / (sigma[:, None] ** 2 + 0.01)

    losses = torch.stack(
        [denoising_score_matching(score, x, sigma.expand(2), weight=weight, normal=lambda _: z) for sigma in sigmas]
    )
    bound = VariationalBound()(score, images, sigmas, normal=lambda _: z)
    torch.testing.assert_close(losses[:-1].sum(0) / len(sigmas), bound.diffusion, rtol=1e-5, atol=0)
    end = sigmas[-1:]
    noisy = x + end * z
    exponent = (x - noisy - end**2 * score(noisy, end)).square().sum(1) / (2 * decoder_variance(sigmas))
    torch.testing.assert_close(losses[-1] / len(sigmas), exponent, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": "likelihood"}, "weight=likelihood: depends on how σ is drawn"),
        ({"weight": LikelihoodWeight(noise.geometric()), "norm": "l1"}, "norm=l1: bounds no likelihood"),
    ],
)
def test_a_likelihood_weight_knows_how_sigma_is_drawn_and_is_of_l2(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        denoising_score_matching(lambda x, sigma: -x, torch.zeros(1, 2), torch.ones(1), **options)


def test_it_is_half_of_ddpms_simple_loss() -> None:
    """½‖ε − ε_θ(√ᾱ_t u₀ + √(1 − ᾱ_t) ε, t)‖², eq. 14 of Ho et al. 2020, for pixels u in [−1, 1]."""
    x, _, eps = images_under_noise()
    alpha_bar = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)
    t = torch.tensor([0, 1, 50, 400, 800, 999])
    kept = alpha_bar[t].view(-1, 1, 1, 1)
    state = kept.sqrt() * (2 * x - 1) + (1 - kept).sqrt() * eps
    expected = (eps - Estimate()(state, t.double())).square().sum(dim=(1, 2, 3)) / 2
    ladder = (((1 - alpha_bar) / alpha_bar).sqrt() / 2).flip(0)
    torch.testing.assert_close(noise.ddpm().double(), ladder, rtol=1e-6, atol=0)
    score = Preconditioned(Estimate(), "ddpm", ladder)
    found = denoising_score_matching(score, x, ladder[999 - t], normal=lambda _: eps)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    found = denoising_score_matching(
        score, x, ladder[999 - t], norm="l1", normal=lambda _: eps
    )  # Palette's other loss
    expected = (eps - Estimate()(state, t.double())).abs().sum(dim=(1, 2, 3))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


def test_regression_ends_at_the_mean_of_what_was_damaged_and_its_sampler_draws_it() -> None:
    """Of pixels 0 or 1, given y with P(1 | y) = (1 + y)/3, what a weight for each y learns is that probability."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(2, (4000, 1, 1, 1), generator=generator).double()
    x = (torch.rand(y.shape, generator=generator) < (1 + y) / 3).double()
    weight, sigma = torch.zeros(2, dtype=torch.float64, requires_grad=True), torch.ones(len(x)).double()

    def network(x: Tensor, sigma: Tensor, damaged: Tensor) -> Tensor:
        return weight[damaged.long()] - x

    loss = image_regression(score_given(network, {"damaged": y}), x, sigma)
    torch.testing.assert_close(loss, (x**2).flatten() / 2)  # at weight 0 the estimate is 0
    loss.mean().backward()
    assert weight.grad is not None
    # The loss is quadratic, and the share of each y its curvature: a step of Newton's is its minimum.
    counts = torch.stack([y == 0, y == 1]).flatten(1).double().mean(1)
    learned = weight.detach() - weight.grad / counts
    means = torch.stack([x[y == 0].mean(), x[y == 1].mean()])
    torch.testing.assert_close(learned, means)
    assert means[1] - means[0] > 0.25
    with torch.no_grad():
        weight.copy_(learned)
    start, damaged = torch.randn(2, 1, 1, 1).double(), torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    assert Regression().num_steps(num_levels=3) == 1
    (state,) = Regression()(score_given(network, {"damaged": damaged}), start, torch.ones(1))
    torch.testing.assert_close(state.x.flatten(), means)
    hole = torch.zeros(2, 1, 1, 1, dtype=torch.bool)
    known = score_given(network, {"damaged": damaged, "hole": hole})
    assert not image_regression(known, damaged.double(), sigma[:2]).any()  # outside of a hole there is no loss
