"""`python train.py`: the folder it leaves, going on after a kill, and several processes."""

import csv
import json
import multiprocessing
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

pytestmark = pytest.mark.slow
Command = Callable[..., Any]
FORK = multiprocessing.get_context("fork")  # a process that has imported everything already


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def train_steps(folder: Path) -> list[int]:
    return [int(row["step"]) for row in rows_of(folder) if row["train/loss"]]


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def assert_same_state(a: Path, b: Path) -> None:
    """Weights, average and optimiser state, bit for bit."""
    left, right = load(a), load(b)
    assert left["global_step"] == right["global_step"]
    for key in ("state_dict", "current_model_state", "averaging_state", "optimizer_states"):
        torch.testing.assert_close(left[key], right[key], rtol=0, atol=0)


# The folder of a run.


@pytest.fixture(scope="module")
def output(call: Command, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    cwd = tmp_path_factory.mktemp("whole")
    outcome = call(
        "train",
        *tiny,
        "trainer.max_steps=5",
        "callbacks.samples.every_n_steps=4",
        "+trainer.profiler=simple",
        cwd=cwd,
    )
    return cwd, outcome


@pytest.fixture(scope="module")
def folder(output: tuple[Path, Any], only_run: Callable[[Path], Path]) -> Path:
    return only_run(output[0])


def test_the_command_says_where_the_run_is_and_shows_the_time_left(output: tuple[Path, Any], folder: Path) -> None:
    outcome = output[1]
    assert f"run folder: {folder}" in outcome.out
    assert f"finished: {folder}" in outcome.out
    assert re.search(r"Training: .*5/5 \[\d\d:\d\d<\d\d:\d\d", outcome.out + outcome.err)
    assert f"run folder: {folder}" in (folder / "train.log").read_text()


def test_lightnings_options_reach_its_trainer(output: tuple[Path, Any]) -> None:
    assert "Profiler Report" in output[1].out + output[1].err


def test_config_is_stored_resolved(folder: Path) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model"]["num_filters"] == 4
    assert config["model"]["image_size"] == config["data"]["image_size"] == 8
    assert config["name"] == "digits"
    assert "${" not in (folder / "config.yaml").read_text()


def test_run_json_says_what_ran(folder: Path, root: Path) -> None:
    record = json.loads((folder / "run.json").read_text())
    assert " train " in record["command"]
    assert "trainer.max_steps=5" in record["command"]
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]
    revision = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True)
    if revision.returncode == 0:
        assert record["git"].removesuffix("+changes") == revision.stdout.strip()


def test_every_step_is_logged_with_all_that_is_watched(folder: Path) -> None:
    assert train_steps(folder) == [1, 2, 3, 4, 5]
    rows = [row for row in rows_of(folder) if row["train/loss"]]
    for row in rows:
        assert float(row["train/loss_per_dim"]) == pytest.approx(float(row["train/loss"]) / 64)
        assert float(row["lr"]) == pytest.approx(1e-3)
        assert float(row["images_per_second"]) > 0
    levels = [f"train/loss_sigma_{sigma}" for sigma in ("1", "0.1", "0.01")]
    assert all(any(row[level] for row in rows) for level in levels)
    assert not any(name.startswith("train/loss_sigma") and name not in levels for name in rows[0])


def test_validation_loss_is_logged_at_its_interval_and_at_the_end(folder: Path) -> None:
    assert [int(row["step"]) for row in rows_of(folder) if row["val/loss"]] == [3, 5]


def test_result_holds_the_last_metrics(folder: Path) -> None:
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "finished"
    assert result["overrides"]["model.num_filters"] == "4"
    last = rows_of(folder)[-1]
    assert result["metrics"]["val/loss"] == pytest.approx(float(last["val/loss"]))


def test_checkpoints_lie_at_every_interval_and_at_the_last_step(folder: Path) -> None:
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == ["last.ckpt", "step_0000002.ckpt", "step_0000004.ckpt", "step_0000005.ckpt"]
    assert (folder / "checkpoints" / "last.ckpt").resolve().name == "step_0000005.ckpt"
    assert load(folder / "checkpoints" / "last.ckpt")["global_step"] == 5


def test_pictures_are_drawn_at_their_interval(folder: Path) -> None:
    (picture,) = (folder / "pictures").iterdir()
    assert picture.name == "step_0000004.png"
    assert min(Image.open(picture).size) >= 512


# Killed, and resumed.


