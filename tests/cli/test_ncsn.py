"""`ncsn`: its help, what it refuses, what it imports, the user's own configurations, warnings and errors."""

import errno
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.multiprocessing import ProcessRaisedException

from ncsn.commands import cli
from ncsn.errors import DataError

pytestmark = pytest.mark.slow
Command = Callable[..., Any]


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_alone_it_lists_its_commands(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(arguments)
    out = capsys.readouterr().out
    assert [name for name in [*cli.COMPOSED, *cli.PLAIN] if f"\n  {name} " not in out] == []


@pytest.mark.parametrize("name", sorted(cli.PLAIN.keys() - {"list", "doctor"}))  # which need none
def test_a_command_without_its_arguments_says_which(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([name])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the following arguments are required: ")
    assert f"(usage: ncsn {name} " in line


def test_an_unknown_command_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["trian", "data=mnist"])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: trian: no such command; did you mean train? (commands: train, sample,")


def test_what_it_says_at_once_needs_neither_pytorch_nor_lightning(tmp_path: Path) -> None:
    script = """
import os, sys
from ncsn.commands import cli
print(os.environ["OMP_WAIT_POLICY"], file=sys.stderr)
for line in ("", "convert --help", "train --help", "train noise.sigma_mx=1", "noise data=mnits"):
    try:
        cli.main(line.split())
    except SystemExit:
        pass
print(*sorted({"torch", "lightning", "wandb", "pytorch_lightning"} & set(sys.modules)), file=sys.stderr)
"""
    alone = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    options = {"cwd": tmp_path, "env": alone, "capture_output": True, "text": True, "timeout": 120}
    done = subprocess.run([sys.executable, "-c", script], **options)
    policy, misspelt, unknown, imported = done.stderr.splitlines()
    assert policy == "PASSIVE"  # which counts only if it is set before PyTorch starts its threads
    assert "noise.sigma_mx: no such key; did you mean sigma_max?" in misspelt
    assert "mnist" in unknown
    assert imported == ""
    assert "debug: default, limit, overfit, profiler" in done.stdout


@pytest.fixture
def my_confs(tmp_path: Path) -> Path:
    """A user's folder of configurations beside his own project."""
    for name, text in {
        "experiment/mine.yaml": "# @package _global_\nname: mine\nnoise:\n  num_levels: 3\n",
        "sampler/quick.yaml": "_target_: ncsn.samplers.AnnealedLangevin\nsteps_per_level: 1\nstep_size: 2.0e-5\n",
        "features/mine.yaml": "defaults:\n  - classifier\n",
    }.items():
        path = tmp_path / "my confs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "my confs"


def test_configurations_of_ones_own_work_with_every_command(
    call: Command, tiny: list[str], only_run: Command, my_confs: Path, tmp_path: Path
) -> None:
    own = ["--config-dir", my_confs.name]
    short = [*(a for a in tiny if not a.startswith("noise.")), "trainer.max_steps=1"]
    call("train", *own, "experiment=mine", *short, cwd=tmp_path)
    run = only_run(tmp_path)
    assert run.parent.name == "mine"
    assert yaml.safe_load((run / "config.yaml").read_text())["noise"]["num_levels"] == 3
    drawn = call("sample", f"ckpt={run}", "sampler=quick", "num_samples=1", *own, cwd=tmp_path)
    assert "steps_per_level=1" in drawn.out
    levels = call("noise", *own, "noise=geometric", f"data.root={tmp_path}", cwd=tmp_path)
    assert "σ_L" in levels.out
    refused = call("evaluate", *own, f"ckpt={run}", "features=mine", "num_samples=no", cwd=tmp_path, check=False)
    assert "num_samples=no" in refused.err
    misspelt = call("train", *own, "experiment=mine", "noise.num_level=1", cwd=tmp_path, check=False)
    assert "noise.num_level: no such key; did you mean num_levels?" in misspelt.err


def test_paths_may_begin_with_the_home_folder(
    call: Command, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home of me"))
    call("train", *tiny, "trainer.max_steps=1", "hydra.run.dir=~/a=b", cwd=tmp_path)
    assert (tmp_path / "home of me" / "a=b" / "checkpoints" / "last.ckpt").exists()


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """task(function): puts a function in the place of what `ncsn noise` does with its configuration."""

    def replace(function: Callable[[], object]) -> None:
        monkeypatch.setitem(cli.COMPOSED, "noise", "ncsn.commands.noise.replaced")
        monkeypatch.setattr("ncsn.commands.noise.replaced", lambda config: function(), raising=False)

    return replace


def test_a_warning_is_one_plain_line_and_told_once(task: Command, call: Command, tmp_path: Path) -> None:
    def warn() -> None:
        for _ in range(2):
            warnings.warn("the step size\nis too large", stacklevel=1)
            with warnings.catch_warnings():  # which makes Python forget what it has told
                pass

    task(warn)
    assert call("noise", cwd=tmp_path).err == "warning: the step size is too large\n"


def test_another_process_tells_any_error_in_one_line(
    task: Command, call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("Connection closed\nby peer")

    task(fail)
    monkeypatch.setenv("LOCAL_RANK", "1")
    outcome = call("noise", cwd=tmp_path, check=False)
    assert outcome.status == 2
    assert outcome.err.splitlines() == [
        "error: process 1: RuntimeError: Connection closed by peer (HYDRA_FULL_ERROR=1 shows where)"
    ]
    monkeypatch.setenv("LOCAL_RANK", "0")  # a defect keeps its traceback
    with pytest.raises(RuntimeError, match="Connection closed"):
        call("noise", cwd=tmp_path)


def test_an_error_of_a_spawned_process_is_told_in_one_line(task: Command, call: Command, tmp_path: Path) -> None:
    def spawn() -> None:
        try:
            raise DataError("pictures/a.png: missing")
        except DataError:  # as PyTorch tells it
            told = f"\n\n-- Process 1 terminated with the following error:\n{traceback.format_exc()}"
        raise ProcessRaisedException(told, error_index=1, error_pid=2)

    task(spawn)
    outcome = call("noise", cwd=tmp_path, check=False)
    assert outcome.status == 2
    assert outcome.err.splitlines() == ["error: pictures/a.png: missing"]


def test_a_full_disk_is_told_in_one_line(task: Command, call: Command, tmp_path: Path) -> None:
    def fill() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/x/metrics.csv")

    task(fill)
    outcome = call("noise", cwd=tmp_path, check=False)
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: runs/x/metrics.csv: cannot be written (No space left on device)")


def test_processes_that_a_command_starts_tell_errors_as_it_does(task: Command, call: Command, tmp_path: Path) -> None:
    inherited = []
    task(lambda: inherited.append(os.environ["HYDRA_FULL_ERROR"]))
    call("noise", cwd=tmp_path)
    assert inherited == ["0"]


@pytest.mark.parametrize("debug", ["default", "limit", "overfit", "profiler"])
def test_debugging_runs(debug: str, call: Command, tiny: list[str], tmp_path: Path) -> None:
    outcome = call("train", *tiny, f"debug={debug}", "trainer.max_steps=2", cwd=tmp_path)
    (folder,) = (tmp_path / "runs" / "debug" / "digits").iterdir()
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (folder / "checkpoints" / "step_0000002.ckpt").exists()
    if debug == "profiler":
        assert "run_training_batch" in outcome.out
        assert "run_training_batch" in (folder / "train.log").read_text()
    if debug == "overfit":
        assert config["trainer"]["overfit_batches"] == 1


def test_no_progress_bar_with_one_key(call: Command, tiny: list[str], tmp_path: Path) -> None:
    outcome = call("train", *tiny, "trainer.max_steps=1", "trainer.enable_progress_bar=false", cwd=tmp_path)
    assert "step/s" not in outcome.out + outcome.err
