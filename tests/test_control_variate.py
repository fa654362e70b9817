"""The control variate of denoising score matching: it changes no expectation, and the variance at small σ goes."""

from collections.abc import Callable

import pytest
import torch
from checks import assert_mean, levels, noise_of, tanh_network
from densities import Gaussian
from torch import Tensor, nn

from ncsn.objectives import denoising_score_matching, denoising_with_control_variate

GAUSSIAN = Gaussian(torch.tensor([1.0, -2.0]), torch.tensor([[2.0, 0.8], [0.8, 1.0]]))
SIGMAS = [1.0, 0.1, 0.01, 0.001]
EXAMPLES = 20_000


class Features(nn.Module):
    """s(x, σ) = W φ(x) with φ = (x, sin x, 1): nonlinear in x, linear in the parameters."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.W = nn.Parameter(torch.randn(2, 5, generator=generator, dtype=torch.float64))

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return torch.cat([x, torch.sin(x), torch.ones_like(x[:, :1])], dim=1) @ self.W.T


def gradients(objective: Callable, sigma: float, seed: int) -> Tensor:
    """Gradient in W of the unweighted loss of each of many examples, (EXAMPLES, 10)."""
    network = Features()
    x = GAUSSIAN.sample(EXAMPLES, torch.Generator().manual_seed(seed))
    z = noise_of(seed + 1)(x)

    def loss(W: Tensor, x: Tensor, z: Tensor) -> Tensor:
        def score(x: Tensor, sigma: Tensor) -> Tensor:
            return torch.func.functional_call(network, {"W": W}, (x, sigma))

        return objective(score, x[None], levels(sigma, x[None]), normal=lambda _: z[None])[0] / sigma**2

    rows = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(network.W.detach(), x, z)
    return rows.flatten(1)


@pytest.mark.parametrize("sigma", [0.3, *SIGMAS])
def test_expected_gradient_is_that_of_denoising(sigma: float) -> None:
    plain, reduced = (gradients(o, sigma, 0) for o in (denoising_score_matching, denoising_with_control_variate))
    assert_mean(plain - reduced, 0.0)


@pytest.mark.parametrize("sigma", [0.3, *SIGMAS])
def test_value_is_that_of_denoising_in_expectation(sigma: float) -> None:
    score, x = tanh_network(0), GAUSSIAN.sample(100_000, torch.Generator().manual_seed(2))
    with torch.no_grad():
        plain = denoising_score_matching(score, x, levels(sigma, x), normal=noise_of(3))
        reduced = denoising_with_control_variate(score, x, levels(sigma, x), normal=noise_of(3))
    assert_mean(plain - reduced, 0.0)
    torch.testing.assert_close(float(reduced.mean()), 1 + sigma**2 * float(((reduced - 1) / sigma**2).mean()))


def test_variance_of_the_gradient_stays_bounded_where_that_of_denoising_explodes() -> None:
    def variances(objective: Callable) -> list[float]:
        return [float(gradients(objective, sigma, 4).var(0).sum()) for sigma in SIGMAS]

    plain, reduced = variances(denoising_score_matching), variances(denoising_with_control_variate)
    assert max(reduced) < 4 * min(reduced)
    assert reduced[3] == pytest.approx(reduced[2], rel=0.02)  # it has a limit
    assert plain[2] / plain[1] == pytest.approx(100, rel=0.1)  # as 1/σ²
    assert plain[3] / plain[2] == pytest.approx(100, rel=0.1)
    assert plain[3] > 10_000 * reduced[3]


def test_row_is_the_formula() -> None:
    x, sigma = torch.rand(5, 2).double(), torch.tensor([1.0, 0.1, 0.01, 0.3, 2.0]).double()
    score, z = tanh_network(1), noise_of(6)(x)
    rows = denoising_with_control_variate(score, x, sigma, normal=lambda _: z)
    for i in range(5):
        s, clean = (score(y[None], sigma[i, None])[0] for y in (x[i] + sigma[i] * z[i], x[i]))
        loss = (s + z[i] / sigma[i]).square().sum() / 2
        variate = clean @ z[i] / sigma[i] + (z[i].square().sum() - 2) / (2 * sigma[i] ** 2)
        torch.testing.assert_close(rows[i], sigma[i] ** 2 * (loss - variate))


def test_single_precision_suffices_at_the_smallest_noise() -> None:
    x, z = GAUSSIAN.sample(1_000, torch.Generator().manual_seed(7)), noise_of(8)(torch.empty(1_000, 2).double())
    network = Features()
    parameters, sigma = [network.W], levels(0.001, x)
    loss = denoising_with_control_variate(network, x, sigma, normal=lambda _: z).mean()
    (double,) = torch.autograd.grad(loss, parameters)
    network.float()
    loss = denoising_with_control_variate(network, x.float(), sigma.float(), normal=lambda _: z.float()).mean()
    (single,) = torch.autograd.grad(loss, list(network.parameters()))
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-2 * float(double.abs().max()))


def test_network_is_asked_at_the_noisy_and_at_the_clean_images() -> None:
    seen: list[Tensor] = []

    def score(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(x)
        assert torch.equal(sigma, torch.full((4,), 0.5))
        return x

    x = torch.rand(4, 3, 2, 2)
    assert denoising_with_control_variate(score, x, torch.full((4,), 0.5), normal=torch.ones_like).shape == (4,)
    assert [torch.equal(y, e) for y, e in zip(seen, (x + 0.5, x), strict=True)] == [True, True]
