"""Runs that end before they are done, by a signal or because they blow up, lose nothing and say how to go on."""

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_runs import left_by_training
from torch import Tensor

from ncsn.sampling.folder import SampleFolder
from ncsn.training.checkpoints import Checkpoints
from ncsn.training.metrics import Metrics
from ncsn.training.module import ScoreModel

pytestmark = pytest.mark.slow
Command = Callable[..., Any]
QUIET = "trainer.enable_progress_bar=false"


def at_step(number: int, change: Callable[[ScoreModel, dict[str, Any]], object], patch: pytest.MonkeyPatch) -> None:
    """Has `change` done to the outputs of a step."""
    step = ScoreModel.training_step

    def changed(self: ScoreModel, batch: Any, batch_idx: int) -> dict[str, Any]:
        outputs = step(self, batch, batch_idx)
        if self.global_step + 1 == number:
            change(self, outputs)
        return outputs

    patch.setattr(ScoreModel, "training_step", changed)


def assert_the_same(folder: Path, other: Path) -> None:
    (end, rows), (end_of_other, rows_of_other) = map(left_by_training, (folder, other))
    torch.testing.assert_close(end, end_of_other, rtol=0, atol=0)
    assert rows == rows_of_other


@pytest.mark.parametrize(("number", "step"), [(signal.SIGTERM, 3), (signal.SIGINT, 5)])
def test_a_signal_ends_a_training_at_a_checkpoint_that_goes_on_as_if_nothing_had_been(
    number: signal.Signals,
    step: int,
    trained: Path,
    call: Command,
    tiny: list[str],
    only_run: Command,
    tmp_path: Path,
) -> None:
    before = signal.getsignal(number)

    def send(*_: Any) -> None:
        os.kill(os.getpid(), number)
        assert signal.getsignal(number) == signal.SIG_DFL  # a second one ends it at once

    with pytest.MonkeyPatch.context() as patch:
        at_step(step, send, patch)
        outcome = call("train", *tiny, QUIET, cwd=tmp_path, check=False)
    folder = only_run(tmp_path)
    assert outcome.status == 128 + number
    assert (
        outcome.err == f"interrupted by {number.name}; step_{step:07d}.ckpt is there to go on from: resume={folder}\n"
    )
    assert json.loads((folder / "result.json").read_text())["status"] == "interrupted"
    assert signal.getsignal(number) is before
    call("train", f"resume={folder}", cwd=tmp_path)
    assert_the_same(folder, trained)


