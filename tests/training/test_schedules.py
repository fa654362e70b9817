"""Learning rates, step by step."""

import math

import pytest
import torch

from ncsn.training import schedules
from ncsn.training.schedules import OverTime, constant, cosine


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


def test_over_time_the_rate_falls_with_the_clock_which_stands_still_between_runs(monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr(schedules.time, "monotonic", lambda: now)
    monkeypatch.setattr(schedules, "_STEPS_PER_READING", 1)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = OverTime(optimizer, max_time="00:00:01:20")
    seen = []
    for now in (100.0, 120.0, 140.0):  # noqa: B007
        optimizer.step()
        schedule.step()
        seen += schedule.get_last_lr()
    state = schedule.state_dict()
    now = 5.0  # another process, whose clock says what it likes
    schedule = OverTime(optimizer, max_time="00:00:01:20")
    schedule.load_state_dict(state)
    for now in (25.0, 45.0, 65.0):  # noqa: B007
        optimizer.step()
        schedule.step()
        seen += schedule.get_last_lr()
    assert seen == pytest.approx([1 + math.cos(math.pi * share) for share in (0, 0.25, 0.5, 0.75, 1, 1)])


def test_over_time_all_processes_go_by_the_clock_of_the_first(monkeypatch) -> None:
    monkeypatch.setattr(schedules, "_STEPS_PER_READING", 1)
    monkeypatch.setattr(schedules.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(schedules.distributed, "broadcast_object_list", lambda told: told.__setitem__(0, 40.0))
    assert rates(lambda o: OverTime(o, max_time="00:00:01:20"), 2) == pytest.approx([1.0, 1.0])  # half of 80 seconds


@pytest.mark.parametrize("max_time", [None, "20 minutes", "00:00:00:00"])
def test_over_time_needs_a_time(max_time: str | None) -> None:
    with pytest.raises(ValueError, match=r"max_time=.*DD:HH:MM:SS"):
        rates(lambda o: OverTime(o, max_time=max_time), 1)
