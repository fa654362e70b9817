"""Sliced and exact score matching: formulas, agreement with each other and with denoising, variances."""

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from checks import assert_mean, levels, noise_of, tanh_network
from densities import Gaussian, Mixture
from torch import Tensor

from ncsn import noise
from ncsn.networks import NCSN, NCSNv2
from ncsn.networks.dropout import Dropout
from ncsn.objectives import (
    SlicedScoreMatching,
    denoising_score_matching,
    denoising_with_control_variate,
    exact_score_matching,
    exact_score_matching_loss,
    sliced_score_matching_loss,
)
from ncsn.objectives.exact import jacobian_trace
from ncsn.score import expand

MIXTURE = Mixture(
    [0.2, 0.8],
    [
        Gaussian(torch.tensor([-1.0, -1.0]), 0.3 * torch.eye(2)),
        Gaussian(torch.tensor([1.0, 1.5]), torch.tensor([[0.5, 0.2], [0.2, 0.2]])),
    ],
)
A = torch.tensor([[-1.0, 0.7, 0.1], [0.2, -0.5, 0.3], [0.4, 0.0, 0.8]], dtype=torch.float64)
SLICED = [
    SlicedScoreMatching(),
    SlicedScoreMatching(variance_reduced=True),
    SlicedScoreMatching(3, "rademacher"),
    SlicedScoreMatching(2, "rademacher", variance_reduced=True),
]


def linear(x: Tensor) -> Tensor:
    return x @ A.T + 1


