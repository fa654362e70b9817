"""Learning rates, step by step."""

import math

import pytest
import torch

from ncsn.training.schedules import constant, cosine


def rates(make_schedule, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = make_schedule(optimizer)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_constant_is_the_optimisers_own() -> None:
    assert rates(constant, 5) == [2.0] * 5


def test_warmup_rises_in_equal_steps_to_the_whole() -> None:
    assert rates(lambda o: constant(o, warmup_steps=3), 5) == [0.5, 1.0, 1.5, 2.0, 2.0]


def test_cosine_falls_from_the_whole_to_nothing_and_stays_there() -> None:
    seen = rates(lambda o: cosine(o, total_steps=4), 6)
    expected = [1 + math.cos(math.pi * k / 4) for k in (0, 1, 2, 3, 4, 4)]
    assert seen == pytest.approx(expected)


def test_cosine_needs_an_end() -> None:
    with pytest.raises(ValueError, match="total_steps=-1: must be at least 1"):
        rates(lambda o: cosine(o, total_steps=-1), 1)