def test_a_signal_ends_sampling_with_one_line(
    trained: Path, call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(trained, tmp_path / "run", symlinks=True)
    save = SampleFolder.save_batch

    def interrupted(self: SampleFolder, number: int, *ends: Tensor) -> None:
        save(self, number, *ends)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(SampleFolder, "save_batch", interrupted)
    arguments = (f"ckpt={folder}", "num_samples=4", "batch_size=2", "trainer.accelerator=cpu")
    outcome = call("sample", *arguments, cwd=tmp_path, check=False)
    assert outcome.status == 130
    assert outcome.err.splitlines()[-1] == "interrupted by SIGINT"
    assert "Traceback" not in outcome.err
    monkeypatch.setattr(SampleFolder, "save_batch", save)
    assert "1 of 2 batches are there already" in call("sample", *arguments, cwd=tmp_path).out


def not_a_number(model: ScoreModel, outputs: dict[str, Any]) -> None:
    outputs["losses"][3] = torch.nan
    outputs["level"][3] = 1
    outputs["loss"] = outputs["loss"] + torch.nan


def steep(model: ScoreModel, outputs: dict[str, Any]) -> None:
    total = next(iter(model.parameters())).sum()
    outputs["loss"] = outputs["loss"] + (total - total.detach()).abs().sqrt()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (not_a_number, r"the loss is not finite (at σ = 0.1)"),
        (steep, "the gradient is not finite (largest loss at σ ="),
    ],
)
def test_a_training_that_blows_up_stops_and_keeps_what_was_good(
    change: Any, message: str, trained: Path, call: Command, tiny: list[str], only_run: Command, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_step(5, change, patch)
        outcome = call("train", *tiny, "trainer.log_every_n_steps=50", cwd=tmp_path, check=False)
    folder = only_run(tmp_path)
    assert outcome.status == 2
    told = outcome.err.splitlines()[-1]
    assert told.startswith(f"error: step 5: {message}")  # below the bar
    assert "learning rate of 0.001; the checkpoints before are good: go on from them with trainer.grad" in told
    assert f"(resume={folder})" in told
    assert sorted(p.name for p in folder.glob("checkpoints/step_*")) == ["step_0000002.ckpt", "step_0000004.ckpt"]
    assert (folder / "checkpoints" / "last.ckpt").resolve().name == "step_0000004.ckpt"
    assert json.loads((folder / "result.json").read_text())["status"] == "failed"
    if change is steep:  # and again
        with pytest.MonkeyPatch.context() as patch:
            at_step(6, change, patch)
            outcome = call("train", f"resume={folder}", cwd=tmp_path, check=False)
        assert outcome.err.splitlines()[-1].startswith("error: step 6: ")
        assert json.loads((folder / "result.json").read_text())["status"] == "failed"
    call("train", f"resume={folder}", cwd=tmp_path)
    last = [torch.load(f / "checkpoints" / "last.ckpt", weights_only=True) for f in (folder, trained)]
    torch.testing.assert_close(last[0]["state_dict"], last[1]["state_dict"], rtol=0, atol=0)


def test_bad_steps_are_left_out_on_request_as_long_as_they_are_single(
    call: Command, tiny: list[str], only_run: Command, tmp_path: Path
) -> None:
    skipping = [*tiny, QUIET, "callbacks.finite.skip=1", "callbacks.checkpoint.every_n_train_steps=1"]
    with pytest.MonkeyPatch.context() as patch:
        at_step(3, not_a_number, patch)
        outcome = call("train", *skipping, cwd=tmp_path)
        assert "step 3: the loss or its gradient is not finite; skipped" in outcome.out + outcome.err
        folder = only_run(tmp_path)
        before, after = (
            torch.load(folder / "checkpoints" / f"step_000000{n}.ckpt", weights_only=True) for n in (2, 3)
        )
        for key in ("current_model_state", "optimizer_states"):
            torch.testing.assert_close(before[key], after[key], rtol=0, atol=0)
        at_step(4, steep, patch)
        outcome = call("train", *skipping, "name=again", cwd=tmp_path, check=False)
    assert outcome.status == 2
    assert outcome.err.splitlines()[-1].startswith("error: step 4: the gradient is not finite")


def full_disk(at: str, patch: pytest.MonkeyPatch) -> None:
    """Has the disk be full when a file is written whose name has `at` in it."""

    def sync(path: Path) -> None:
        if at in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr("ncsn.files._sync", sync)


def test_on_a_full_disk_what_is_complete_is_kept_and_goes_on_later(
    trained: Path, call: Command, tiny: list[str], only_run: Command, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        full_disk("step_0000004.ckpt", patch)
        outcome = call("train", *tiny, QUIET, cwd=tmp_path, check=False)
    folder = only_run(tmp_path)
    path = folder / "checkpoints" / "step_0000004.ckpt"
    assert outcome.status == 2
    assert outcome.err.startswith(f"error: {path}: cannot be written (No space left on device); what is complete is ")
    assert len(outcome.err.splitlines()) == 1
    assert sorted(p.name for p in path.parent.iterdir()) == ["last.ckpt", "step_0000002.ckpt"]
    call("train", f"resume={folder}", cwd=tmp_path)
    assert_the_same(folder, trained)

    arguments = ("sample", f"ckpt={folder}", "num_samples=4", "batch_size=2", "trainer.accelerator=cpu")
    with pytest.MonkeyPatch.context() as patch:
        full_disk("00001.npy", patch)
        outcome = call(*arguments, cwd=tmp_path, check=False)
    assert outcome.status == 2
    assert "batches/00001.npy: cannot be written (No space left" in outcome.err.splitlines()[-1]
    assert "1 of 2 batches are there already" in call(*arguments, cwd=tmp_path).out

    def refuse() -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ncsn.files.uuid", SimpleNamespace(uuid4=refuse))  # nothing can be written any more
        assert "all samples are there already" in call(*arguments, cwd=tmp_path).out


LAST = 6
AFTER = [(Checkpoints, "on_train_batch_end"), (Metrics, "on_validation_epoch_end")]


@pytest.mark.parametrize(("cut", "step"), [(AFTER[0], 3), (AFTER[1], 3), (AFTER[0], LAST)])
def test_a_kill_after_a_checkpoint_loses_no_row(
    cut: tuple[type, str], step: int, trained: Path, call: Command, tiny: list[str], only_run: Command, tmp_path: Path
) -> None:
    original = getattr(*cut)

    def killed(self: Any, trainer: Any, *arguments: Any) -> None:
        original(self, trainer, *arguments) if cut[0] is Checkpoints else None
        if trainer.global_step == step:
            raise KeyError("killed")

    arguments = [*tiny, QUIET, "callbacks.checkpoint.every_n_train_steps=3"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*cut, killed)
        with pytest.raises(KeyError):
            call("train", *arguments, cwd=tmp_path)
    folder = only_run(tmp_path)
    assert (folder / "checkpoints" / f"step_{step:07d}.ckpt").is_file()
    call("train", f"resume={folder}", cwd=tmp_path)
    assert_the_same(folder, trained)


def test_a_run_that_goes_on_after_its_end_keeps_its_rows_and_says_what_is_changed(
    call: Command, tiny: list[str], only_run: Command, tmp_path: Path
) -> None:
    call("train", *tiny, QUIET, "trainer.max_steps=4", cwd=tmp_path)  # which validates after step 3, and at the end
    folder = only_run(tmp_path)
    _, rows = left_by_training(folder)
    assert "changed" not in call("train", f"resume={folder}", cwd=tmp_path).out
    assert left_by_training(folder)[1] == rows
    told = call("train", f"resume={folder}", "trainer.max_steps=5", "optimizer.lr=0.002", cwd=tmp_path).out
    changed = "changed since step_0000004.ckpt: optimizer.lr=0.002 (was 0.001), trainer.max_steps=5 (was 4)"
    assert changed in told.splitlines()


def test_runs_that_start_in_the_same_second_have_folders_of_their_own(
    call: Command, tiny: list[str], tmp_path: Path
) -> None:
    now = datetime.now()
    taken = [(now + timedelta(seconds=s)).strftime("%Y-%m-%d_%H-%M-%S") for s in range(300)]
    for name in taken:
        (tmp_path / "runs" / "digits" / name).mkdir(parents=True)
    call("train", *tiny, "trainer.max_steps=1", cwd=tmp_path)
    (folder,) = (tmp_path / "runs" / "digits").glob("*_2")
    assert folder.name.removesuffix("_2") in taken
    assert (folder / "result.json").is_file()
    assert (folder / "train.log").is_file()
