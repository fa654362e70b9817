"""Held-out loss by noise level, on Gaussians whose score, loss and size of the score are known."""

from typing import Any

import pytest
import torch
from checks import WithoutFloat64
from densities import Gaussian
from torch import Tensor
from tqdm import tqdm

from ncsn.data.transforms import to_unit_interval
from ncsn.evaluation import held_out as levels
from ncsn.evaluation.held_out import BATCH, LossByLevel, loss_by_level
from ncsn.networks import NCSN, EnergyNCSN
from ncsn.score import Score

SIGMAS = torch.tensor([2.0, 0.5, 0.1])
SHAPE = (1, 2, 2)
DIMENSIONS = 4


@pytest.fixture(scope="module")
def images() -> Tensor:
    """4,000 images of 2×2 that are correlated and, up to their grey values, Gaussian."""
    torch.manual_seed(0)
    mixed = torch.randn(4000, DIMENSIONS) @ torch.randn(DIMENSIONS, DIMENSIONS)
    return (127.5 + 12 * mixed).round().clamp(0, 255).to(torch.uint8).reshape(-1, *SHAPE)


@pytest.fixture(scope="module")
def gaussian(images: Tensor) -> Gaussian:
    """Of the mean and the covariance of the images: the best score that is linear in x."""
    x = to_unit_interval(images).flatten(1).double()
    return Gaussian(x.mean(0), x.T.cov(correction=0))


def score_of(gaussian: Gaussian, factor: float = 1.0) -> Score:
    def score(x: Tensor, sigma: Tensor) -> Tensor:
        return factor * gaussian.score(x.flatten(1).double(), sigma).reshape(x.shape)

    return score


def size_of(gaussian: Gaussian) -> Tensor:
    """E‖σ s‖²/D = mean of σ²/(λ + σ²) over the variances λ, for each level."""
    return (SIGMAS[:, None] ** 2 / gaussian.perturbed_variances(SIGMAS)).mean(1)


def test_the_exact_score_of_a_gaussian(gaussian: Gaussian, images: Tensor) -> None:
    found = loss_by_level(score_of(gaussian), images, SIGMAS)
    size = size_of(gaussian)
    assert size[0] - size[-1] > 0.3  # not the same at all levels
    torch.testing.assert_close(found.sigmas, SIGMAS.tolist())
    assert found.squared_score_per_dim == pytest.approx(size.tolist(), rel=0.03)
    assert found.twice_the_loss_per_dim == pytest.approx((1 - size).tolist(), rel=0.03, abs=0.003)


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5])
def test_the_sum_is_one_where_the_network_says_what_it_knows(
    factor: float, gaussian: Gaussian, images: Tensor
) -> None:
    """For c·s the sum is 1 + 2c(c − 1) E‖σ s‖²/D."""
    found = loss_by_level(score_of(gaussian, factor), images, SIGMAS)
    total = torch.tensor(found.twice_the_loss_per_dim) + torch.tensor(found.squared_score_per_dim)
    expected = 1 + 2 * factor * (factor - 1) * size_of(gaussian)
    torch.testing.assert_close(total.double(), expected, rtol=0.03, atol=0)


def test_no_score_and_pure_noise() -> None:
    """s = 0 has the loss E‖z‖²/2; of black images s = −x/σ² knows z, and its loss is 0."""
    black = torch.zeros(3000, *SHAPE, dtype=torch.uint8)
    silent = loss_by_level(lambda x, sigma: torch.zeros_like(x), black, SIGMAS)
    assert silent.squared_score_per_dim == [0, 0, 0]
    assert silent.twice_the_loss_per_dim == pytest.approx([1, 1, 1], rel=0.05)
    knowing = loss_by_level(lambda x, sigma: -x / sigma[:, None, None, None] ** 2, black, SIGMAS)
    assert knowing.twice_the_loss_per_dim == pytest.approx([0, 0, 0], abs=1e-10)
    assert knowing.squared_score_per_dim == pytest.approx(silent.twice_the_loss_per_dim)


def test_noise_is_the_same_at_all_levels_and_for_all_networks(images: Tensor) -> None:
    def noise_for(factor: float) -> list[Tensor]:
        seen = []

        def score(x: Tensor, sigma: Tensor) -> Tensor:
            batch = images[BATCH * (len(seen) // 3) :][: len(x)]
            seen.append((x - to_unit_interval(batch)) / sigma[:, None, None, None])
            return factor * x

        loss_by_level(score, images[: BATCH + 10], SIGMAS)
        return seen

    first, second = noise_for(1.0), noise_for(-2.0)
    assert [len(z) for z in first] == [BATCH] * 3 + [10] * 3
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
    for batch in (first[:3], first[3:]):
        for z in batch[1:]:
            torch.testing.assert_close(z, batch[0], rtol=0, atol=1e-5)
    assert not torch.allclose(first[0][:10], first[3])


def test_the_seed_draws_other_noise(gaussian: Gaussian, images: Tensor) -> None:
    score = score_of(gaussian)
    one, same, other = (loss_by_level(score, images[:50], SIGMAS, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one.twice_the_loss_per_dim != other.twice_the_loss_per_dim


def test_a_device_without_float64(images: Tensor) -> None:
    def score(x: Tensor, sigma: Tensor) -> Tensor:
        return -x

    found = loss_by_level(lambda x, sigma: score(x, sigma).as_subclass(WithoutFloat64), images[:50], SIGMAS)
    assert found == loss_by_level(score, images[:50], SIGMAS)


def test_progress_counts_every_evaluation(monkeypatch: pytest.MonkeyPatch, images: Tensor) -> None:
    bars = []

    def bar(**options: Any) -> tqdm:
        bars.append(tqdm(**options | {"disable": False, "delay": 0}))
        return bars[-1]

    monkeypatch.setattr(levels, "tqdm", bar)
    loss_by_level(lambda x, sigma: -x, images[: BATCH + 10], SIGMAS)
    assert [(b.n, b.total) for b in bars] == [(3 * (BATCH + 10),) * 2]


def test_loss_per_dim_is_the_mean_over_levels() -> None:
    """Eq. 6: (1/L) Σ ½ E‖σ s + z‖², per dimension."""
    found = LossByLevel([2.0, 1.0, 0.5], [0.1, 0.2, 0.6], [0.9, 0.8, 0.4])
    assert found.loss_per_dim == pytest.approx((0.05 + 0.1 + 0.3) / 3)


@pytest.mark.parametrize("kind", [NCSN, EnergyNCSN])
def test_networks_are_asked_at_their_levels_without_gradients(kind: type[NCSN] | type[EnergyNCSN]) -> None:
    torch.manual_seed(0)
    network = kind(SIGMAS, image_size=8, in_channels=1, num_filters=4).eval()
    images = torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8)
    found = loss_by_level(network, images, SIGMAS)
    assert len(found.twice_the_loss_per_dim) == 3
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(0 < value < 1e4 for value in found.twice_the_loss_per_dim + found.squared_score_per_dim)
