"""Fig. 1, 2 and 3: what they measure, and that the scripts write it."""

import json
import math
from pathlib import Path

import fig1
import fig2
import fig3
import numpy as np
import pytest
import torch
from torch import Tensor

from ncsn import mixture
from ncsn.random import Draws


def points(n: int, seed: int = 0) -> Tensor:
    return 20 * torch.rand(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 10


# The mixture


def test_score_is_the_gradient_of_the_log_density() -> None:
    x = points(200).requires_grad_()
    sigma = torch.linspace(1, 20, 200, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(mixture.log_density(x, sigma).sum(), x)
    torch.testing.assert_close(mixture.score(x, sigma), gradient)


def test_density_at_a_level_is_that_of_the_data_under_noise() -> None:
    sigma, side = 3.0, torch.linspace(-25, 25, 251, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    density = mixture.log_density(grid, torch.ones(len(grid), dtype=torch.float64)).exp()
    for x in points(3):
        noise = torch.exp(-(grid - x).square().sum(1) / (2 * (sigma**2 - 1))) / (2 * math.pi * (sigma**2 - 1))
        perturbed = float((density * noise).sum()) * 0.2**2
        expected = mixture.log_density(x[None], torch.full((1,), sigma, dtype=torch.float64)).exp()
        assert perturbed == pytest.approx(float(expected), rel=1e-6)


def test_samples_have_the_moments_of_the_mixture() -> None:
    n = 20_000
    x = mixture.sample(n, Draws(0, "test"))
    assert abs(mixture.minority_weight(x) - 0.2) < 3.5 * math.sqrt(0.16 / n)
    for mode, mean in enumerate(mixture.MEANS):
        cluster = x[mixture.distances(x).argmin(1) == mode]
        bound = 3.5 / math.sqrt(len(cluster))
        assert (cluster.mean(0) - torch.tensor(mean)).abs().max() < bound
        assert (cluster.T.cov() - torch.eye(2)).abs().max() < 1.5 * bound


# Fig. 3


@pytest.fixture(scope="module")
def samples() -> dict[str, Tensor]:
    return fig3.compute(3000, seed=0)


def test_annealing_recovers_the_weights_and_langevin_does_not(samples: dict[str, Tensor]) -> None:
    weight = {key: fig3.minority_weight(x) for key, x in samples.items()}
    assert abs(weight["iid"].value - 0.2) < 3.5 * weight["iid"].standard_error
    assert weight["langevin"].value > 0.4 + 3.5 * weight["langevin"].standard_error
    assert 0.17 < weight["annealed"].value < 0.23 + 2 * weight["annealed"].standard_error


def test_standard_error_is_that_of_a_share() -> None:
    x = torch.tensor(mixture.MEANS)[[0] * 25 + [1] * 75]
    assert fig3.minority_weight(x) == (0.25, pytest.approx(math.sqrt(0.25 * 0.75 / 100)))


def test_fig3_is_a_function_of_its_seed() -> None:
    one, same, other = (fig3.compute(3, seed)["annealed"] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_fig3_writes_picture_and_numbers(tmp_path: Path) -> None:
    fig3.main(["--out", str(tmp_path), "--chains", "200"])
    numbers = json.loads((tmp_path / "fig3.json").read_text())
    assert numbers["minority_weight"].keys() == numbers["standard_error"].keys() == {"iid", "langevin", "annealed"}
    assert numbers["settings"]["chains"] == 200
    assert is_png(tmp_path / "fig3.png")


# Fig. 2


def test_exact_score_has_no_error() -> None:
    assert fig2.errors(fig2.exact) == (0, 0, 0)


def test_errors_are_those_of_the_region() -> None:
    def shifted(x: Tensor) -> Tensor:
        far = (mixture.distances(x) > 4).all(1, keepdim=True)
        return fig2.exact(x) + torch.where(far, torch.tensor([3.0, 4.0]), torch.tensor([0.0, 0.1]))

    errors = fig2.errors(shifted)
    assert errors.rms_error_far == pytest.approx(5, rel=1e-5)
    assert errors.rms_error_near == pytest.approx(0.1, rel=1e-4)
    # Near a mode the score is −(x − μ), of which the mean square over a disk of radius 2 is 2.
    assert errors.relative_error_near == pytest.approx(0.1 / math.sqrt(2), rel=0.01)


def test_relative_error_does_not_know_the_scale() -> None:
    assert fig2.errors(lambda x: 1.3 * fig2.exact(x)).relative_error_near == pytest.approx(0.3, rel=1e-5)


def test_training_reduces_the_error() -> None:
    early, _ = fig2.train(1, seed=0)
    late, _ = fig2.train(400, seed=0)
    assert fig2.errors(early).relative_error_near > 0.9
    assert fig2.errors(late).relative_error_near < 0.7


def test_fig2_writes_picture_and_numbers(tmp_path: Path) -> None:
    fig2.main(["--out", str(tmp_path), "--steps", "20"])
    numbers = json.loads((tmp_path / "fig2.json").read_text())
    assert {"relative_error_near", "rms_error_near", "rms_error_far", "settings"} <= numbers.keys()
    assert numbers["settings"]["iterations"] == 20
    assert is_png(tmp_path / "fig2.png")


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


# Fig. 1


def curve(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts)


def test_a_constant_with_little_noise_has_settled() -> None:
    random = np.random.default_rng(0)
    losses = curve(np.linspace(0, -1000, 800), -1000 + 50 * random.standard_normal(200))
    tail = fig1.tail(losses)
    assert tail.settled
    assert tail.spread == pytest.approx(1.35 * 0.05, rel=0.25)
    assert abs(tail.drift) < 0.03


@pytest.mark.parametrize(
    "last",
    [
        -1000 * np.linspace(1, 4, 200),
        -1000 * np.exp(np.random.default_rng(0).standard_normal(200)),
        np.full(200, np.nan),
    ],
    ids=["falls", "fluctuates", "diverges"],
)
def test_a_trend_and_a_fluctuation_have_not(last: np.ndarray) -> None:
    assert not fig1.tail(curve(np.full(800, -1000.0), last)).settled


def test_only_the_last_fifth_counts() -> None:
    wild = 1e6 * np.random.default_rng(0).standard_normal(800)
    assert fig1.tail(curve(wild, np.full(200, -3.0))) == (0, 0, True)


def test_single_outliers_do_not_count() -> None:
    last = np.where(np.arange(200) % 10 == 0, 1e9, -3.0)
    assert fig1.tail(curve(np.zeros(800), last)).settled


def test_autoencoder_returns_a_score_of_every_row_by_itself() -> None:
    network = fig1.ResidualAutoencoder(3, (8, 16, 16, 32, 32)).double()
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    assert torch.equal(network(x), torch.zeros_like(x))
    torch.nn.init.normal_(network[-1].weight)
    torch.testing.assert_close(network(x)[:1], network(x[:1]))


def test_auto_takes_cifar10_only_if_it_is_there_and_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert fig1.choose("auto", str(tmp_path)) == "digits"
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert fig1.choose("auto", str(tmp_path)) == "cifar10"
    assert fig1.choose("digits", str(tmp_path)) == "digits"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert fig1.choose("auto", str(tmp_path)) == "digits"


def test_the_curves_differ_in_the_noise_alone() -> None:
    images = torch.randint(256, (16, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    filters = (8, 8, 8, 8, 8)
    one = fig1.train(images, filters, 3, 0, 0.01, "")
    assert np.array_equal(one, fig1.train(images, filters, 3, 0, 0.01, ""))
    clean, almost = (fig1.train(images, filters, 3, 0, sigma, "") for sigma in (0.0, 1e-8))
    assert clean == pytest.approx(almost, rel=1e-2)
    assert clean[1:] != pytest.approx(one[1:], rel=1e-2)


def test_fig1_writes_picture_and_numbers(tmp_path: Path) -> None:
    fig1.main(["--out", str(tmp_path), "--root", str(tmp_path / "data"), "--steps", "10"])
    numbers = json.loads((tmp_path / "fig1.json").read_text())
    assert {"statistic", "threshold", "clean", "noisy", "curves", "settings", "seconds"} <= numbers.keys()
    assert numbers["settings"]["data"] == "digits"
    assert (
        numbers["settings"]["iterations"] == len(numbers["curves"]["clean"]) == len(numbers["curves"]["noisy"]) == 10
    )
    assert {"spread", "drift", "settled"} <= numbers["clean"].keys() == numbers["noisy"].keys()
    assert is_png(tmp_path / "fig1.png")
