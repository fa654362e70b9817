"""The curve of a run's checkpoints and the link to the best of them."""

import json
from pathlib import Path

import pytest

from ncsn.runs.curve import Curve
from ncsn.runs.folder import Run

SETTINGS = {"seed": 0, "sampler": {"step_size": 4e-5}}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "checkpoints").mkdir()
    for step in (2, 4, 10):
        checkpoint(tmp_path, step).write_text(f"weights {step}")
    return tmp_path


def checkpoint(run: Path, step: int) -> Path:
    return run / "checkpoints" / f"step_{step:07d}.ckpt"


def best_in(run: Path) -> str:
    return (run / "checkpoints" / "best.ckpt").read_text()


def add(run: Path, step: int, value: float, criterion: str = "fid_1k", seed: int = 0) -> bool:
    """As a process of its own would."""
    return Curve.read(Run(run)).add(
        checkpoint(run, step), {"is_1k": 1.0, criterion: value}, SETTINGS | {"seed": seed}
    )


def steps(run: Path) -> list[int]:
    return [c["step"] for c in Curve.read(Run(run)).checkpoints]


def test_the_least_distance_is_the_best(run: Path) -> None:
    assert add(run, 4, 5.0)
    assert best_in(run) == "weights 4"
    assert not add(run, 10, 7.0)
    assert best_in(run) == "weights 4"
    assert add(run, 2, 3.0)
    assert best_in(run) == "weights 2"
    assert steps(run) == [2, 4, 10]
    record = json.loads((run / "evaluation" / "curve.json").read_text())
    assert (record["criterion"], record["best"]) == ("fid_1k", 2)
    assert [c["scores"]["fid_1k"] for c in record["checkpoints"]] == [3, 5, 7]
    lines = str(Curve.read(Run(run))).splitlines()
    assert [line.split() for line in lines[1:4]] == [["2", "3", "best"], ["4", "5"], ["10", "7"]]


def test_new_scores_replace_those_of_a_checkpoint(run: Path) -> None:
    for step, value in ((2, 3.0), (4, 5.0), (2, 9.0)):
        add(run, step, value)
    assert [c["scores"]["fid_1k"] for c in Curve.read(Run(run)).checkpoints] == [9, 5]
    assert best_in(run) == "weights 4"


@pytest.mark.parametrize(("criterion", "seed"), [("fid_50k", 0), ("classifier_frechet_1k", 0), ("fid_1k", 1)])
def test_another_kind_starts_a_new_one_and_leaves_the_one_before(criterion: str, seed: int, run: Path) -> None:
    add(run, 2, 3.0)
    before = (run / "evaluation" / "curve.json").read_bytes()
    add(run, 4, 99.0, criterion, seed)
    assert steps(run) == [4]
    assert best_in(run) == "weights 4"
    (kept,) = (run / "evaluation").glob("curve_*.json")
    assert kept.read_bytes() == before


def test_a_checkpoint_that_has_been_deleted_is_never_the_best(run: Path) -> None:
    add(run, 2, 3.0)
    checkpoint(run, 2).unlink()
    add(run, 4, 5.0)
    assert steps(run) == [4]
    assert best_in(run) == "weights 4"


def test_the_link_holds_when_the_run_is_moved(run: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    add(run, 2, 3.0)
    moved = run.rename(tmp_path_factory.mktemp("elsewhere") / "run")
    assert best_in(moved) == "weights 2"


def test_a_kind_that_comes_back_goes_on_with_its_own_curve(run: Path) -> None:
    """Another process has scored the same checkpoints with more samples in between."""
    for step, value in ((2, 1.0), (4, 5.0)):
        add(run, step, value)
    add(run, 2, 3.0, criterion="fid_50k")
    assert not add(run, 10, 7.0)
    assert best_in(run) == "weights 2"
    assert steps(run) == [2, 4, 10]
    add(run, 4, 2.0, criterion="fid_50k")
    assert steps(run) == [2, 4]
    assert best_in(run) == "weights 4"


def test_what_another_process_has_added_is_not_lost(run: Path) -> None:
    one, other = Curve.read(Run(run)), Curve.read(Run(run))
    one.add(checkpoint(run, 2), {"fid_1k": 1.0}, SETTINGS)
    other.add(checkpoint(run, 4), {"fid_1k": 2.0}, SETTINGS)
    assert steps(run) == [2, 4]
