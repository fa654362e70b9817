"""Chains that diverge stop with the level, the step and the step size that did it."""

import math
import pickle
import warnings
from typing import Any

import pytest
import torch
from checks import Known
from densities import Gaussian, Mixture
from torch import Tensor

from ncsn import noise
from ncsn.networks import NCSN, NCSNv2
from ncsn.random import Draws
from ncsn.samplers import (
    AnnealedLangevin,
    BudgetedLangevin,
    ConsistentAnnealedSampling,
    DivergedError,
    HamiltonianMonteCarlo,
    Interpolation,
    Langevin,
    MetropolisLangevin,
    State,
    divergence,
    start,
)

TOY = Known(Mixture([0.2, 0.8], [Gaussian(torch.full((2,), m), torch.zeros(2, 2)) for m in (-8.0, 8.0)]))
LADDER = torch.tensor([4.0, 2.0, 1.0])
SAMPLERS = [
    AnnealedLangevin(50, 1e-3),
    AnnealedLangevin(50, 1e-3, denoise=True),
    Langevin(250, 1e-3),
    ConsistentAnnealedSampling(50, 0.1),
    MetropolisLangevin(50),
    HamiltonianMonteCarlo(50),
]


def zeros() -> Tensor:
    return torch.zeros(3, 2)


def finite_until(calls: int) -> Any:
    """A score that stops being finite for one of its rows after so many calls."""
    count = 0

    def score(x: Tensor, sigma: Tensor) -> Tensor:
        nonlocal count
        count += 1
        s = -x / sigma[:, None] ** 2
        s[1, 0] = math.nan if count > calls else s[1, 0]
        return s

    return score


