"""What else trains on damaged images: the regression baseline, pairs of images, and a damage of the user's own."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

import ncsn
from ncsn.commands.cli import CONF
from ncsn.config import check
from ncsn.damage import Pairs
from ncsn.errors import ConfigError
from ncsn.restoration import Regression
from ncsn.samplers import DPMSolverPP
from ncsn.sampling.drawing import draw
from ncsn.sampling.tasks import Restore
from ncsn.training.classes import resolve_conditions

pytestmark = pytest.mark.slow
Command = Callable[..., Any]

CPU = ["trainer.accelerator=cpu", "trainer.devices=1"]
QUICK = ["experiment=quick", "model.num_filters=4", "model.multipliers=[1]", "scheduler=constant"]
QUICK += ["trainer.max_time=null", "trainer.max_steps=2", "callbacks.samples.every_n_steps=2"]
QUICK += ["callbacks.samples.num_samples=6"]


@pytest.fixture
def quick(tiny: list[str]) -> list[str]:
    """Overrides for two steps of experiment=quick, with a picture after the last."""
    left_out = ("noise.", "sampler.", "model.", "trainer.max_steps", "callbacks.samples")
    return [*QUICK, *(given for given in tiny if not given.startswith(left_out))]


def test_the_regression_baseline_is_drawn_in_one_evaluation_and_by_no_sampler(
    quick: list[str], call: Command, only_run: Command, tmp_path: Path
) -> None:
    call("train", *quick, "condition=inpaint", "objective=regression", cwd=tmp_path)
    run = only_run(tmp_path)
    score = ncsn.load_score(run)
    assert score.sigmas.tolist() == [1]
    assert score.config["sampler"] == {"_target_": "ncsn.restoration.Regression"}
    assert (run / "pictures" / "step_0000002.png").is_file()
    given = [*CPU, f"ckpt={run}", "task=restore", "task.num_images=2", "num_samples=2"]
    call("sample", *given, "sampler=recommended", f"out={tmp_path}/out", cwd=tmp_path)  # which is the trained one
    with np.load(tmp_path / "out" / "samples.npz") as file:
        rows, original = file["arr_0"].reshape(2, 2, 8, 8, 1), file["original"]
        known = file["measured"] != 128
    assert np.array_equal(rows[:, 0], rows[:, 1])  # from other noise the same
    assert np.array_equal(rows[:, 0][known], original[known])
    assert not np.array_equal(rows[:, 0], original)
    outcome = call("sample", *given, "sampler=heun", cwd=tmp_path, check=False)
    assert outcome.status == 2
    assert "sampler=ncsn.samplers.Heun: the network was trained with objective=regression" in outcome.err


def test_pairs_of_images_are_trained_on_and_restored(
    quick: list[str], call: Command, only_run: Command, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    for name in ("original", "damaged"):
        (tmp_path / "pairs" / name).mkdir(parents=True)
        for i in range(20):
            pixels = generator.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pairs" / name / f"{i}.png")
    data = ["data=pairs", f"data.root={tmp_path}/pairs", "data.image_size=8", "data.channels=1"]
    others = [given for given in quick if not given.startswith("data.root")]
    call("train", *others, *data, "condition=pairs", "data.flip=true", cwd=tmp_path)
    run = only_run(tmp_path)
    score = ncsn.load_score(run)
    assert score.condition == Pairs()
    assert (run / "pictures" / "step_0000002.png").is_file()
    task = Restore(score=score, sampler=DPMSolverPP(steps=2), num_samples=1)
    files = ncsn.data.Pairs(root=str(tmp_path / "pairs"), image_size=8, channels=1).files("val")
    for image, path in zip([*task.original, *task.measured], files, strict=True):
        assert np.array_equal(255 * image[0], np.asarray(Image.open(path)))
    ((_, x),) = draw(task, batch_size=2, seed=0)
    assert x.shape == (2, 1, 8, 8)
    assert x.isfinite().all()
    own = Restore(score=score, sampler=DPMSolverPP(steps=2), images=str(files[2]), num_samples=1)
    assert np.array_equal(255 * own.measured[0, 0], np.asarray(Image.open(files[2])))  # is damaged already


def test_a_damage_of_ones_own_is_trained_on_and_restored_from_where_it_is_trusted(
    quick: list[str], call: Command, only_run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_damage.py").write_text(
        "from ncsn.damage import Damage\n\n\n"
        "class Negative(Damage):\n"
        "    def __init__(self, strength=1.0):\n"
        "        self.strength = strength\n\n"
        "    def __call__(self, images, labels, draws):\n"
        "        return {'damaged': self.strength * (1 - images)}\n"
    )
    own = ["+condition._target_=own_damage.Negative", "+condition.strength=0.5"]
    call("train", *quick, *own, cwd=tmp_path)
    run = only_run(tmp_path)
    given = [*CPU, f"ckpt={run}", "task=restore", "task.num_images=2", "num_samples=1", "sampler.steps=2"]
    outcome = call("sample", *given, cwd=tmp_path, check=False)
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    assert "own_damage.Negative" in line
    assert "trust=[own_damage.Negative]" in line
    call("sample", *given, "trust=[own_damage.Negative]", f"out={tmp_path}/out", cwd=tmp_path)
    with np.load(tmp_path / "out" / "samples.npz") as file:
        expected = (255 - file["original"].astype(float)) / 2
        assert np.abs(file["measured"] - expected).max() <= 1
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["task"]["_target_"] == "ncsn.sampling.tasks.Restore"


def resolved(arguments: str) -> Any:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return resolve_conditions(check(compose("train", arguments.split())))


@pytest.mark.parametrize("more", ["", "sampler=ald noise=from_data", "noise=edm sampler=heun experiment=quick"])
@pytest.mark.parametrize("damage", ["inpaint", "jpeg"])
def test_regression_has_one_level_whatever_noise_and_sampler_are(damage: str, more: str) -> None:
    auto = " model.num_filters=8 model.multipliers=[1]" if "quick" in more else ""
    config = resolved(f"model=unet objective=regression condition={damage} {more}{auto}")
    assert ncsn.config.build(config.noise, "noise").equal(torch.ones(1))
    assert ncsn.config.build(config.sampler, "sampler") == Regression()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "objective=regression model=unet",
            "objective=regression: estimates images from damaged ones; give condition",
        ),
        ("objective=regression model=unet condition=label", "objective=regression: estimates images from damaged"),
        ("condition=pairs model=unet", "condition=pairs: data=digits; data=pairs and condition=pairs go together"),
        (
            "condition=inpaint model=unet data=pairs data.root=x data.image_size=32",
            "condition=inpaint: data=pairs; data=pairs and condition=pairs go together",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(arguments: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        resolved(arguments)
