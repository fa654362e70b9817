"""Annealed Langevin dynamics for a number of evaluations."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from ncsn import noise
from ncsn.samplers import AnnealedLangevin, BudgetedLangevin, DivergedError


def score(x: Tensor, sigma: Tensor) -> Tensor:
    return -x / (0.25 + sigma[:, None] ** 2)


@pytest.mark.parametrize("num_levels", [2, 6, 10, 99, 100, 232])
@pytest.mark.parametrize("evaluations", [3, 30, 100, 1000])
def test_no_more_evaluations_than_asked_for_and_not_many_less(evaluations: int, num_levels: int) -> None:
    sigmas, seen = noise.geometric(1, 0.01, num_levels), []
    sampler = BudgetedLangevin(evaluations)

    def counted(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(float(sigma[0]))
        return score(x, sigma)

    states = list(sampler(counted, torch.rand(2, 3), sigmas))
    assert len(seen) == len(states) == sampler.num_steps(num_levels)
    assert evaluations - min(num_levels, evaluations) < len(seen) <= evaluations
    assert seen[0] == float(sigmas[0])
    assert seen[-1] == float(sigmas[-1])
    assert all(float(sigmas[s.level]) == value for s, value in zip(states, seen, strict=True))


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_it_is_algorithm_1_with_a_multiple_of_technique_4(factor: float) -> None:
    sigmas, x = noise.geometric(1, 0.1, 6), torch.rand(4, 3)
    expected = AnnealedLangevin(16, factor * AnnealedLangevin(16, None).epsilon(sigmas), denoise=True)
    torch.manual_seed(0)
    *_, found = BudgetedLangevin(100, factor)(score, x, sigmas)
    torch.manual_seed(0)
    *_, last = expected(score, x, sigmas)
    torch.testing.assert_close(found.x, last.x, rtol=0, atol=0)


@pytest.mark.parametrize("evaluations", [3, 5, 10, 20, 30, 100])
def test_few_evaluations_remove_the_noise_too(evaluations: int) -> None:
    """On NCSNv2's ladder for CIFAR-10, for data all alike: after the last level and before denoising."""
    sigmas = noise.geometric(50, 0.01, 232)
    x = torch.rand(2_000, 2, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    states = list(BudgetedLangevin(evaluations)(lambda x, s: (0.5 - x) / s[:, None] ** 2, x, sigmas))
    assert (states[-2].x - 0.5).square().mean().sqrt() < 1.5 * 0.01  # √2 σ_L at the most
    torch.testing.assert_close(states[-1].x, torch.full_like(x, 0.5), rtol=0, atol=1e-5)
    ratio = noise.ladder_variance_ratio(
        BudgetedLangevin(evaluations).epsilon(sigmas),
        0.01,
        noise.ratio(sigmas[BudgetedLangevin(evaluations).plan(232)[0]]),
        1,
    )
    assert (states[-2].x - 0.5).var().item() == pytest.approx(ratio * 1e-4, rel=0.1)


def test_a_gaussian_is_drawn_with_few_evaluations() -> None:
    """Its standard deviation is 0.3; with twice technique 4's step, 10 evaluations had ended at 12."""
    sigmas, x = noise.geometric(50, 0.01, 232), torch.rand(2_000, 2)
    torch.manual_seed(0)
    found = []
    for evaluations in (10, 20, 30, 100):
        *_, last = BudgetedLangevin(evaluations)(lambda x, s: (0.5 - x) / (0.09 + s[:, None] ** 2), x, sigmas)
        found.append((last.x - 0.5).square().mean().sqrt().item())
    assert found == sorted(found, reverse=True)
    assert 0.3 < found[-1] < 0.4
    assert found[0] < 0.75


def test_steps_too_short_to_remove_the_noise_are_refused() -> None:
    sigmas, x = noise.geometric(50, 0.01, 232), torch.rand(2, 3)
    message = r"^step_factor=0\.5: with 10 evaluations .* must be above 0\.74$"
    with pytest.raises(ValueError, match=message):
        next(BudgetedLangevin(10, 0.5)(score, x, sigmas))
    assert len(list(BudgetedLangevin(10, 0.75)(score, x, sigmas))) == 10
    assert len(list(BudgetedLangevin(1000, 0.5)(score, x, sigmas))) == 929


def test_the_step_factor_that_is_asked_for_is_the_least_that_will_do() -> None:
    sigmas = noise.geometric(50, 0.01, 12)  # of which 25 evaluations give two steps to each level
    with pytest.raises(ValueError, match="must be above") as told:
        BudgetedLangevin(25, 0.1).epsilon(sigmas)
    least = float(str(told.value).rpartition(" ")[2])
    assert BudgetedLangevin(25, 1.05 * least).epsilon(sigmas) > 0
    with pytest.raises(ValueError, match="must be above"):
        BudgetedLangevin(25, 0.95 * least).epsilon(sigmas)


def test_levels_left_out_are_left_out_evenly() -> None:
    levels, steps = BudgetedLangevin(30).plan(232)
    assert steps == 1
    assert len(levels) == 29
    assert (levels[0], levels[-1]) == (0, 231)
    assert {b - a for a, b in pairwise(levels)} == {8, 9}


def test_divergence_names_the_level_of_the_ladder() -> None:
    def diverges(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.full_like(x, torch.nan if sigma[0] < 0.5 else 0)

    sigmas = noise.geometric(1, 0.01, 50)
    with pytest.raises(DivergedError) as caught:
        list(BudgetedLangevin(10)(diverges, torch.rand(2, 3), sigmas))
    assert caught.value.sigma == float(sigmas[caught.value.level])


def test_too_few_evaluations_are_refused() -> None:
    with pytest.raises(ValueError, match="evaluations=2: must be at least 3"):
        BudgetedLangevin(2)
    with pytest.raises(ValueError, match="step_factor=0: must be positive"):
        BudgetedLangevin(100, 0)
