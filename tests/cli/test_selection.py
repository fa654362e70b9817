"""`python train.py callbacks=select`: every checkpoint is scored while training, which does not notice."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ncsn.data import Digits
from ncsn.samplers import AnnealedLangevin, DivergedError

pytestmark = pytest.mark.slow
Command = Callable[..., Any]

SELECT = [
    "callbacks=select",
    "callbacks.samples.every_n_steps=0",
    "callbacks.checkpoint.every_n_train_steps=2",
    "callbacks.selection.features=classifier",
    "callbacks.selection.num_samples=40",
    "callbacks.selection.batch_size=16",  # batches of 16, 16 and 8
]
CRITERION = "classifier_frechet_40"


@pytest.fixture(scope="module")
def selecting(judging: Digits, tiny: list[str]) -> list[str]:
    """Overrides for a run of six steps that scores its checkpoints of steps 2, 4 and 6."""
    return [*(given for given in tiny if not given.startswith("callbacks.")), *SELECT]


@pytest.fixture(scope="module")
def selected(
    call: Command, selecting: list[str], only_run: Command, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    cwd = tmp_path_factory.mktemp("selected")
    call("train", *selecting, cwd=cwd)
    return only_run(cwd)


def curve_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "evaluation" / "curve.json").read_text())


def distances(run: Path) -> dict[int, float]:
    return {c["step"]: c["scores"][CRITERION] for c in curve_of(run)["checkpoints"]}


def weights_of(run: Path, step: int = 6) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / f"step_{step:07d}.ckpt", weights_only=True)


def rows_of(run: Path) -> list[dict[str, str]]:
    header, *rows = (line.split(",") for line in (run / "metrics.csv").read_text().splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_every_checkpoint_is_scored_and_the_best_is_kept(selected: Path) -> None:
    found = distances(selected)
    assert list(found) == [2, 4, 6]
    assert len(set(found.values())) == 3
    best = min(found, key=lambda step: found[step])
    assert curve_of(selected)["best"] == best
    assert curve_of(selected)["criterion"] == CRITERION
    assert (selected / "checkpoints" / "best.ckpt").resolve().name == f"step_{best:07d}.ckpt"
    logged = {int(row["step"]): row[f"eval/{CRITERION}"] for row in rows_of(selected) if row[f"eval/{CRITERION}"]}
    assert {step: float(value) for step, value in logged.items()} == pytest.approx(found)


def test_scores_are_those_of_evaluate(selected: Path, call: Command, tmp_path: Path) -> None:
    run = shutil.copytree(selected, tmp_path / "run", symlinks=True)
    given = ["features=classifier", "num_samples=40", "batch_size=16", "scores=[frechet]"]
    call("evaluate", f"ckpt={run}", *given, "trainer.accelerator=cpu", cwd=tmp_path)
    assert distances(run) == pytest.approx(distances(selected), rel=1e-5)
    assert curve_of(run)["settings"] == curve_of(selected)["settings"]  # so that training goes on with this curve
    assert not list((run / "evaluation").glob("curve_*"))


def test_training_does_not_notice(selected: Path, trained: Path) -> None:
    without, with_it = weights_of(trained), weights_of(selected)
    for part in ("state_dict", "current_model_state"):
        assert without[part].keys() == with_it[part].keys()
        for name, value in without[part].items():
            assert torch.equal(with_it[part][name], value)
    losses = [[row["train/loss"] for row in rows_of(run) if row["train/loss"]] for run in (trained, selected)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 6


def test_a_resumed_run_goes_on_with_the_curve(
    selected: Path, selecting: list[str], call: Command, only_run: Command, tmp_path: Path
) -> None:
    call("train", *selecting, "trainer.max_steps=4", cwd=tmp_path)
    run = only_run(tmp_path)
    first = distances(run)
    assert list(first) == [2, 4]
    call("train", *selecting, "resume=true", "trainer.max_steps=6", cwd=tmp_path)
    assert only_run(tmp_path) == run
    assert distances(run) == pytest.approx(distances(selected))
    assert {step: distances(run)[step] for step in (2, 4)} == first


def test_a_checkpoint_whose_scoring_was_interrupted_is_scored_when_the_run_goes_on(
    selected: Path, call: Command, tmp_path: Path
) -> None:
    run = shutil.copytree(selected, tmp_path / "run", symlinks=True)
    for name in ("best", "step_0000006"):
        (run / "checkpoints" / f"{name}.ckpt").unlink()
    curve = curve_of(run)
    curve["checkpoints"] = curve["checkpoints"][:1]  # as if the run had ended while it scored that of step 4
    (run / "evaluation" / "curve.json").write_text(json.dumps(curve))
    call("train", f"resume={run}", cwd=tmp_path)
    assert distances(run) == pytest.approx(distances(selected))
    before, after = rows_of(selected), rows_of(run)
    assert [r["train/loss"] for r in after if r["train/loss"]] == [r["train/loss"] for r in before if r["train/loss"]]


def test_a_young_network_that_diverges_is_not_scored_and_goes_on(
    selecting: list[str], call: Command, only_run: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls, count = AnnealedLangevin.__call__, 0

    def diverging(*args: Any, **kwargs: Any) -> Iterator[Any]:
        nonlocal count
        count += 1
        if count == 2:  # the first is tried out on a stand-in
            raise DivergedError(0, 0, 1.0, 0.1)
        yield from calls(*args, **kwargs)

    monkeypatch.setattr(AnnealedLangevin, "__call__", diverging)
    outcome = call("train", *selecting, cwd=tmp_path)
    assert "no score at step 2: the chains diverged" in outcome.out + outcome.err
    assert list(distances(only_run(tmp_path))) == [4, 6]


def test_two_processes_score_as_one_does(
    selected: Path, selecting: list[str], call: Command, only_run: Command, tmp_path: Path
) -> None:
    two = ["trainer.devices=2", "trainer.strategy=ddp_fork"]  # which starts no interpreter anew
    call("train", *selecting, *two, cwd=tmp_path)
    assert distances(only_run(tmp_path)) == pytest.approx(distances(selected), rel=1e-3)  # as training itself


REFUSED = [
    ("callbacks.checkpoint=null", ["callbacks.selection", "callbacks.checkpoint"]),
    ("callbacks.selection.features=foo", ["callbacks.selection.features=foo", "inception", "classifier"]),
    ("callbacks.selection.num_samples=10", ["callbacks.selection.num_samples=10", "at least 20"]),
    ("callbacks.selection.batch_size=0", ["callbacks.selection.batch_size=0", "at least 1"]),
    (
        "callbacks.selection.features=inception callbacks.selection.weights_path=nowhere.pth",
        ["nowhere.pth", "features=classifier"],
    ),
    ("data=image_folder data.image_size=8 data.channels=1", ["image_folder", "no labels", "features=inception"]),
]


@pytest.mark.parametrize(("arguments", "told"), REFUSED, ids=[arguments for arguments, _ in REFUSED])
def test_what_cannot_be_scored_is_refused_before_any_training(
    arguments: str,
    told: list[str],
    selecting: list[str],
    call: Command,
    only_run: Command,
    tmp_path: Path,
) -> None:
    if "image_folder" in arguments:
        pictures = tmp_path / "pictures"
        pictures.mkdir()
        for number in range(30):
            image = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(image).save(pictures / f"{number}.png")
        arguments = f"data.root={pictures} {arguments}"
    outcome = call("train", *selecting, *arguments.split(), cwd=tmp_path, check=False)
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    assert [word for word in told if word not in line] == []
    assert not (only_run(tmp_path) / "checkpoints").exists()
