"""`speed=auto`: when a network is compiled, and that a run which goes on keeps it."""

from pathlib import Path

import pytest
from composing import composed
from omegaconf import DictConfig

from ncsn.commands.train import Job
from ncsn.runs.folder import Run
from ncsn.training import earned
from ncsn.training.budget import resolve_width


def auto(overrides: str) -> DictConfig:
    return composed(f"data=digits model.num_filters=4 trainer.accelerator=cpu speed=auto {overrides}")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ("trainer.max_steps=10000", False),  # of 0.1 s each
        ("trainer.max_steps=20000", True),
        ("trainer.max_steps=10000 trainer.accumulate_grad_batches=2", True),
        ("trainer.max_steps=20000 trainer.max_time=00:00:20:00", False),
        ("noise=from_data trainer.max_steps=10000", False),
        ("trainer.max_steps=20000 model=energy", False),
        ("trainer.max_steps=20000 objective=ssm", False),
        ("experiment=quick trainer.max_time=00:01:00:00", True),
    ],
)
def test_what_is_long_enough_is_compiled(overrides: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earned, "seconds_per", lambda step, device: step() or 0.1)
    monkeypatch.setattr("ncsn.networks.compiled.has_fast_bfloat16", lambda device_type: True)
    found = earned.resolve_compile(resolve_width(auto(overrides)))
    assert found.compile is expected
    assert found.trainer.precision == ("bf16-mixed" if expected else "32-true")


@pytest.mark.parametrize(("hours", "expected"), [(5, False), (7, True)])
def test_in_float32_it_takes_longer(hours: int, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncsn.networks.compiled.has_fast_bfloat16", lambda device_type: False)
    found = earned.resolve_compile(auto(f"trainer.max_steps=-1 trainer.max_time=00:0{hours}:00:00"))
    assert (found.compile, found.trainer.precision) == (expected, "32-true")


def test_a_run_that_goes_on_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", "speed=auto"])
    monkeypatch.setattr(earned, "_seconds_of_training", lambda config, enough: 1e5)
    job = Job(Run(tmp_path), in_sweep=False, overrides=["speed=auto"], holds_a_run=False)
    assert job.with_compile(auto("trainer.max_steps=9")).compile is True
    assert job.overrides == ["speed=auto", "compile=true"]
    assert composed(f"data=digits {' '.join(job.overrides)}").compile is True


def test_a_job_that_was_there_before_is_the_same_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earned, "_seconds_of_training", lambda config, enough: 1e5)
    (tmp_path / "config.yaml").write_text("compile: false")
    job = Job(Run(tmp_path), in_sweep=True, overrides=[], holds_a_run=True)
    assert job.with_compile(auto("trainer.max_steps=9")).compile is False
