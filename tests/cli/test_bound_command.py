"""`python evaluate.py scores=[bits_per_dim,elbo_bits_per_dim]`: the variational bound beside likelihoods."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ncsn.bound import VariationalBound
from ncsn.checkpoint import load_score
from ncsn.evaluation.per_image import PerImage
from ncsn.random import Draws
from ncsn.sampling.tasks.images import training_data

pytestmark = pytest.mark.slow
Command = Callable[..., Any]

SETTINGS = ["num_images=10", "batch_size=4", "solver=heun", "solver.steps=2", "num_projections=1"]
SETTINGS += ["trainer.accelerator=cpu", "trainer.devices=1"]
BOTH, ALONE = [*SETTINGS, "scores=[bits_per_dim,elbo_bits_per_dim]"], [*SETTINGS, "scores=[elbo_bits_per_dim]"]


def bound_of(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The record, and the terms of each image."""
    (file,) = (path.parents[1] / "bound").glob("*/bound.json")
    with np.load(file.with_suffix(".npz")) as terms:
        return json.loads(file.read_text()), dict(terms)


@pytest.fixture(scope="module")
def bounded(trained: Path, call: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A checkpoint with likelihoods and bounds, and what was printed of them."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("bound") / "run", symlinks=True)
    path = run / "checkpoints" / "step_0000006.ckpt"
    return path, call("evaluate", f"ckpt={path}", *BOTH, cwd=run.parent).out


def test_bounds_are_those_of_the_held_out_images(bounded: tuple[Path, str]) -> None:
    """Every term from the core, image by image; beside the bits, which stay as they were."""
    path, out = bounded
    score, (record, terms) = load_score(path), bound_of(path)
    totals = []
    for number, image in enumerate(training_data(score).images("val")[:10]):
        normal = Draws(0, "bound", number).normal
        found = VariationalBound()(score, image[None], score.sigmas, normal=normal)
        for name in ("prior", "diffusion", "decoder"):
            assert terms[name][number] == pytest.approx(float(getattr(found, name)), rel=1e-4)
        totals.append(float(found.total) / (64 * math.log(2)))
    mean, error = np.mean(totals), np.std(totals, ddof=1) / math.sqrt(10)
    assert record["scores"] == {"elbo_bits_per_dim_10": pytest.approx(mean, rel=1e-4)}
    found_of = record["bound"]
    assert found_of["standard_error"] == pytest.approx(error, rel=1e-3)
    assert found_of["prior"] + found_of["diffusion"] + found_of["decoder"] == pytest.approx(mean, rel=1e-4)
    assert (found_of["images"], found_of["dimensions"], found_of["evaluations"]) == (10, 64, 3)
    assert record["protocol"]["estimator"]["variance"] == "fixed_small"
    assert {"levels", "grey_levels_at", "seed"} <= record["protocol"].keys()
    for shown in ("bits_per_dim_10 ", "elbo_bits_per_dim_10", "diffusion", "likelihood.json", "bound.json"):
        assert shown in out


def test_bounds_shared_by_two_processes_resumed_or_of_a_whole_run(
    bounded: tuple[Path, str], call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are what one process finds at once; by them alone the best checkpoint of a run is chosen."""
    run = shutil.copytree(bounded[0].parents[1], tmp_path / "run", symlinks=True)
    path, (expected, terms) = run / "checkpoints" / bounded[0].name, bound_of(bounded[0])
    before, computed = PerImage.predict_step, []

    def interrupted(self: PerImage, number: int, batch_idx: int) -> int:
        computed.append(number)
        if len(computed) == 2:
            raise KeyboardInterrupt
        return before(self, number, batch_idx)

    shutil.rmtree(run / "bound")
    monkeypatch.setattr(PerImage, "predict_step", interrupted)
    call("evaluate", f"ckpt={path}", *ALONE, cwd=tmp_path, check=False)
    two = ["trainer.devices=2", "trainer.strategy=ddp_fork"]
    call("evaluate", f"ckpt={path}", *ALONE, *two, cwd=tmp_path)
    assert computed == [0, 1]  # in this process; the others are new ones
    found, again = bound_of(path)
    assert found["protocol"] == expected["protocol"]
    for name, values in terms.items():
        np.testing.assert_allclose(again[name], values, rtol=1e-6)
    for other in run.glob("checkpoints/step_*.ckpt"):
        if other != path:
            other.unlink()
    assert "step  bits_per_dim_10" in call("evaluate", f"ckpt={run}", *BOTH, cwd=tmp_path).out
    assert "step  elbo_bits_per_dim_10" in call("evaluate", f"ckpt={run}", *ALONE, cwd=tmp_path).out
