"""What trains on damaged images: every damage, pairs of images, one's own, and the regression baseline."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import composed
from PIL import Image

import ncsn
from ncsn.config import check
from ncsn.damage import Pairs
from ncsn.errors import ConfigError, DataError
from ncsn.restoration import Regression
from ncsn.samplers import DPMSolverPP
from ncsn.sampling.tasks import Restore
from ncsn.training.build import plain
from ncsn.training.classes import resolve_conditions
from ncsn.training.continuation import check_same_model

pytestmark = pytest.mark.slow
Command = Callable[..., Any]


def test_a_regression_on_pairs_of_images_is_drawn_in_one_evaluation_and_by_no_sampler(
    quick: list[str], call: Command, only_run: Command, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    for name in ("original", "damaged"):
        (tmp_path / "pairs" / name).mkdir(parents=True)
        for i in range(20):
            pixels = generator.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pairs" / name / f"{i}.png")
    data = ["data=pairs", f"data.root={tmp_path}/pairs", "data.image_size=8", "data.channels=1", "data.flip=true"]
    others = [given for given in quick if not given.startswith("data.root")]
    trained = [*data, "condition=pairs", "objective=regression", "trainer.max_steps=2"]
    call("train", *others, *trained, cwd=tmp_path)
    run = only_run(tmp_path)
    score = ncsn.load_score(run)
    assert score.condition == Pairs()
    assert score.sigmas.tolist() == [1]
    assert score.config["sampler"] == {"_target_": "ncsn.restoration.Regression"}
    assert (run / "pictures" / "step_0000002.png").is_file()

    given = ["trainer.accelerator=cpu", "trainer.devices=1", f"ckpt={run}", "task=restore", "num_samples=2"]
    call("sample", *given, "sampler=recommended", f"out={tmp_path}/out", cwd=tmp_path)  # which is the trained one
    files = ncsn.data.Pairs(root=str(tmp_path / "pairs"), image_size=8, channels=1).files("val")
    with np.load(tmp_path / "out" / "samples.npz") as file:
        pairs, rows = [*file["original"], *file["measured"]], file["arr_0"].reshape(2, 2, 8, 8, 1)
    assert np.array_equal(pairs, [np.asarray(Image.open(path))[..., None] for path in files])
    assert np.array_equal(rows[:, 0], rows[:, 1])  # from other noise the same
    assert not np.array_equal(rows[0], rows[1])
    own = Restore(score=score, sampler=Regression(), images=str(files[2]), num_samples=1)
    assert np.array_equal(255 * own.measured[0, 0], np.asarray(Image.open(files[2])))  # is damaged already
    outcome = call("sample", *given, "sampler=heun", cwd=tmp_path, check=False)
    assert outcome.status == 2
    assert "sampler=ncsn.samplers.Heun: the network was trained with objective=regression" in outcome.err


def test_a_damage_of_ones_own_is_trained_on_and_restored_from_where_it_is_trusted(
    palette: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    config = resolved("model=unet +condition._target_=own_damage.Negative +condition.strength=0.5")
    assert config.model.condition_channels == 1
    content = torch.load(palette / "checkpoints" / "last.ckpt")
    content["hyper_parameters"]["condition"] = dict(config.condition)
    torch.save(content, tmp_path / "own.ckpt")
    with pytest.raises(DataError, match=r"own_damage\.Negative.*trust=\[own_damage\.Negative\]"):
        ncsn.load_score(tmp_path / "own.ckpt")
    score = ncsn.load_score(tmp_path / "own.ckpt", trust=["own_damage.Negative"])
    task = Restore(score=score, sampler=DPMSolverPP(steps=2), num_images=2)
    torch.testing.assert_close(task.measured, 0.5 * (1 - task.original))


def resolved(arguments: str) -> Any:
    return resolve_conditions(check(composed(arguments)))


@pytest.mark.parametrize("name", ["inpaint", "uncrop", "colorize", "jpeg", "super_resolution", "multitask"])
def test_every_damage_trains_the_u_net_of_coloured_images(name: str) -> None:
    config = resolved(f"condition={name} model=unet data=cifar10")
    assert config.model.condition_channels == 3


@pytest.mark.parametrize(
    ("given", "mean", "residual"),
    [("", -1.2, False), ("condition=label", -1.2, False), ("condition=multitask", -0.8, 3.0)],
)
def test_quick_learns_differences_at_larger_noise_where_it_is_given_damaged_images(
    given: str, mean: float, residual: float
) -> None:
    config = resolved(f"experiment=quick data=cifar10 {given} model.num_filters=8 model.multipliers=[1]")
    assert (config.noise.mean, config.model.residual) == (mean, residual)


@pytest.mark.parametrize(
    "more",
    [
        "condition=inpaint",
        "condition=jpeg sampler=ald noise=from_data",
        "condition=inpaint noise=edm sampler=heun experiment=quick model.num_filters=8 model.multipliers=[1]",
    ],
)
def test_regression_has_one_level_whatever_noise_and_sampler_are(more: str) -> None:
    config = resolved(f"model=unet objective=regression {more}")
    assert ncsn.config.build(config.noise, "noise").equal(torch.ones(1))
    assert ncsn.config.build(config.sampler, "sampler") == Regression()


PAIRS = "data=pairs data.root=x data.image_size=32 model=unet"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("condition=inpaint", "condition=inpaint: ncsn.networks.NCSN takes no damaged image (condition_channels)"),
        ("condition=colorize model=unet", "condition=colorize: the images have one channel"),
        ("condition=multitask model=unet", "damages=['colorize', 'inpaint', 'uncrop', 'jpeg']: colorize: the images"),
        ("condition=super_resolution condition.factor=3 model=unet", "factor=3: must divide 8×8 pixels"),
        ("condition=jpeg model=unet model.condition_channels=3", "model.condition_channels=3: the images have 1"),
        ("model=unet model.condition_channels=1", "model.condition_channels=1: goes with condition=inpaint"),
        ("objective=regression model=unet", "objective=regression: estimates images from damaged ones; give cond"),
        ("objective=regression model=unet condition=label", "objective=regression: estimates images from damaged"),
        ("condition=pairs model=unet", "condition=pairs: data=digits; data=pairs and condition=pairs go together"),
        (f"{PAIRS} condition=inpaint", "condition=inpaint: data=pairs; data=pairs and condition=pairs go together"),
        (PAIRS, "condition=null: data=pairs; data=pairs and condition=pairs go together"),
    ],
)
def test_what_cannot_be_trained_is_refused(arguments: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        resolved(arguments)


def test_a_run_does_not_go_on_with_another_damage() -> None:
    inpaint, jpeg = (plain(resolved(f"condition={name} model=unet")) for name in ("inpaint", "jpeg"))
    check_same_model(inpaint, inpaint)
    with pytest.raises(ConfigError, match=r"condition\._target_=ncsn\.damage\.Jpeg: the run to resume has"):
        check_same_model(inpaint, jpeg)


def test_a_run_that_is_older_than_an_argument_goes_on_with_its_default() -> None:
    older, now, other = (plain(resolved(f"model=unet {more}")) for more in ("", "", "model.residual=true"))
    del older["model"]["residual"]
    check_same_model(older, now)
    with pytest.raises(ConfigError, match=r"model\.residual=True: the run to resume has False; leave it"):
        check_same_model(older, other)