def ncsn(size: int = 4) -> tuple[NCSN, Tensor, Tensor]:
    torch.manual_seed(0)
    sigmas = noise.geometric(1, 0.01, 4).double()
    x = torch.rand(3, 1, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    network = NCSN(sigmas, image_size=size, in_channels=1, num_filters=2).double()
    return network, x, sigmas[torch.tensor([0, 2, 3])]


# The formulas


@pytest.mark.parametrize("variance_reduced", [False, True])
def test_sliced_is_eq_3(variance_reduced: bool) -> None:
    x, v = noise_of(0)(torch.empty(5, 3, dtype=A.dtype)), noise_of(1)(torch.empty(2, 5, 3, dtype=A.dtype))
    rows = sliced_score_matching_loss(linear, x, v, variance_reduced=variance_reduced)
    for i in range(5):
        s, terms = A @ x[i] + 1, []
        for m in range(2):
            norm = s @ s if variance_reduced else (v[m, i] @ s) ** 2
            terms.append(float(v[m, i] @ A @ v[m, i] + norm / 2))
        assert float(rows[i].detach()) == pytest.approx(sum(terms) / 2)


def test_exact_is_eq_1() -> None:
    x = noise_of(0)(torch.empty(5, 3, dtype=A.dtype))
    expected = [A.trace() + (A @ row + 1).square().sum() / 2 for row in x]
    torch.testing.assert_close(exact_score_matching_loss(linear, x), torch.stack(expected))


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 2, 2)])
def test_levels_are_perturbed_and_weighted(shape: tuple[int, ...]) -> None:
    def score(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.sin(3 * x) - x / expand(sigma, x) + x.flatten(1).sum(1).view(-1, *[1] * (x.ndim - 1)) ** 2

    x = torch.rand(4, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([1.0, 0.01, 0.3, 2.0], dtype=torch.float64)
    normal = noise_of(1)
    noisy, v = x + expand(sigma, x) * normal(x), torch.stack([normal(x), normal(x)]).sign()

    exact = exact_score_matching(score, x, sigma, normal=noise_of(1))
    sliced = SlicedScoreMatching(2, "rademacher")(score, x, sigma, normal=noise_of(1))
    assert exact.shape == sliced.shape == (4,)
    for i in range(4):
        s = partial(score, sigma=sigma[i, None])
        row = noisy[i, None]
        torch.testing.assert_close(exact[i], sigma[i] ** 2 * exact_score_matching_loss(s, row)[0])
        torch.testing.assert_close(sliced[i], sigma[i] ** 2 * sliced_score_matching_loss(s, row, v[:, i, None])[0])
        jacobian = torch.autograd.functional.jacobian(s, row).reshape(row.numel(), -1)
        expected = sigma[i] ** 2 * (jacobian.trace() + s(row).square().sum() / 2)
        torch.testing.assert_close(exact[i], expected)


def test_the_derivatives_of_an_exact_trace_share_their_dropout() -> None:
    dropout, x = Dropout(0.5).train(), torch.ones(4, 16)
    torch.manual_seed(0)
    kept = dropout(x)
    torch.manual_seed(0)
    torch.testing.assert_close(jacobian_trace(dropout, x), kept.sum(1))


@pytest.mark.parametrize("objective", [*SLICED, exact_score_matching])
def test_without_noise_there_is_no_weight_and_no_error(objective: Callable) -> None:
    x = torch.rand(4, 2, dtype=torch.float64)
    assert (objective(lambda x, sigma: torch.sin(x), x, torch.zeros(4)) == 0).all()


# In expectation


@pytest.mark.parametrize("sigma", [0.05, 0.5, 3.0])
@pytest.mark.parametrize("objective", SLICED)
def test_sliced_agrees_with_exact(objective: SlicedScoreMatching, sigma: float) -> None:
    score, x = tanh_network(0, scale=10), MIXTURE.sample(50_000, torch.Generator().manual_seed(1))
    with torch.no_grad():
        sliced = objective(score, x, levels(sigma, x), normal=noise_of(2))
        exact = exact_score_matching(score, x, levels(sigma, x), normal=noise_of(2))  # the same z
    assert_mean(sliced - exact, 0.0)
    assert (sliced - exact).std() / math.sqrt(len(x)) < 0.05 * exact.mean().abs()  # the comparison has power


@pytest.mark.parametrize("sigma", [0.05, 0.5, 3.0])
def test_denoising_lies_half_the_dimension_above_exact(sigma: float) -> None:
    score, x = tanh_network(0, scale=3), MIXTURE.sample(100_000, torch.Generator().manual_seed(3))
    with torch.no_grad():
        exact = exact_score_matching(score, x, levels(sigma, x), normal=noise_of(4))
        for objective in (denoising_score_matching, denoising_with_control_variate):
            rows = objective(score, x, levels(sigma, x), normal=noise_of(4))
            assert_mean(rows - exact, 1.0)
            assert (rows - exact).std() / math.sqrt(len(x)) < 0.03


def test_denoising_at_small_noise_tends_to_score_matching_of_the_data() -> None:
    s = partial(tanh_network(0, scale=3), sigma=torch.zeros(200_000, dtype=torch.float64))
    x = MIXTURE.sample(200_000, torch.Generator().manual_seed(5))
    with torch.no_grad():
        exact = exact_score_matching_loss(s, x)
        biases = {}
        for sigma in (1.0, 0.1, 0.001):
            rows = denoising_with_control_variate(lambda x, _: s(x), x, levels(sigma, x), normal=noise_of(6))
            difference = (rows - 1) / sigma**2 - exact
            biases[sigma] = abs(float(difference.mean()))
        assert_mean(difference, 0.0)
        assert difference.std() / math.sqrt(len(x)) < 0.01 * exact.mean().abs()
        assert biases[1.0] > 20 * biases[0.001]
        plain = denoising_score_matching(lambda x, _: s(x), x, levels(0.03, x), normal=noise_of(6))
        assert_mean((plain - 1) / 0.03**2 - exact, 0.0)


def test_exact_is_least_at_the_score_of_the_data() -> None:
    x = MIXTURE.sample(20_000, torch.Generator().manual_seed(7))
    true = exact_score_matching_loss(MIXTURE.score, x)
    assert_mean(true + MIXTURE.score(x).square().sum(1) / 2, 0.0)
    for size in (-0.2, 0.2):
        wrong = exact_score_matching_loss(lambda x, size=size: MIXTURE.score(x) + size * torch.sin(x), x)
        assert_mean(wrong - true, size**2 / 2 * torch.sin(x).square().sum(1).mean())


# Variances


@pytest.mark.parametrize(("projection", "keeps_diagonal"), [("gaussian", True), ("rademacher", False)])
def test_variance_over_projections_is_that_of_the_trace_estimate(projection: Any, keeps_diagonal: bool) -> None:
    x, symmetric = torch.ones(200_000, 3, dtype=A.dtype), (A + A.T) / 2
    objective = SlicedScoreMatching(1, projection, variance_reduced=True)
    with torch.no_grad():
        rows = objective(lambda x, sigma: x.expand_as(x) @ A.T * 1, 0 * x, 1e-9 + 0 * x[:, 0], normal=noise_of(0))
    expected = 2 * symmetric.square().sum() - (0 if keeps_diagonal else 2 * symmetric.diagonal().square().sum())
    assert float((rows / 1e-18).var()) == pytest.approx(float(expected), rel=0.03)
    assert float((rows / 1e-18).mean()) == pytest.approx(float(A.trace()), abs=0.02)


@pytest.mark.parametrize("D", [1, 3, 20])
def test_variance_at_the_score_of_a_standard_gaussian(D: int) -> None:
    x, v = (noise_of(seed)(torch.empty(100_000, D, dtype=torch.float64)) for seed in (0, 1))

    def variance(v: Tensor, variance_reduced: bool) -> float:
        return float(sliced_score_matching_loss(torch.neg, x, v[None], variance_reduced=variance_reduced).var())

    with torch.no_grad():
        assert variance(v, False) == pytest.approx(D**2 / 2 + 3 / 2 * D, rel=0.05)
        assert variance(v, True) == pytest.approx(5 / 2 * D, rel=0.05)  # less as soon as D > 2
        assert variance(v.sign(), False) == pytest.approx(D**2 / 2, rel=0.05)
        assert variance(v.sign(), True) == pytest.approx(D / 2, rel=0.05)


@pytest.mark.parametrize("projection", ["gaussian", "rademacher"])
def test_variance_reduced_form_has_less_variance_for_the_network_of_the_paper(projection: Any) -> None:
    network, x, sigma = ncsn(8)
    x, sigma = x.repeat(200, 1, 1, 1), sigma.repeat(200)
    z = noise_of(2)(x[:3]).repeat(200, 1, 1, 1)  # the same noisy images, so that only the projections vary

    def variance(num_projections: int, variance_reduced: bool) -> Tensor:
        normal = noise_of(3)
        draws = iter([z, *(normal(x) for _ in range(num_projections))])
        objective = SlicedScoreMatching(num_projections, projection, variance_reduced)
        return objective(network, x, sigma, normal=lambda _: next(draws)).view(200, 3).var(0)

    with torch.no_grad():
        one = variance(1, True)
        assert (one < 0.8 * variance(1, False)).all()
        assert float((variance(4, True) / one).mean()) == pytest.approx(1 / 4, rel=0.3)


# Derivatives


@pytest.mark.parametrize("objective", [SLICED[1], SLICED[2], exact_score_matching])
def test_gradient_reaches_the_parameters_of_the_network_of_the_paper(objective: Callable) -> None:
    network, x, sigma = ncsn()
    parameters = list(network.parameters())
    generator = torch.Generator().manual_seed(2)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]

    def loss(step: float) -> Tensor:
        moved = {n: p + step * d for (n, p), d in zip(network.named_parameters(), direction, strict=True)}
        score = partial(torch.func.functional_call, network, moved)
        return objective(lambda *args: score(args), x, sigma, normal=noise_of(3)).sum()

    gradient = torch.autograd.grad(loss(0), parameters)
    slope = sum(float((g * d).sum()) for g, d in zip(gradient, direction, strict=True))
    h = 1e-8  # so small because the second derivative of ELU, which the slope in x contains, jumps at 0
    assert slope == pytest.approx(float((loss(h) - loss(-h)).detach()) / (2 * h), rel=1e-4)
    assert all(g.abs().sum() > 0 for g in gradient[:4])


def test_slope_of_the_network_of_the_paper_is_that_of_differences() -> None:
    network, x, sigma = ncsn()
    v = noise_of(4)(x)
    with torch.no_grad():
        rows = sliced_score_matching_loss(lambda x: network(x, sigma), x, v[None], variance_reduced=True)
        slope = (network(x + 1e-6 * v, sigma) - network(x - 1e-6 * v, sigma)) / 2e-6
        expected = (v * slope).flatten(1).sum(1) + network(x, sigma).square().flatten(1).sum(1) / 2
    torch.testing.assert_close(rows, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("objective", [*SLICED[:2], exact_score_matching])
def test_loss_of_validation_is_that_of_training_without_a_graph(objective: Callable, mode: Any) -> None:
    network, x, sigma = ncsn()
    training = objective(network, x, sigma, normal=noise_of(5))
    assert training.requires_grad
    with mode():
        x, sigma = x.clone(), sigma.clone()  # made in that mode, as a validation step's are
        validation = objective(network, x, sigma, normal=noise_of(5))
        assert not validation.requires_grad
        torch.testing.assert_close(validation, training.detach())


def test_images_are_left_alone() -> None:
    x = torch.rand(4, 2, dtype=torch.float64)
    before = x.clone()
    SlicedScoreMatching()(lambda x, sigma: torch.sin(x), x, levels(0.1, x))
    assert torch.equal(x, before)
    assert not x.requires_grad


def test_a_score_that_does_not_look_at_x_has_no_slope() -> None:
    b = torch.ones(4, 2, requires_grad=True)
    rows = sliced_score_matching_loss(lambda x: b, torch.rand(4, 2), torch.ones(1, 4, 2), variance_reduced=True)
    torch.testing.assert_close(rows, torch.ones(4))


# Refusals


def test_exact_refuses_a_network_that_computes_its_features_again() -> None:
    sigmas = noise.geometric(num_levels=3)
    network = NCSNv2(sigmas, image_size=8, in_channels=1, num_filters=2, checkpointing=True)
    with pytest.raises(ValueError, match=r"set model.checkpointing=false$"):
        exact_score_matching(network, torch.rand(2, 1, 8, 8), sigmas[:2])


def test_exact_refuses_images() -> None:
    with pytest.raises(ValueError, match=r"D=257 values .* refused above 256; SlicedScoreMatching"):
        exact_score_matching(lambda x, sigma: x, torch.rand(2, 257), torch.ones(2))
    rows = exact_score_matching(lambda x, sigma: 0 * x, torch.rand(2, 1, 16, 16), torch.ones(2))
    assert rows.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_projections": 0}, "num_projections=0: must be at least 1"),
        ({"projection": "uniform"}, "projection=uniform: must be gaussian or rademacher"),
    ],
)
def test_refuses_by_name(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        SlicedScoreMatching(**kwargs)
