"""The forms against the formulas of their papers, on functions F that can be written down."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ncsn import noise
from ncsn.networks import Preconditioned

LADDER = noise.geometric(80, 0.002, 7)
FORMS = ["edm", "ddpm", "v"]


class Some(nn.Module):
    """A function of both arguments; keeps the second."""

    def forward(self, x: Tensor, c: Tensor, shift: Tensor | None = None) -> Tensor:
        self.c = c
        out = (3 * x).sin() + torch.cos(c / 10).view(-1, 1, 1, 1)
        return out if shift is None else out + shift.view(-1, 1, 1, 1)


def score(form: Any, sigmas: Tensor = LADDER) -> Preconditioned:
    return Preconditioned(Some(), form, sigmas)


def given(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    sigma = torch.tensor([0.002, 0.05, 0.7, 80.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 4, 4, generator=generator, dtype=torch.float64)
    x += sigma[:, None, None, None] * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    return x.to(dtype), sigma.to(dtype)


def papers_denoised(form: str, u: Tensor, S: Tensor, c: Tensor) -> Tensor:
    """D(u, S) as printed, pixels in [−1, 1], by way of ᾱ where the paper has it."""
    alpha_bar, F = 1 / (1 + S**2), Some()
    if form == "edm":
        d = 0.5
        c_skip, c_out = d**2 / (S**2 + d**2), S * d / (S**2 + d**2).sqrt()
        return c_skip * u + c_out * F(u / (S**2 + d**2).sqrt(), c)
    state = alpha_bar.sqrt() * u  # x_t
    F_t = F(state, c)
    if form == "ddpm":
        return (state - (1 - alpha_bar).sqrt() * F_t) / alpha_bar.sqrt()
    return alpha_bar.sqrt() * state - (1 - alpha_bar).sqrt() * F_t


@pytest.mark.parametrize("form", FORMS)
def test_the_form_is_its_papers(form: str) -> None:
    x, sigma = given()
    net = score(form)
    found = net(x, sigma)
    S = 2 * sigma.view(-1, 1, 1, 1)
    denoised = (1 + papers_denoised(form, 2 * x - 1, S, net.network.c)) / 2  # in pixels of [0, 1]
    expected = (denoised - x) / sigma.view(-1, 1, 1, 1) ** 2
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_what_the_networks_are_told_of_the_noise() -> None:
    """DDPM counts from its smallest level; EDM takes ln(S)/4."""
    levels = LADDER.double()
    x, between = torch.zeros(7, 1, 2, 2).double(), (levels[:-1] * levels[1:]).sqrt()
    for form in ("ddpm", "v"):
        net = score(form)
        net(x, levels)
        assert net.network.c.tolist() == [6, 5, 4, 3, 2, 1, 0]
        net(x[:6], between)
        torch.testing.assert_close(net.network.c, torch.arange(6).flip(0) + 0.5, rtol=1e-5, atol=0, check_dtype=False)
    net = score("edm")
    net(x, levels)
    torch.testing.assert_close(net.network.c, (2 * levels).log() / 4)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_lost_at_small_noise(form: str) -> None:
    """(D − x)/σ² would be off by 1e-5 at σ = 0.002."""
    x, sigma = given(torch.float32)
    found, expected = score(form)(x, sigma), score(form)(x.double(), sigma.double())
    assert found.dtype == torch.float32
    for a, b in zip(found[:3], expected[:3], strict=True):
        assert (a - b).norm() / b.norm() < 1e-6


@pytest.mark.parametrize("form", FORMS)
def test_beyond_the_ladder_it_stays_a_score(form: str) -> None:
    x = torch.rand(3, 1, 2, 2)
    net = score(form, noise.geometric(1, 0.1, 3))
    s = net(x, torch.tensor([0.01, 1e-3, 10.0]))
    assert s.isfinite().all()
    assert not net(x, torch.tensor([0.0, -1.0, torch.nan])).isfinite().any()


def test_a_condition_reaches_the_network() -> None:
    x, sigma = given()
    net, shift = score("ddpm"), torch.tensor([1.0, 2.0, 3.0, 4.0]).double()
    expected = net(x, sigma) - (shift / sigma).view(-1, 1, 1, 1)
    torch.testing.assert_close(net(x, sigma, shift=shift), expected)
