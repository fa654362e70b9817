"""A run's folder is one run's: locked while it trains, and nothing strange is gone on with."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ncsn.errors import ConfigError
from ncsn.files import atomically
from ncsn.runs.folder import Run

pytestmark = pytest.mark.slow
Command = Callable[..., Any]


def test_a_second_process_is_kept_out_of_a_run(trained: Path, call: Command, tmp_path: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "run", symlinks=True)
    before = (folder / "result.json").read_bytes()
    with Run(folder).locked():
        with pytest.raises(ConfigError, match="another process"), Run(folder).locked():
            pass
        outcome = call("train", f"resume={folder}", "trainer.max_steps=8", cwd=tmp_path, check=False)
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    assert f"{folder}: another process trains in this folder" in line
    assert (folder / "result.json").read_bytes() == before
    call("train", f"resume={folder}", "trainer.max_steps=7", cwd=tmp_path)  # the lock went with its owner


def test_two_writers_of_one_file_do_not_share_what_is_half_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomically(path) as one, atomically(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_on_a_cluster_a_stray_checkpoint_is_left_alone(
    trained: Path, call: Command, tiny: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Lightning loads `hpc_ckpt_*.ckpt` of its root directory wherever SLURM's variables are set."""
    for name, value in {"NTASKS": 1, "JOB_ID": 7, "JOB_NAME": "job", "PROCID": 0, "LOCALID": 0, "NODEID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    (tmp_path / "hpc_ckpt_1.ckpt").write_bytes(b"something else")
    call("train", *tiny, "trainer.max_steps=1", cwd=tmp_path)
    call(
        "sample", f"ckpt={trained}", "num_samples=1", "trainer.accelerator=cpu", f"out={tmp_path / 'x'}", cwd=tmp_path
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("model.num_filters=6", ["model.num_filters=6", "the run to resume has 4"]),
        ("noise.num_levels=4", ["noise.num_levels=4", "the run to resume has 3"]),
        ("optimizer=muon", ["optimizer._target_=ncsn.training.muon.Muon", "the run to resume has torch.optim.Adam"]),
    ],
)
def test_a_lone_checkpoint_of_another_network_is_refused(
    arguments: str, told: list[str], trained: Path, call: Command, tiny: list[str], tmp_path: Path
) -> None:
    alone = shutil.copy(trained / "checkpoints" / "step_0000002.ckpt", tmp_path / "alone.ckpt")
    outcome = call("train", *tiny, f"resume={alone}", arguments, cwd=tmp_path, check=False)
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    assert [word for word in told if word not in line] == []


def test_a_lone_checkpoint_goes_on_in_a_new_folder(
    trained: Path, call: Command, tiny: list[str], only_run: Command, tmp_path: Path
) -> None:
    alone = shutil.copy(trained / "checkpoints" / "step_0000002.ckpt", tmp_path / "alone.ckpt")
    call("train", *tiny, f"resume={alone}", "trainer.max_steps=3", cwd=tmp_path)
    last = torch.load(only_run(tmp_path) / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 3


def test_what_a_sampler_refuses_is_refused_before_training(
    call: Command, tiny_ncsn: list[str], tmp_path: Path
) -> None:
    given = ["sampler=consistent", "sampler.eta=0.1"]
    outcome = call("train", *tiny_ncsn, *given, cwd=tmp_path, check=False)
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: sampler: eta=0.1: a step would leave more noise than the next level has")
    assert not list(tmp_path.glob("runs/*/*/checkpoints"))


def test_a_damaged_record_is_made_anew(trained: Path, tmp_path: Path) -> None:
    run = Run(shutil.copytree(trained, tmp_path / "run", symlinks=True))
    before = run.record()
    assert run.record() == before
    (run.path / "run.json").write_text("{")
    after = run.record()
    assert after["id"] != before["id"]
    assert json.loads((run.path / "run.json").read_text()) == after


def test_checkpoints_are_those_whose_names_say_a_step(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.checkpoint_folder.mkdir()
    for name in ("step_0000010.ckpt", "step_0000009.ckpt", "step_12345678.ckpt", "step_abc.ckpt", "last.ckpt"):
        (run.checkpoint_folder / name).touch()
    names = [path.name for path in run.checkpoints()]
    assert names == ["step_0000009.ckpt", "step_0000010.ckpt", "step_12345678.ckpt"]
    assert Run.of(run.checkpoints()[0]) == run
