"""`condition=inpaint` and other damages: training on them, what a checkpoint says, and `task=restore`."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ncsn
from ncsn.checkpoint import TrainedScore
from ncsn.damage import Colorize, Inpaint, Jpeg, Multitask, Uncrop
from ncsn.errors import ConfigError, DataError
from ncsn.random import Draws
from ncsn.restoration import Later
from ncsn.samplers import DPMSolverPP
from ncsn.sampling.tasks import Generate, Restore
from ncsn.score import Filling

pytestmark = pytest.mark.slow
Command = Callable[..., Any]

CPU = ["trainer.accelerator=cpu", "trainer.devices=1"]


def test_the_checkpoint_carries_its_damage_and_a_run_goes_on_bit_for_bit(
    palette: Path, call: Command, tmp_path: Path
) -> None:
    score = ncsn.load_score(palette)
    assert score.condition == Multitask(["uncrop", "jpeg"])
    assert score.config["model"]["condition_channels"] == 1
    width, height = Image.open(palette / "pictures" / "step_0000002.png").size  # an image: damaged, 4 samples, itself
    assert width / height == pytest.approx(6, rel=0.1)
    run = shutil.copytree(palette, tmp_path / "run", symlinks=True)
    (run / "checkpoints" / "step_0000004.ckpt").unlink()
    call("train", f"resume={run}", cwd=tmp_path)
    states = [torch.load(folder / "checkpoints/step_0000004.ckpt") for folder in (run, palette)]
    for key in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(states[0][key], states[1][key], rtol=0, atol=0)


def test_restored_images_lie_between_the_damaged_ones_and_the_originals(
    palette: Path, call: Command, tmp_path: Path
) -> None:
    given = [*CPU, f"ckpt={palette}", "task.num_images=3", "num_samples=2", "sampler.steps=2"]
    found = {}
    for name, size in {"uncrop": 4, "jpeg": 6}.items():
        out = tmp_path / name
        call(
            "sample", *given, "task=restore", f"task.damage={name}", f"batch_size={size}", f"out={out}", cwd=tmp_path
        )
        with np.load(out / "samples.npz") as file:
            found[name] = dict(file)
        assert json.loads((out / "settings.json").read_text())["task"]["damage"] == name
        width, height = Image.open(out / "grid.png").size
        assert width / height == pytest.approx(4 / 3, rel=0.05)
    samples, measured, original = (found["uncrop"][key] for key in ("arr_0", "measured", "original"))
    assert (samples.shape, measured.shape) == ((6, 8, 8, 1), (3, 8, 8, 1))
    missing = (measured == 128) & (measured != original)
    assert 0.3 < missing.mean() < 0.55
    assert np.array_equal(measured[~missing], original[~missing])
    rows = samples.reshape(3, 2, 8, 8, 1)
    known = ~missing & (measured != 128)
    for i in range(2):
        assert np.array_equal(rows[:, i][known], original[known])
    assert not np.array_equal(rows[:, 0], rows[:, 1])
    lost = np.abs(found["jpeg"]["measured"].astype(int) - original).mean()
    assert 1 < lost < 40
    outcome = call("sample", *given, "task=inpaint", f"out={tmp_path / 'none'}", cwd=tmp_path, check=False)
    assert (outcome.status, "task: the network restores images" in outcome.err) == (2, True), outcome.err


def test_photographs_by_tiles_from_where_a_call_was_ended(palette: Path, call: Command, tmp_path: Path) -> None:
    """And a trajectory, single files, another seed; by default of 20 evaluations."""
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (11, 20), dtype=np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.jpg", quality=10)
    given = [f"ckpt={palette}", "task=restore", "task.damage=jpeg", f"task.images={tmp_path / 'photos'}"]
    given += [*CPU, "task.damaged=true", "task.size=original", "num_samples=2", "batch_size=3"]
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    outcome = call("sample", *given, "trajectory=2", f"out={one}", cwd=tmp_path)
    assert "sampler=recommended: SDE-DPM-Solver++(2M), since UNet is of the form edm, clipped" in outcome.out
    assert json.loads((one / "settings.json").read_text())["sampler"]["steps"] == 20
    shutil.copytree(one, two)
    for name in ("batches/00000.npy", "samples.npz", "trajectory.png"):
        (two / name).unlink()
    call("sample", *given, "trajectory=2", "format=png", f"out={two}", cwd=tmp_path)
    with np.load(one / "samples.npz") as file:
        samples, measured = file["arr_0"], file["measured"]
        assert (samples.shape, sorted(file)) == ((4, 11, 20, 1), ["arr_0", "measured"])
    for folder, arrays in {"images": samples, "measured": measured}.items():
        files = sorted((two / folder).iterdir())
        assert np.array_equal([np.asarray(Image.open(f)) for f in files], arrays[..., 0])
    assert (two / "trajectory.png").read_bytes() == (one / "trajectory.png").read_bytes()
    assert not (two / "original").exists()
    call("sample", *given, "seed=1", "sampler.steps=2", f"out={other}", cwd=tmp_path)
    with np.load(other / "samples.npz") as file:
        assert np.array_equal(file["measured"], measured)
        assert not np.array_equal(file["arr_0"], samples)


def test_a_panorama_goes_on_from_held_out_images(palette: Path, call: Command, tmp_path: Path) -> None:
    given = [*CPU, f"ckpt={palette}", "task=panorama", "task.times=2", "task.num_images=2", "sampler.steps=2"]
    call("sample", *given, f"out={tmp_path / 'out'}", cwd=tmp_path)
    with np.load(tmp_path / "out" / "samples.npz") as file:
        assert file["arr_0"].shape == (2, 8, 16, 1)
        assert np.array_equal(file["arr_0"][:, :, :8], file["measured"][:, :, :8])


@pytest.fixture
def trained_for(palette: Path) -> Callable[[Any], TrainedScore]:
    score = ncsn.load_score(palette)
    return lambda condition: replace(score, condition=condition)


def test_an_image_is_damaged_the_same_whatever_is_beside_it(trained_for: Callable[[Any], TrainedScore]) -> None:
    def given(condition: Any, **options: Any) -> Restore:
        return Restore(score=trained_for(condition), sampler=DPMSolverPP(steps=2), **options)

    few, many = given(Uncrop(), num_images=2), given(Uncrop(), num_images=5)
    for name, rows in few.condition.items():
        assert torch.equal(many.condition[name][:2], rows)
    other = given(Uncrop(), num_images=5, damage_seed=1)
    assert not torch.equal(other.condition["damaged"], many.condition["damaged"])
    assert other.identity != many.identity
    score = many.score_of(range(3, 9), Draws(0))  # of images 0, 1 and 2, four samples each
    assert isinstance(score, Filling)
    assert torch.equal(score.image, many.condition["damaged"][[0, 1, 1, 1, 1, 2]])
    assert many.num_steps == 3
    whole = given(Jpeg(), num_images=2)
    assert not isinstance(whole.score_of(range(8), Draws(0)), Filling)
    assert whole.sampler_of(range(8), Draws(0)) == Later(whole.sampler, whole.first_level)
    assert whole.num_steps == 2


@pytest.mark.parametrize(
    ("kind", "condition", "options", "message"),
    [
        (Restore, None, {}, "task=restore: the network was given no damaged images in training"),
        (Restore, Jpeg(), {"damage": "uncrop"}, "task.damage=uncrop: the network was trained on jpeg"),
        (Restore, Multitask(["uncrop", "jpeg"]), {"damage": "colorize"}, "the network was trained on uncrop, jpeg"),
        (Restore, Colorize(), {}, "task: the images have one channel"),
        (Restore, Jpeg(), {"label": 3}, "label=3: the network was trained without labels"),
        (Generate, Inpaint(), {}, "task: the network restores images (condition=inpaint)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    kind: Any, condition: Any, options: Any, message: str, trained_for: Callable[[Any], TrainedScore]
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        kind(score=trained_for(condition), sampler=DPMSolverPP(), **options)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (None, "its network is given images, and no condition says which"),
        ({"_target_": "ncsn.conditions.Label", "num_classes": 3}, "its network has None classes"),
        ({"_target_": "ncsn.damage.Jpeg", "lowest": 0}, "its condition cannot be built"),
        ({"_target_": "ncsn.damage.jpeg.jpeg"}, "refused, and nothing in it was run"),
    ],
)
def test_a_file_that_says_something_else_is_refused(
    condition: Any, message: str, palette: Path, tmp_path: Path
) -> None:
    content = torch.load(palette / "checkpoints" / "last.ckpt")
    content["hyper_parameters"]["condition"] = condition
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(DataError, match=re.escape(message)):
        ncsn.load_score(tmp_path / "a.ckpt")