@pytest.mark.parametrize("calls", [0, 7, 49, 50, 99, 120, 149, 150])
@pytest.mark.parametrize("denoise", [False, True])
def test_first_step_that_is_not_finite_is_named(calls: int, denoise: bool) -> None:
    sampler = AnnealedLangevin(50, 1e-3, denoise)
    if calls >= sampler.num_steps(3):
        assert len(list(sampler(finite_until(calls), zeros(), LADDER))) == 150
        return
    level = min(calls // 50, 2)
    step = calls - 50 * level
    seen: list[State] = []
    with pytest.raises(DivergedError, match=f"step {step}") as caught:
        seen.extend(sampler(finite_until(calls), zeros(), LADDER))
    assert (caught.value.level, caught.value.step, caught.value.sigma) == (level, step, float(LADDER[level]))
    expected = None if calls == 150 else pytest.approx(1e-3 * float(LADDER[level]) ** 2)
    assert caught.value.step_size == expected
    assert calls < len(seen) <= calls + divergence.CHECK_EVERY


def test_steps_too_long_for_the_score_stop_with_a_message_that_helps() -> None:
    sampler, sigmas = AnnealedLangevin(100, 1.0), torch.tensor([20.0, 1.0])
    with pytest.raises(DivergedError) as caught:
        list(sampler(lambda x, sigma: -x, zeros(), sigmas))
    message = str(caught.value)
    assert message.startswith("the chains diverged at level 0 (σ = 20), step ")
    assert message.endswith(
        "with step size 400: a smaller step size helps, unless the score itself is not finite there"
    )
    # the noise of the first step is of size 20, the second multiplies by 1 − 200, and 100 σ₁ is the limit
    assert caught.value.step in (1, 2)
    assert isinstance(caught.value, ArithmeticError)


def test_langevin_is_looked_at_every_hundred_steps() -> None:
    seen: list[State] = []
    with pytest.raises(DivergedError, match=r"step 130 with step size 0\.001"):
        seen.extend(Langevin(1000, 1e-3)(finite_until(130), zeros(), LADDER))
    assert len(seen) == 2 * divergence.CHECK_EVERY


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_every_sampler_watches(sampler: Any) -> None:
    x = zeros()
    x[2, 1] = math.nan
    score = Known(Gaussian(torch.zeros(2), torch.eye(2)))
    with pytest.raises(DivergedError) as caught:
        list(sampler(score, x, sigmas=LADDER))
    assert caught.value.step == 0
    assert caught.value.step_size > 0
    states = list(sampler(score, zeros(), LADDER))
    assert len(states) == sampler.num_steps(3)
    assert all(state.x.isfinite().all() for state in states)


def test_own_samplers_can_be_watched_too() -> None:
    @divergence.stops_when_diverged
    def run(score: Any, x: Tensor, sigmas: Tensor) -> Any:
        """Doubles."""
        for t in range(2000):
            x = 2 * x
            yield State(x, 0, t)

    assert run.__doc__ == "Doubles."
    with pytest.raises(DivergedError, match=r"level 0 \(σ = 4\), step 8: a smaller"):
        list(run(None, torch.ones(1), LADDER))  # 2⁹ is the first above 100 σ₁
    assert list(run(None, torch.zeros(1), LADDER))[-1].acceptance is None


def test_nothing_is_fetched_between_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = []
    monkeypatch.setattr(divergence, "_check", lambda notes, sigmas: checks.append(len(notes)))
    list(AnnealedLangevin(50, 1e-3)(finite_until(1000), zeros(), LADDER))
    list(Langevin(250, 1e-3)(finite_until(1000), zeros(), LADDER))
    assert checks == [100, 50, 100, 100, 50]


# Chains that stay finite.


def bounded(x: Tensor, sigma: Tensor) -> Tensor:
    """As a normalised last layer makes it: of length 1/σ for every value, however far x is."""
    return torch.ones_like(x) / sigma[:, None]


def network(kind: Any, sigmas: Tensor) -> Any:
    torch.manual_seed(0)
    net = kind(sigmas, image_size=8, in_channels=1, num_filters=2)
    torch.nn.init.ones_(net.head.bias)  # so that E‖σ s‖² is about D, as of one that is trained
    return net


@pytest.mark.parametrize("kind", [None, NCSN, NCSNv2])
def test_chains_that_grow_and_stay_finite_stop_too(kind: Any) -> None:
    """The step of the paper, with a tenth of its last level."""
    sigmas = noise.geometric(1, 0.001, 3)
    score, x = (network(kind, sigmas), torch.rand(2, 1, 8, 8)) if kind else (bounded, zeros())
    with pytest.warns(UserWarning, match=r"ε = 4e-05 is above 4σ_L² = 4e-06"), pytest.raises(DivergedError) as caught:
        list(AnnealedLangevin(10, 4e-5)(score, x, sigmas))
    assert caught.value.level == 0


@pytest.mark.parametrize(
    ("sampler", "sigmas", "score"),
    [
        (AnnealedLangevin(100, 0.1), noise.geometric(20, 1, 10), TOY),  # Fig. 3
        (Langevin(100, 0.1), noise.geometric(20, 1, 10), TOY),
        (AnnealedLangevin(1, 1.8e-6), noise.geometric(348, 0.01, 500), TOY),
        (AnnealedLangevin(2, 3.8e-4), noise.geometric(348, 0.01, 200), TOY),  # as noisy as may be: ε = 3.8 σ_L²
        (Langevin(300, 1e-2), torch.tensor([0.1]), TOY),
        (Langevin(300, 0.1), torch.zeros(1), Known(Gaussian(torch.full((2,), 8.0), torch.eye(2)))),  # as the tutorial
        (ConsistentAnnealedSampling(1), noise.geometric(348, 0.01, 500), TOY),
        (MetropolisLangevin(5), noise.geometric(348, 0.01, 50), TOY),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, Tensor) else str(len(value)),
)
@pytest.mark.parametrize("at", ["origin", "far", "asked for"])
def test_sane_chains_are_let_run(sampler: Any, sigmas: Tensor, score: Known, at: str) -> None:
    x = zeros() if at == "origin" else 16 * torch.rand(3, 2) - 8
    x = (start(sampler, (3, 2), sigmas, Draws(0)) if at == "asked for" else x).double()
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(sampler(score, x, sigmas.double()))) == sampler.num_steps(len(sigmas))


@pytest.mark.parametrize("sampler", [AnnealedLangevin, Langevin])
def test_steps_above_the_bound_warn_before_the_first(sampler: Any) -> None:
    def asked(x: Tensor, sigma: Tensor) -> Tensor:
        raise AssertionError("the warning should come first")

    with pytest.warns(UserWarning, match="chains diverge"), pytest.raises(AssertionError):
        next(sampler(1, 4.001)(asked, zeros(), LADDER, normal=torch.zeros_like))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(sampler(1, 4.0)(lambda x, sigma: -x, zeros(), LADDER))


@pytest.mark.parametrize("sampler", [*SAMPLERS, BudgetedLangevin(30), Interpolation(AnnealedLangevin(), 3)], ids=repr)
def test_every_sampler_refuses_what_is_no_ladder(sampler: Any) -> None:
    score = Known(Gaussian(torch.zeros(2), torch.eye(2)))
    with pytest.raises(ValueError, match=r"^sigmas\[1\]=2: must be below the level before it, 1$"):
        next(sampler(score, zeros(), LADDER.flip(0)))


def test_processes_can_tell_each_other_of_it() -> None:
    error = DivergedError(3, 70, 0.5, None)
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is DivergedError
    assert (str(found), vars(found)) == (str(error), vars(error))
