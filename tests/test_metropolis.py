"""MALA and Hamiltonian Monte Carlo: exact at any step size, annealed or not, and only with an energy."""

import math
import re
from itertools import pairwise
from typing import Any

import pytest
import torch
from checks import Known, assert_mean, assert_normal, last, noise_of
from densities import Gaussian, Mixture
from torch import Tensor

from ncsn import noise
from ncsn.networks import NCSN
from ncsn.random import Draws
from ncsn.samplers import AnnealedLangevin, HamiltonianMonteCarlo, MetropolisLangevin, Sampler
from ncsn.score import expand

GAUSSIAN = Gaussian(torch.tensor([1.0, -2.0]), torch.tensor([[1.0, 0.6], [0.6, 0.5]]))
NEAR = Mixture([0.3, 0.7], [Gaussian(torch.full((2,), m), 0.2 * torch.eye(2)) for m in (-0.6, 0.6)])
TOY = Mixture([0.2, 0.8], [Gaussian(torch.full((2,), m), torch.zeros(2, 2)) for m in (-5.0, 5.0)])
LADDER = noise.geometric(5, 0.5, 5).double()
SAMPLERS = [MetropolisLangevin, HamiltonianMonteCarlo]


def zeros(n: int) -> Tensor:
    return torch.zeros(n, 2, dtype=torch.float64)


@pytest.mark.parametrize("sampler", [MetropolisLangevin(200), HamiltonianMonteCarlo(40)])
def test_annealed_reaches_a_correlated_gaussian(sampler: Sampler) -> None:
    x = last(sampler(Known(GAUSSIAN), zeros(10_000), LADDER, normal=noise_of(1)))
    assert_normal(x, GAUSSIAN.mean, GAUSSIAN.axes, GAUSSIAN.variances + 0.5**2)


@pytest.mark.parametrize(
    "sampler",
    [MetropolisLangevin(300, 0.3, annealed=False), HamiltonianMonteCarlo(40, 5, 0.5, annealed=False)],
)
def test_plain_reaches_it_from_afar(sampler: Sampler) -> None:
    start = zeros(10_000) + 20
    x = last(sampler(Known(GAUSSIAN), start, LADDER, normal=noise_of(2)))
    assert_normal(x, GAUSSIAN.mean, GAUSSIAN.axes, GAUSSIAN.variances + 0.5**2)


@pytest.mark.parametrize(
    "sampler", [MetropolisLangevin(30, 0.8, annealed=False), HamiltonianMonteCarlo(10, 3, 0.8, annealed=False)]
)
def test_long_steps_leave_the_density_as_it_is(sampler: Sampler) -> None:
    n, sigma = 40_000, 0.3
    x = NEAR.sample(n, torch.Generator().manual_seed(3))
    x = x + sigma * noise_of(4)(x)
    states = list(sampler(Known(NEAR), x, torch.tensor([1.0, sigma]).double(), normal=noise_of(5)))
    x = states[-1].x
    assert 0.3 < float(states[-1].acceptance) < 0.9  # long indeed
    assert_mean(x, 0.6 * 0.4, errors=3)
    assert_mean(x.square(), 0.36 + 0.2 + sigma**2, errors=3)
    assert_mean(x.prod(1), 0.36, errors=3)
    assert_mean((x.sum(1) > 0).double(), 0.3 * _upper(-1.2, sigma) + 0.7 * _upper(1.2, sigma), errors=3)


def _upper(mean: float, sigma: float) -> float:
    return float(torch.special.ndtr(torch.tensor(mean / math.sqrt(2 * (0.2 + sigma**2)))))


def test_without_the_correction_such_steps_do_not() -> None:
    x = NEAR.sample(40_000, torch.Generator().manual_seed(3))
    x = x + 0.3 * noise_of(4)(x)
    with pytest.warns(UserWarning, match="above 4σ_L²"):
        x = last(AnnealedLangevin(30, 0.8)(Known(NEAR), x, torch.tensor([0.3]).double(), normal=noise_of(5)))
    assert x.square().mean() > 1.2 * (0.36 + 0.2 + 0.3**2)


@pytest.mark.parametrize("sampler", [MetropolisLangevin(), HamiltonianMonteCarlo()])
@pytest.mark.parametrize(
    ("score", "sigmas"),
    [(Known(TOY), noise.geometric(20, 1, 10)), (Known(GAUSSIAN), LADDER)],
    ids=["toy", "gaussian"],
)
def test_acceptance_at_the_defaults(sampler: Sampler, score: Known, sigmas: Tensor) -> None:
    acceptances = [float(s.acceptance) for s in sampler(score, zeros(500), sigmas.double(), normal=noise_of(6))]
    assert len(acceptances) == sampler.num_steps(len(sigmas))
    assert 0.5 < sum(acceptances) / len(acceptances) < 0.99


