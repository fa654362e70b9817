"""A run that goes on equals one that was never interrupted, and nothing is lost when it may not go on."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ncsn.checkpoint import load_score, save_score

pytestmark = pytest.mark.slow
Command = Callable[..., Any]

VARIANTS = {
    "plain": [],
    "augmented, clipped, odd numbers of steps": [
        "data.flip=true",
        "data.dequantize=true",
        "trainer.gradient_clip_val=0.1",
        "callbacks.checkpoint.every_n_train_steps=4",
        "trainer.val_check_interval=5",
    ],
    "accumulated": ["trainer.accumulate_grad_batches=2"],
    "without average": ["callbacks.ema=null"],
}


def steps_of(folder: Path) -> list[tuple[int, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [(int(row["step"]), row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def content(folder: Path) -> dict[str, bytes]:
    files = [p for p in folder.rglob("*") if p.is_file() and ".hydra" not in p.parts and p.suffix != ".log"]
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_finished_run_made_longer_equals_a_long_one(
    variant: str, call: Command, tiny: list[str], only_run: Command, tmp_path: Path
) -> None:
    folders = {}
    for name, stops in (("whole", [7]), ("parts", [3, 7])):
        cwd = tmp_path / name
        cwd.mkdir()
        for stop in stops:
            more = ["resume=true"] if stop != stops[0] else []
            call("train", *tiny, *VARIANTS[variant], f"trainer.max_steps={stop}", *more, cwd=cwd)
        folders[name] = only_run(cwd)
    whole, parts = (last(folder) for folder in folders.values())
    for key in ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "global_step"):
        if key in whole:
            torch.testing.assert_close(parts[key], whole[key], rtol=0, atol=0)
    assert ("current_model_state" in whole) == (variant != "without average")
    assert steps_of(folders["parts"]) == steps_of(folders["whole"])
    assert [step for step, _ in steps_of(folders["parts"])] == [1, 2, 3, 4, 5, 6, 7]


def test_nothing_to_resume_starts_anew(call: Command, tiny: list[str], only_run: Command, tmp_path: Path) -> None:
    call("train", *tiny, "trainer.max_steps=1", "resume=true", cwd=tmp_path)
    assert last(only_run(tmp_path))["global_step"] == 1


@pytest.fixture(scope="module")
def finished(call: Command, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    cwd = tmp_path_factory.mktemp("finished")
    call("train", *tiny, "trainer.max_steps=2", cwd=cwd)
    return cwd


def test_one_checkpoint_where_the_last_step_is_at_the_interval(finished: Path, only_run: Command) -> None:
    assert sorted(p.name for p in (only_run(finished) / "checkpoints").iterdir()) == [
        "last.ckpt",
        "step_0000002.ckpt",
    ]


@pytest.mark.parametrize(
    "change", ["model.num_filters=6", "noise.sigma_max=2", "noise.num_levels=4", "callbacks.ema.rate=1.5"]
)
def test_a_refused_resume_names_the_key_and_loses_nothing(
    change: str, finished: Path, call: Command, only_run: Command, tmp_path: Path
) -> None:
    folder = only_run(finished)
    before = content(folder)
    outcome = call("train", f"resume={folder}", "trainer.max_steps=4", change, cwd=tmp_path, check=False)
    assert outcome.status == 2
    assert change in outcome.err
    assert content(folder) == before


def test_after_a_refused_resume_the_run_still_goes_on(
    finished: Path, call: Command, only_run: Command, tmp_path: Path
) -> None:
    folder = shutil.copytree(only_run(finished), tmp_path / "run", symlinks=True)
    call("train", f"resume={folder}", "model.num_filters=6", cwd=tmp_path, check=False)
    call("train", f"resume={folder}", "trainer.max_steps=3", cwd=tmp_path)
    assert last(folder)["global_step"] == 3


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "foreign", "network alone"])
def test_a_run_goes_on_from_the_newest_good_checkpoint_and_says_so(
    damage: str, trained: Path, call: Command, tmp_path: Path
) -> None:
    folder = shutil.copytree(trained, tmp_path / "run", symlinks=True)
    newest = folder / "checkpoints" / "step_0000006.ckpt"
    good = newest.read_bytes()
    place = good.index(b"network.") + 3
    contents = {"flipped": good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]}
    contents |= {"cut": good[:-5000], "empty": b"", "foreign": b"hello"}
    newest.write_bytes(contents.get(damage, good))
    if damage == "network alone":
        save_score(load_score(newest), newest)
    (newest.parent / "step_abc.ckpt").write_bytes(b"")
    (newest.parent / ".step_0000008.ckpt.0123456789ab.partial").write_bytes(b"of a killed process")
    outcome = call("train", f"resume={folder}", "trainer.max_steps=7", cwd=tmp_path)
    assert "step_0000006.ckpt: " in outcome.out
    assert "goes on from the checkpoint before" in outcome.out
    assert "step_0000004.ckpt" in outcome.out
    assert [step for step, _ in steps_of(folder)] == [1, 2, 3, 4, 5, 6, 7]
    names = [*(f"step_000000{step}.ckpt" for step in (2, 4, 6, 7)), "last.ckpt", "step_abc.ckpt"]
    assert sorted(path.name for path in newest.parent.iterdir()) == sorted(names)
    for name in names[:5]:
        assert load_score(newest.parent / name).step


def test_of_damaged_checkpoints_alone_nothing_goes_on(
    finished: Path, call: Command, only_run: Command, tmp_path: Path
) -> None:
    folder = shutil.copytree(only_run(finished), tmp_path / "run", symlinks=True)
    for path in (folder / "checkpoints").glob("step_*"):
        path.write_bytes(b"")
    outcome = call("train", f"resume={folder}", "trainer.max_steps=4", cwd=tmp_path, check=False)
    assert outcome.status == 2
    assert "cannot be read as a checkpoint" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_folder_that_holds_a_run_is_not_overwritten(
    finished: Path, call: Command, tiny: list[str], only_run: Command, tmp_path: Path
) -> None:
    folder = only_run(finished)
    before = content(folder)
    outcome = call("train", *tiny, f"hydra.run.dir={folder}", cwd=tmp_path, check=False)
    assert outcome.status == 2
    assert "resume=true" in outcome.err
    assert content(folder) == before


def test_checkpoints_are_named_by_their_own_step_however_seldom_is_logged(
    call: Command, tiny: list[str], only_run: Command, tmp_path: Path
) -> None:
    seldom = ["trainer.log_every_n_steps=2", "callbacks.checkpoint.every_n_train_steps=3", "trainer.max_steps=7"]
    call("train", *tiny, *seldom, cwd=tmp_path)
    folder = only_run(tmp_path) / "checkpoints"
    names = sorted(path.name for path in folder.glob("step_*.ckpt"))
    assert names == [f"step_{step:07d}.ckpt" for step in (3, 6, 7)]
    saved = [torch.load(folder / name, weights_only=True)["global_step"] for name in names]
    assert saved == [3, 6, 7]
    assert (folder / "last.ckpt").resolve().name == names[-1]
