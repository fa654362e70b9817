"""Chains that diverge stop with the level, the step and the step size that did it."""

import math
from typing import Any

import pytest
import torch
from checks import Known
from densities import Gaussian
from torch import Tensor

from ncsn.samplers import (
    AnnealedLangevin,
    ConsistentAnnealedSampling,
    DivergedError,
    HamiltonianMonteCarlo,
    Langevin,
    MetropolisLangevin,
    State,
    divergence,
)

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
    # each step multiplies by 1 − 200, and single precision ends at 3e38
    assert caught.value.step in (15, 16, 17)
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
    with pytest.raises(DivergedError, match=r"level 0 \(σ = 4\), step 127: a smaller"):
        list(run(None, torch.ones(1), LADDER))
    assert list(run(None, torch.zeros(1), LADDER))[-1].acceptance is None


def test_nothing_is_fetched_between_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = []
    monkeypatch.setattr(divergence, "_check", lambda notes, sigmas: checks.append(len(notes)))
    list(AnnealedLangevin(50, 1e-3)(finite_until(1000), zeros(), LADDER))
    list(Langevin(250, 1e-3)(finite_until(1000), zeros(), LADDER))
    assert checks == [100, 50, 100, 100, 50]