@pytest.mark.parametrize("sampler", [MetropolisLangevin(15), HamiltonianMonteCarlo(15)])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)], ids=["64", "784", "3072"])
def test_acceptance_at_the_defaults_does_not_fall_with_the_size_of_images(
    shape: tuple[int, ...], sampler: Sampler
) -> None:
    class Noise:  # N(0, σ²I), which is as sharply curved as perturbed data can be
        def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
            return -x / expand(sigma, x) ** 2

        def energy(self, x: Tensor, sigma: Tensor) -> Tensor:
            return (x / expand(sigma, x)).square().flatten(1).sum(1) / 2

    x = 0.1 * noise_of(12)(torch.empty(200, *shape))
    acceptances = [s.acceptance for s in sampler(Noise(), x, torch.tensor([0.1]), normal=noise_of(13))]
    assert 0.7 < float(torch.stack(acceptances).mean()) < 0.85


@pytest.mark.parametrize("sampler", [MetropolisLangevin(40), HamiltonianMonteCarlo(15)])
def test_annealing_recovers_the_weights_of_the_papers_toy(sampler: Sampler) -> None:
    x = 16 * torch.rand(2_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 8
    x = last(sampler(Known(TOY), x, noise.geometric(20, 1, 10).double(), normal=noise_of(7)))
    # by chance ± 0.009; and some too few, because the modes part while the weights still drift to 1/5 : 4/5
    assert abs((x.sum(1) > 0).double().mean() - 0.8) < 0.05


@pytest.mark.parametrize("sampler", [MetropolisLangevin(3, 0.8), HamiltonianMonteCarlo(3, step_size=0.9)])
def test_acceptance_is_the_share_of_chains_that_moved(sampler: Sampler) -> None:
    x = GAUSSIAN.sample(200, torch.Generator().manual_seed(0))
    for state in sampler(Known(GAUSSIAN), x, LADDER, normal=noise_of(8)):
        moved = (state.x != x).any(1)
        assert torch.equal((state.x != x).all(1), moved)
        assert float(state.acceptance) == pytest.approx(float(moved.double().mean()))
        x = state.x


def test_one_leapfrog_step_is_mala() -> None:
    alpha, x = 0.3, GAUSSIAN.sample(100, torch.Generator().manual_seed(0))
    mala = MetropolisLangevin(4, alpha)(Known(GAUSSIAN), x, LADDER, normal=noise_of(9))
    hmc = HamiltonianMonteCarlo(4, 1, math.sqrt(alpha))(Known(GAUSSIAN), x, LADDER, normal=noise_of(9))
    for a, b in zip(mala, hmc, strict=True):
        torch.testing.assert_close(a.x, b.x)
        torch.testing.assert_close(a.step_size, b.step_size**2)


def test_proposals_that_are_accepted_are_the_steps_of_algorithm_1() -> None:
    x = GAUSSIAN.sample(100, torch.Generator().manual_seed(0))
    both = noise_of(10)
    steps = MetropolisLangevin(2, 0.05)(Known(GAUSSIAN), x, LADDER, normal=both)
    for k, state in enumerate(steps):
        sigma = LADDER[k // 2]
        alpha = 0.05 * (sigma / LADDER[-1]) ** 2
        again = noise_of(10)
        for _ in range(k):
            again(x), again(x[:, 0])
        step = x + alpha / 2 * GAUSSIAN.score(x, sigma) + alpha.sqrt() * again(x)
        moved = (state.x != x).any(1)
        assert moved.double().mean() > 0.9
        torch.testing.assert_close(state.x[moved], step[moved])
        torch.testing.assert_close(state.step_size, alpha)
        assert (state.level, state.step) == divmod(k, 2)
        x = state.x


def test_trajectory_keeps_its_energy_the_better_the_shorter_its_steps() -> None:
    x = GAUSSIAN.sample(2_000, torch.Generator().manual_seed(0))
    rejected = []
    for leapfrog_steps in (2, 4, 8, 16):
        sampler = HamiltonianMonteCarlo(20, leapfrog_steps, 1.6 / leapfrog_steps, annealed=False)
        acceptances = [s.acceptance for s in sampler(Known(GAUSSIAN), x, LADDER, normal=noise_of(11))]
        rejected.append(1 - float(torch.stack(acceptances).mean()))
    for long, short in pairwise(rejected):
        assert short == pytest.approx(long / 4, rel=0.4)  # the error of leapfrog is of second order
    assert rejected[-1] < 0.005


@pytest.mark.parametrize("annealed", [True, False])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("kind", SAMPLERS)
def test_steps_and_levels_are_those_announced(kind: Any, steps: int, annealed: bool) -> None:
    sampler = kind(steps, annealed=annealed)
    states = list(sampler(Known(GAUSSIAN), zeros(4), LADDER, normal=noise_of(0)))
    assert sampler.num_steps(5) == len(states) == (5 * steps if annealed else steps)
    expected = [(i, t) for i in (range(5) if annealed else [4]) for t in range(steps)]
    assert [(s.level, s.step) for s in states] == expected
    ratio = states[-1].step_size / states[0].step_size
    power = 2 if kind is MetropolisLangevin else 1
    assert float(ratio) == pytest.approx((0.1 if annealed else 1) ** power, rel=1e-5)


@pytest.mark.parametrize("sampler", [MetropolisLangevin(2), HamiltonianMonteCarlo(2)])
def test_same_noise_same_samples_in_single_precision(sampler: Sampler) -> None:
    class Single(Known):
        def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
            return super().__call__(x.double(), sigma).float()

        def energy(self, x: Tensor, sigma: Tensor) -> Tensor:
            return super().energy(x.double(), sigma).float()

    runs = [
        last(sampler(Single(GAUSSIAN), zeros(50).float(), LADDER.float(), normal=Draws(seed, "sample").normal))
        for seed in (0, 0, 1)
    ]
    assert runs[0].dtype == torch.float32
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("sampler", [MetropolisLangevin(3, 1e8), HamiltonianMonteCarlo(3, 3, 1e200)])
def test_steps_far_too_long_are_rejected_not_followed(sampler: Sampler) -> None:
    states = list(sampler(Known(GAUSSIAN), zeros(50), LADDER[-1:], normal=noise_of(0)))
    assert [float(s.acceptance) for s in states] == [0, 0, 0]
    assert torch.equal(states[-1].x, zeros(50))


@pytest.mark.parametrize("kind", SAMPLERS)
def test_without_an_energy_it_is_refused_by_name(kind: Any) -> None:
    network = NCSN(LADDER, image_size=8, in_channels=1, num_filters=2)
    for score, name in ((network, "NCSN"), (GAUSSIAN.score, "score")):
        message = f"{kind.__name__} accepts or rejects by the energy, and {name} has none: it needs a method energy("
        with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
            next(kind()(score, torch.zeros(2, 1, 8, 8), LADDER))


@pytest.mark.parametrize(
    ("kind", "kwargs", "message"),
    [
        (MetropolisLangevin, {"steps_per_level": 0}, "steps_per_level=0: must be at least 1"),
        (MetropolisLangevin, {"step_size": 0.0}, "step_size=0.0: must be positive and finite"),
        (MetropolisLangevin, {"step_size": math.nan}, "step_size=nan: must be positive and finite"),
        (HamiltonianMonteCarlo, {"steps_per_level": 0}, "steps_per_level=0: must be at least 1"),
        (HamiltonianMonteCarlo, {"leapfrog_steps": 0}, "leapfrog_steps=0: must be at least 1"),
        (HamiltonianMonteCarlo, {"step_size": -1.0}, "step_size=-1.0: must be positive and finite"),
    ],
)
def test_refuses_by_name(kind: Any, kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        kind(**kwargs)


class FarAway:
    """N(1000, I) in float32, where numbers lie 6e-5 apart."""

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return 1000 - x

    def energy(self, x: Tensor, sigma: Tensor) -> Tensor:
        return (x - 1000).square().sum(1) / 2


def test_the_way_back_does_not_lose_short_steps_among_large_values() -> None:
    """Made of x − y, z′ would lose its digits, and proposals would be rejected for it."""
    x = 1000 + torch.randn(200, 64, generator=torch.Generator().manual_seed(0))
    sampler = MetropolisLangevin(steps_per_level=20, step_size=1e-6)
    states = list(sampler(FarAway(), x, torch.ones(1), normal=noise_of(1)))
    assert sum(float(state.acceptance) for state in states) / len(states) > 0.99  # type: ignore[arg-type]