@pytest.fixture(scope="module")
def long_run(tiny: list[str]) -> list[str]:
    return [*tiny, "trainer.max_steps=60", "callbacks.checkpoint.every_n_train_steps=10", "data.flip=true",
            "data.dequantize=true"]  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(
    call: Command, long_run: list[str], only_run: Command, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    cwd = tmp_path_factory.mktemp("uninterrupted")
    call("train", *long_run, cwd=cwd)
    return only_run(cwd)


@pytest.fixture(scope="module")
def killed(call: Command, long_run: list[str], only_run: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working folder of a run that was killed after its first checkpoint."""
    cwd = tmp_path_factory.mktemp("killed")
    process = FORK.Process(target=call, args=("train", *long_run), kwargs={"cwd": cwd})
    process.start()
    end = time.monotonic() + 120
    while True:
        assert process.is_alive(), "it ended before it could be killed"
        assert time.monotonic() < end, "no checkpoint"
        found = list(cwd.glob("runs/*/*/checkpoints/step_0000010.ckpt"))
        if found and max(train_steps(found[0].parents[1]), default=0) > 12:
            break
        time.sleep(0.02)
    process.kill()
    process.join()
    folder = only_run(cwd)
    assert process.exitcode == -signal.SIGKILL
    assert not (folder / "result.json").exists()
    assert not (folder / "checkpoints" / "step_0000060.ckpt").exists()
    return cwd


def assert_equals_uninterrupted(folder: Path, uninterrupted: Path) -> None:
    for name in ("step_0000020.ckpt", "step_0000060.ckpt", "last.ckpt"):
        assert_same_state(folder / "checkpoints" / name, uninterrupted / "checkpoints" / name)
    assert train_steps(folder) == list(range(1, 61))
    steps = [(row["step"], bool(row["val/loss"])) for row in rows_of(folder)]
    assert steps == [(row["step"], bool(row["val/loss"])) for row in rows_of(uninterrupted)]
    for mine, theirs in zip(rows_of(folder), rows_of(uninterrupted), strict=True):
        for name in ("train/loss", "val/loss"):
            assert mine[name] == theirs[name], f"{name} at step {mine['step']}"


def test_resume_true_goes_on_after_a_kill_bit_for_bit(
    killed: Path, uninterrupted: Path, call: Command, long_run: list[str], only_run: Command, tmp_path: Path
) -> None:
    shutil.copytree(killed, tmp_path, symlinks=True, dirs_exist_ok=True)
    folder = only_run(tmp_path)
    assert " train " in json.loads((folder / "run.json").read_text())["command"]
    outcome = call("train", *long_run, "resume=true", cwd=tmp_path)
    assert "resuming from" in outcome.out
    assert_equals_uninterrupted(folder, uninterrupted)


def test_resuming_a_folder_needs_nothing_else_and_works_from_anywhere(
    killed: Path, uninterrupted: Path, call: Command, only_run: Command, tmp_path: Path
) -> None:
    moved = tmp_path / "moved run"
    shutil.copytree(only_run(killed), moved, symlinks=True)
    call("train", f"resume={moved}", cwd=tmp_path)
    assert_equals_uninterrupted(moved, uninterrupted)
    assert not (tmp_path / "runs").exists()


def test_resuming_a_checkpoint_goes_back_to_it(
    killed: Path, uninterrupted: Path, call: Command, only_run: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(only_run(killed), folder, symlinks=True)
    outcome = call("train", f"resume={folder}/checkpoints/step_0000010.ckpt", cwd=tmp_path)
    assert "step_0000010.ckpt" in outcome.out
    assert_equals_uninterrupted(folder, uninterrupted)


# Several processes, on the CPU with gloo.


@pytest.fixture(scope="module")
def one_process(call: Command, tiny: list[str], only_run: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cwd = tmp_path_factory.mktemp("one")
    call("train", *tiny, "data.flip=true", "data.dequantize=true", "trainer.max_steps=10", cwd=cwd)
    return only_run(cwd)


def assert_agrees(folder: Path, reference: Path) -> None:
    mine, theirs = rows_of(folder), rows_of(reference)
    assert [row["step"] for row in mine] == [row["step"] for row in theirs]
    for name in ("train/loss", "val/loss", "train/loss_sigma_1"):
        left, right = ([float(row[name]) for row in rows if row[name]] for rows in (mine, theirs))
        np.testing.assert_allclose(left, right, rtol=1e-5)
    a, b = (load(f / "checkpoints" / "last.ckpt") for f in (folder, reference))
    for key in ("state_dict", "current_model_state"):
        torch.testing.assert_close(a[key], b[key], rtol=1e-5, atol=1e-5)


def test_two_processes_train_what_one_does(
    run: Command, tiny: list[str], only_run: Command, one_process: Path, tmp_path: Path
) -> None:
    ten = ["data.flip=true", "data.dequantize=true", "trainer.max_steps=10", "trainer.devices=2"]
    outcome = run("train", *tiny, *ten, cwd=tmp_path)
    folder = only_run(tmp_path)
    assert_agrees(folder, one_process)
    assert outcome.out.count("finished:") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs"]
    assert json.loads((folder / "result.json").read_text())["status"] == "finished"


def test_torchrun_continues_what_one_process_began(
    run: Command, call: Command, tiny: list[str], only_run: Command, one_process: Path, tmp_path: Path
) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    settings = [*tiny, "data.flip=true", "data.dequantize=true"]
    call("train", *settings, "trainer.max_steps=6", cwd=tmp_path)
    more = ["trainer.devices=2", "trainer.max_steps=10", "resume=true"]
    run("train", *settings, *more, cwd=tmp_path, launcher=torchrun)
    assert_agrees(only_run(tmp_path), one_process)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs"]
