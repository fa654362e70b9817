"""`python train.py -m …`: one folder a job, one table, failures that do not spread, and searches."""

import contextlib
import csv
import importlib.util
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from offline_wandb import wandb_run

from ncsn.training import budget

pytestmark = pytest.mark.slow
Command = Callable[..., Any]


@pytest.fixture
def short(tiny: list[str]) -> list[str]:
    return [*tiny, "trainer.max_steps=4"]


def table_of(sweep: Path) -> list[dict[str, str]]:
    with (sweep / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def jobs_of(sweep: Path) -> dict[float, Path]:
    """The folders of a sweep's jobs by σ₁, as far as they started."""
    configs = {path.parent: yaml.safe_load(path.read_text()) for path in sweep.glob("*/config.yaml")}
    return {config["noise"]["sigma_max"]: folder for folder, config in configs.items()}


def touched(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*") if ".hydra" not in p.parts and p.is_file()}


def test_a_sweep_is_a_folder_a_job_and_one_table(call: Command, short: list[str], tmp_path: Path) -> None:
    outcome = call("train", "-m", "noise.sigma_max=1,5", *short, cwd=tmp_path)
    (sweep,) = (tmp_path / "runs" / "sweeps").iterdir()
    assert set(jobs_of(sweep)) == {1, 5}
    assert all((folder / "checkpoints" / "last.ckpt").exists() for folder in jobs_of(sweep).values())
    rows = table_of(sweep)
    assert {(row["noise.sigma_max"], row["status"]) for row in rows} == {("1", "finished"), ("5", "finished")}
    assert all(float(row["val/loss"]) > 0 for row in rows)
    assert "2 of 2 jobs finished" in outcome.out
    assert f"{sweep.name}/results.csv" in outcome.out
    header = next(line for line in outcome.out.splitlines() if "status" in line and "val/loss" in line)
    assert "noise.sigma_max" in header
    assert "data.batch_size" not in header  # the same in all jobs


def test_a_failed_job_is_reported_and_only_it_runs_again(call: Command, short: list[str], tmp_path: Path) -> None:
    arguments = ["-m", "noise.sigma_max=1,0.001,5", *short]
    outcome = call("train", *arguments, cwd=tmp_path, check=False)
    (sweep,) = (tmp_path / "runs" / "sweeps").iterdir()
    assert outcome.status != 0
    assert set(jobs_of(sweep)) == {1, 5}
    assert "2 of 3 jobs finished" in outcome.out
    assert "noise.sigma_max=0.001: must be greater than sigma_min" in outcome.out
    assert "Traceback" not in outcome.err
    failed = next(row for row in table_of(sweep) if row["status"] == "failed")
    assert failed["noise.sigma_max"] == "0.001"
    assert "must be greater" in failed["error"]

    before = [touched(folder) for folder in jobs_of(sweep).values()]
    again = call("train", *arguments, cwd=tmp_path, check=False)
    assert again.status != 0
    assert again.out.count("finished before, not run again") == 2
    changed = [touched(folder) for folder in jobs_of(sweep).values()]
    for old, new in zip(before, changed, strict=True):
        assert {k: v for k, v in new.items() if not k.endswith((".log", ".lock"))} == {
            k: v for k, v in old.items() if not k.endswith((".log", ".lock"))
        }
    assert len(table_of(sweep)) == 3


def test_a_finished_job_of_another_configuration_is_not_taken_for_this_one(
    call: Command, short: list[str], tmp_path: Path
) -> None:
    arguments = ["-m", "noise.sigma_max=1", "sweep=mine", "hydra.sweep.subdir=job", *short]
    call("train", *arguments, cwd=tmp_path)
    job = tmp_path / "runs/sweeps/mine/job"
    before = touched(job / "checkpoints"), (job / "result.json").read_bytes(), (job / "config.yaml").read_bytes()
    outcome = call("train", *arguments, "optimizer.lr=0.1", cwd=tmp_path, check=False)
    assert outcome.status == 2
    assert "another configuration" in outcome.err
    after = touched(job / "checkpoints"), (job / "result.json").read_bytes(), (job / "config.yaml").read_bytes()
    assert after == before
    again = call("train", *arguments, "trust=[mine.Network]", cwd=tmp_path)  # is no part of what is trained
    assert "finished before, not run again" in again.out


def test_a_job_of_quick_finished_before_keeps_the_width_that_was_found(
    call: Command, quick: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    left_out = ("model.num_filters", "trainer.max_time", "callbacks.samples")
    own = [given for given in quick if not given.startswith(left_out)]
    limits = ["trainer.max_time=00:00:10:00", "trainer.max_steps=1", "callbacks.samples=null"]
    arguments = ["-m", "optimizer.lr=0.001", *own, *limits]
    outs = []
    for seconds in (1e9, 1e-9):  # the machine has become faster, and would train a wider network
        monkeypatch.setattr(budget, "seconds_per", lambda step, device, seconds=seconds: seconds)
        outs.append(call("train", *arguments, cwd=tmp_path).out)
    assert "model.num_filters=8" in outs[0]
    assert "finished before, not run again" in outs[1]
    (job,) = (tmp_path / "runs" / "sweeps").glob("*/*/config.yaml")
    assert yaml.safe_load(job.read_text())["model"]["num_filters"] == 8


def test_several_devices_a_job_are_refused_by_name(call: Command, short: list[str], tmp_path: Path) -> None:
    outcome = call("train", "-m", "noise.sigma_max=1,5", *short, "trainer.devices=2", cwd=tmp_path, check=False)
    assert outcome.status == 2
    assert "trainer.devices=2" in outcome.err
    assert "trainer.devices=1" in outcome.err
    assert not list(tmp_path.rglob("*.ckpt"))


def test_several_devices_a_job_train_by_spawning(call: Command, short: list[str], tmp_path: Path) -> None:
    spawn = ["trainer.devices=2", "trainer.strategy=ddp_spawn", "callbacks.progress=null"]
    quiet = "trainer.enable_progress_bar=false"
    call("train", "-m", "noise.sigma_max=5", *short, *spawn, quiet, cwd=tmp_path)
    (sweep,) = (tmp_path / "runs" / "sweeps").iterdir()
    (row,) = table_of(sweep)
    assert row["status"] == "finished"
    assert (jobs_of(sweep)[5] / "checkpoints" / "step_0000004.ckpt").exists()


def test_wandb_sees_a_sweep_as_one_group(
    call: Command, short: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_DIR", "WANDB_MODE", "WANDB_RUN_GROUP"):
        monkeypatch.delenv(name, raising=False)
    wandb = ["logger=wandb", "logger.wandb.offline=true"]
    call("train", "-m", "noise.sigma_max=1,5", "sweep=both", *short, *wandb, cwd=tmp_path)
    runs = [wandb_run(path) for path in sorted(tmp_path.glob("runs/sweeps/both/*/wandb/offline-run-*/*.wandb"))]
    assert len(runs) == 2
    assert {run["group"] for run in runs} == {"both"}
    assert {run["job_type"] for run in runs} == {"train"}
    assert len({run["id"] for run in runs}) == len({run["name"] for run in runs}) == 2
    assert sorted(run["config"]["noise"]["sigma_max"] for run in runs) == [1, 5]
    assert all(run["metrics"]["val/loss"].summary.min for run in runs)
    assert all({"train/loss", "val/loss", "lr", "images_per_second"} <= run["logged"] for run in runs)


needs_optuna = pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_optuna_sweeper") is None, reason="pip install -e '.[search]'"
)


@needs_optuna
def test_a_search_minimises_the_metric_and_survives_failing_trials(
    call: Command, short: list[str], tmp_path: Path
) -> None:
    search = ["-m", "hparams_search=optuna", "hydra.sweeper.n_trials=4", "noise.sigma_max=choice(0.001,5)"]
    call("train", *search, "hydra.sweeper.storage=sqlite:///study.db", "sweep=search", *short, cwd=tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as study:
        assert study.execute("SELECT count(*) FROM trials").fetchone() == (4,)
    rows = table_of(tmp_path / "runs" / "sweeps" / "search")
    best = yaml.safe_load((tmp_path / "runs/sweeps/search/optimization_results.yaml").read_text())
    finished = [float(row["val/loss"]) for row in rows if row["status"] == "finished"]
    assert len({row["optimizer.lr"] for row in rows}) == 4
    assert {row["status"] for row in rows} == {"finished", "failed"}
    assert best["best_value"] == pytest.approx(min(finished))
