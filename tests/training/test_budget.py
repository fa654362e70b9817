"""The width of `experiment=quick`: what is timed, what is chosen, and what is refused."""

import sys
from pathlib import Path
from typing import Any

import pytest
from composing import asked
from omegaconf import DictConfig

from ncsn.commands.train import Job
from ncsn.errors import ConfigError, DataError
from ncsn.runs.folder import Run
from ncsn.training import budget


def quick(*overrides: str) -> DictConfig:
    return asked(f"experiment=quick data=digits name=quick {' '.join(overrides)}")


@pytest.mark.parametrize(
    ("size", "multipliers"),
    [(8, [1, 2]), (28, [1, 2, 4]), (32, [1, 2, 4, 4]), (64, [1, 2, 4, 4]), (27, [1]), (12, [1, 2])],
)
def test_any_size_is_halved_as_often_as_it_can_be(size: int, multipliers: list[int]) -> None:
    assert budget.multipliers_for(size) == multipliers


@pytest.mark.parametrize(("faster", "at_least"), [(1, 1), (1e3, 3), (1e9, len(budget.WIDTHS))])
def test_a_faster_machine_trains_a_wider_network(
    faster: float, at_least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is made up; the networks are real, but for the widest."""
    monkeypatch.setattr(budget, "WIDTHS", budget.WIDTHS[:4])
    taken = iter(range(1, 5))
    monkeypatch.setattr(budget, "seconds_per", lambda step, device: next(taken) / faster)
    found = budget.resolve_width(quick("trainer.max_time=00:00:01:00", "trainer.accelerator=cpu"))
    widths = list(budget.WIDTHS)
    assert widths.index(found.model.num_filters) + 1 >= min(at_least, len(widths))
    assert found.model.multipliers == [1, 2]
    if faster == 1:
        assert found.model.num_filters == widths[0]


@pytest.mark.parametrize(
    ("overrides", "environment", "reason"),
    [
        (["trainer.max_time=null"], {}, "model.num_filters=auto: max_time=None: must be a time"),
        (["trainer.max_time=20m"], {}, "max_time=20m"),
        ([], {"WORLD_SIZE": "2"}, "model.num_filters=auto: is found out by one process"),
        ([], {"WORLD_SIZE": "", "SLURM_NTASKS": "2"}, "model.num_filters=auto: is found out by one process"),
        (["data=image_folder", "data.root=x", "data.image_size=big"], {}, "data.image_size=big"),
        (["data.batch_size=0"], {}, "data.batch_size=0"),
    ],
)
def test_what_cannot_be_found_out_is_refused(
    overrides: list[str], environment: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=reason):
        budget.resolve_width(quick(*overrides))


def test_a_number_is_left_alone() -> None:
    found = budget.resolve_width(quick("model.num_filters=20", "trainer.max_time=null"))
    assert (found.model.num_filters, found.model.multipliers) == (20, [1, 2])


@pytest.mark.parametrize("width", ["{_target_: os.mkdir, _args_: [ran]}", "${oc.env:HOME}", "'8'", "true"])
def test_the_width_in_the_folder_of_a_run_is_a_number_or_refused(width: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"model: {{num_filters: {width}}}" if width[0] != "$" else "model: x")
    with pytest.raises(DataError, match=r"config.yaml: model.num_filters=.*: expected an integer"):
        Job(Run(tmp_path), in_sweep=False, overrides=[], holds_a_run=True).with_width(quick())
    assert not Path("ran").exists()


def test_a_run_that_goes_on_keeps_its_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", "experiment=quick"])
    (tmp_path / "config.yaml").write_text("model: {num_filters: 20}")
    job = Job(Run(tmp_path), in_sweep=False, overrides=["experiment=quick"], holds_a_run=True)
    assert job.with_width(quick()).model.num_filters == 20
    assert job.overrides == ["experiment=quick", "model.num_filters=20"]
    assert sys.argv == ["train.py", "experiment=quick", "model.num_filters=20"]
