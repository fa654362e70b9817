"""What earlier versions wrote still loads, and a run of theirs still goes on: the files in tests/compatibility."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ncsn import load_score
from ncsn.evaluation import classifier
from ncsn.networks import NCSN

Command = Callable[..., Any]

HERE = Path(__file__).parent / "compatibility"


@pytest.mark.parametrize("name", ["run", "run/checkpoints/step_0000004.ckpt", "network.safetensors"])
def test_networks_load(name: str) -> None:
    score = load_score(HERE / name)
    assert isinstance(score.network, NCSN)
    assert (score.step, score.weights, score.image_shape) == (4, "ema", (1, 8, 8))
    torch.testing.assert_close(score.sigmas, torch.tensor([1.0, 0.1, 0.01]))
    assert score.config["sampler"]["_target_"] == "ncsn.samplers.AnnealedLangevin"
    assert torch.isfinite(score(torch.rand(2, 1, 8, 8), score.sigmas[:2])).all()


@pytest.mark.slow
def test_a_run_goes_on_and_is_sampled_and_evaluated(
    call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "MIN_STEPS", 40)  # a classifier of two seconds instead of twenty
    monkeypatch.setattr(classifier, "EPOCHS", 0)
    run = tmp_path / "run"
    shutil.copytree(HERE / "run", run, symlinks=True)
    drawn = run / "samples" / "step_0000004_ema_e82b9dc7"
    before = np.load(drawn / "samples.npz")["arr_0"]
    settings = json.loads((drawn / "settings.json").read_text())

    call("train", f"resume={run}", "trainer.max_steps=6", cwd=tmp_path)
    newest = torch.load(run / "checkpoints" / "step_0000006.ckpt", weights_only=True)
    assert newest["global_step"] == 6

    cpu = ["trainer.accelerator=cpu", "sampler.steps_per_level=1"]
    call("sample", f"ckpt={run}", "num_samples=4", *cpu, f"out={tmp_path}/new", cwd=tmp_path)
    assert np.load(tmp_path / "new" / "samples.npz")["arr_0"].shape == (4, 8, 8, 1)
    again = [f"num_samples={len(before)}", f"batch_size={settings['batch_size']}", "trainer.accelerator=cpu"]
    call("sample", f"ckpt={run}/checkpoints/step_0000004.ckpt", *again, f"out={tmp_path}/again", cwd=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "again" / "samples.npz")["arr_0"], before)

    scoring = ["features=classifier", "scores=[frechet]", "num_samples=20", "batch_size=20", *cpu]
    call("evaluate", f"ckpt={run}", *scoring, cwd=tmp_path)
    curve = json.loads((run / "evaluation" / "curve.json").read_text())
    assert [entry["step"] for entry in curve["checkpoints"]] == [4, 6]
