"""`ncsn evaluate task=restore`: restored images beside the damaged ones, other methods and the originals."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from PIL import Image

import ncsn
from ncsn.commands.cli import CONF
from ncsn.commands.evaluate import evaluate
from ncsn.damage import Colorize, Inpaint, Jpeg, Multitask, SuperResolution
from ncsn.errors import ConfigError
from ncsn.random import Draws
from ncsn.restoration import KnownBlocks, KnownGrey, KnownPixels
from ncsn.samplers import DPMSolverPP
from ncsn.sampling.tasks import Restore
from ncsn.sampling.tasks.algorithm2 import Algorithm2, known_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("judging")]
Command = Callable[..., Any]

CPU = ["trainer.accelerator=cpu", "trainer.devices=1"]
JUDGED = [*CPU, "sampler.steps=2", "num_images=20", "num_samples=2", "batch_size=16"]


@pytest.fixture(scope="module")
def folder(palette: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`run`, on two damages; `uncrop.ckpt`, the same weights as a network for one of them; `plain`, on none."""
    folder = tmp_path_factory.mktemp("judged")
    for name, run in {"run": palette, "plain": trained}.items():
        shutil.copytree(run, folder / name, symlinks=True)
    content = torch.load(palette / "checkpoints" / "last.ckpt")
    content["hyper_parameters"]["condition"] = {"_target_": "ncsn.damage.Uncrop"}
    torch.save(content, folder / "uncrop.ckpt")
    return folder


@pytest.fixture(scope="module")
def judged(folder: Path, call: Command) -> tuple[dict[str, Any], str]:
    """The record on one of the damages, and what was printed."""
    arguments = ["ckpt=run", "task=restore", "task.damage=uncrop", "against=[uncrop.ckpt,plain]"]
    outcome = call("evaluate", *arguments, *JUDGED, "features=classifier", cwd=folder)
    return json.loads((samples(folder, "run") / "evaluation.json").read_text()), outcome.out


def test_methods_restore_the_very_same_images(judged: tuple[dict[str, Any], str], folder: Path) -> None:
    record, printed = judged
    rows = {row["name"]: row for row in record["restoration"]["methods"]}
    assert list(rows) == ["damaged", "restored", "uncrop.ckpt", "Algorithm 2, plain", "originals"]
    ours, algorithm2 = rows["restored"], rows["Algorithm 2, plain"]
    assert ours["scores"] == rows["uncrop.ckpt"]["scores"]  # the same weights under another name
    assert ours["scores"] != algorithm2["scores"]
    assert algorithm2["network_evaluations"] == 6
    assert rows["originals"]["scores"]["ssim"] == pytest.approx(1, abs=1e-3)
    assert rows["originals"]["scores"]["classifier_frechet_20"] < 1e-5
    for row, step in ((ours, 4), (algorithm2, 6)):
        assert row["scores"].keys() == {
            *("psnr", "ssim", "classifier_distance", "classifier_frechet_20", "classifier_accuracy"),
            *("classifier_diversity", "pixel_diversity"),
        }
        assert row["scores"]["pixel_diversity"] > 0
        assert row["checkpoint"]["step"] == step
    found = [files(samples(folder, name)) for name in ("run", "plain")]
    original, measured = (found[0][key].astype(float) for key in ("original", "measured"))
    for name in ("original", "measured"):
        assert np.array_equal(found[0][name], found[1][name])
    known = (measured != 128) & (measured == original)
    assert known.mean() > 0.4
    for images in found:
        for k in range(2):  # of all methods, what was known is there exactly, each image with a hole of its own
            assert np.array_equal(images["arr_0"][k::2][known], original[known])
    errors = ((measured - original) ** 2).mean((1, 2, 3)) / 255**2
    expected = (-10 * np.log10(errors)).mean()
    assert rows["damaged"]["scores"]["psnr"] == pytest.approx(expected, rel=1e-5)

    # 16 rows of pictures: damaged, two samples, one of each other method, original; a pixel is 11, a gap too
    picture = np.asarray(Image.open(samples(folder, "run") / "methods.png"))[..., 0]
    assert picture.shape == (16 * 99 + 11, 6 * 99 + 11)
    shown = picture[16::11, 16::11].reshape(16, 9, -1)[:, :8]
    shown = np.stack([shown[:, :, 9 * k : 9 * k + 8] for k in range(6)])[..., None]
    first, second = found[0]["arr_0"], found[1]["arr_0"]
    columns = (measured, first[::2], first[1::2], first[::2], second[::2], original)
    assert np.array_equal(shown, [column[:16] for column in columns])
    width, height = Image.open(samples(folder, "run") / "grid.png").size
    assert height / width == pytest.approx(16 / 4, rel=0.05)

    (line,) = (line for line in printed.splitlines() if line.startswith("  restored "))
    assert line.split()[1:-1] == [f"{round(value, 6):.4g}" for value in ours["scores"].values()]
    assert "20 of val, uncrop, 2 samples of each" in printed
    report = (folder / "run" / "report.html").read_text()
    assert "in each row: damaged; restored (2), uncrop.ckpt, Algorithm 2, plain; original" in report
    assert ">Restoration<" in report
    assert "Algorithm 2, " in report


def test_what_was_drawn_is_not_drawn_again_and_jpeg_is_told_by_quality_without_features(
    judged: tuple[dict[str, Any], str],
    folder: Path,
    call: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    run = shutil.copytree(folder / "run", tmp_path / "run", symlinks=True)
    arguments = [f"ckpt={run}", "task=restore", *JUDGED, "features=none"]
    with monkeypatch.context() as patch:
        patch.setattr("ncsn.sampling.drawing.Drawing.predict_step", lambda *_: pytest.fail("drawn again"))
        call("evaluate", *arguments, "task.damage=uncrop", cwd=tmp_path)
    record = json.loads((samples(tmp_path, "run") / "evaluation.json").read_text())
    assert [row["name"] for row in record["restoration"]["methods"]] == ["damaged", "restored", "originals"]
    assert record["scores"] == {name: judged[0]["scores"][name] for name in ("psnr", "ssim", "pixel_diversity")}
    outcome = call("evaluate", *arguments, "task.damage=jpeg", f"out={tmp_path / 'jpeg'}", cwd=tmp_path)
    record = json.loads((tmp_path / "jpeg" / "evaluation.json").read_text())
    bins = record["restoration"]["by_quality"]
    assert sum(entry["count"] for entry in bins) == 20
    assert "psnr by quality" in outcome.out
    damaged = record["restoration"]["methods"][0]["scores"]["psnr"]
    assert sum(entry["count"] * entry["psnr"][0] for entry in bins) / 20 == pytest.approx(damaged, rel=1e-6)


@pytest.fixture(scope="module")
def composed() -> DictConfig:
    """What `ncsn evaluate task=restore` is asked for, on as few images as can be."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("evaluate", ["task=restore", "ckpt=run", *CPU, "features=classifier", "num_images=20"])
    OmegaConf.set_struct(config, False)
    return config


WRONG = [
    ("ckpt=null samples=x.npz", ["task=restore", "ckpt="]),
    ("label=3", ["label=3", "task=restore"]),
    ("scores=[frechet]", ["scores=", "task=restore"]),
    ("reference=val", ["reference=val", "task=restore"]),
    ("data._target_=ncsn.data.MNIST data.root=x", ["data", "task=restore"]),
    ("task.damaged=true", ["task.damaged=true", "no originals"]),
    ("task.size=original", ["task.size=original", "the network's size"]),
    ("task.num_images=30", ["task.num_images=30", "num_images=30"]),
    ("num_images=10 task.num_images=10", ["num_images=10", "at least 20"]),
    ("num_samples=0", ["num_samples=0", "at least 1"]),
    ("task.damage=inpaint", ["task.damage=inpaint", "uncrop, jpeg"]),
    ("ckpt=plain", ["given no damaged images"]),
    ("task.damage=jpeg against=plain", ["against=", "Algorithm 2 restores holes", "not jpeg"]),
    ("against=plain", ["against=", "not multitask"]),
    ("against=uncrop.ckpt", ["against=", "in another way", "task.damage=jpeg"]),
    ("task.damage=jpeg against=uncrop.ckpt", ["against=", "task.damage=jpeg", "trained on uncrop"]),
    ("task.damage=uncrop against=[uncrop.ckpt,uncrop.ckpt]", ["against=", "different"]),
    ("task=Colorize", ["task: Colorize", "task=generate and task=restore"]),
    ("task=Generate", ["num_images=20", "task=restore"]),
    ("task=Generate num_images=null ckpt=plain against=[a,b]", ["against=", "task=restore"]),
    ("task=Generate features._target_=null", ["features=none", "task=restore"]),
    ("task=Generate num_images=null ckpt=uncrop.ckpt", ["the network restores images"]),
]


@pytest.mark.parametrize(("arguments", "told"), WRONG, ids=[arguments for arguments, _ in WRONG])
def test_what_makes_no_sense_is_told_in_one_line(
    arguments: str, told: list[str], folder: Path, composed: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    config = composed.copy()
    for given in arguments.split():
        key, _, value = given.partition("=")
        new = {"_target_": f"ncsn.sampling.tasks.{value}"} if key == "task" else yaml.safe_load(value)
        OmegaConf.update(config, key, new, merge=False)
    before = list(folder.glob("*/samples/*"))
    with pytest.raises(ConfigError) as refused:
        evaluate(config)
    assert "\n" not in str(refused.value)
    assert [word for word in told if word not in str(refused.value)] == []
    assert list(folder.glob("*/samples/*")) == before


def test_algorithm_2_knows_what_each_damage_has_left(palette: Path, trained: Path) -> None:
    images = Draws(0).uniform(3, 3, 8, 8)
    for damage, kind in ((Colorize(), KnownGrey), (SuperResolution(2), KnownBlocks), (Inpaint(), KnownPixels)):
        given = damage(images, None, Draws(1))
        known = known_of(damage, given)
        assert isinstance(known, kind)
        torch.testing.assert_close(known(given["damaged"]), known(images))
    holes = Multitask(["uncrop", "inpaint"])
    given = holes(images, None, Draws(1))
    assert torch.equal(known_of(holes, given)(given["damaged"]), images * ~given["hole"])
    for damage in (Jpeg(), Multitask(["inpaint", "jpeg"])):
        with pytest.raises(ValueError, match="Algorithm 2 restores holes"):
            known_of(damage, damage(images, None, Draws(0)))

    restored = Restore(
        score=ncsn.load_score(palette), sampler=DPMSolverPP(steps=2), damage="uncrop", num_samples=2, num_images=4
    )
    options: dict[str, Any] = {"score": ncsn.load_score(trained), "sampler": DPMSolverPP(steps=2), "num_samples": 2}
    task = Algorithm2(**options, num_images=4, restored=restored)
    sampler = task.sampler_of(range(3, 6), Draws(0))  # of images 1, 2 and 2
    x = torch.zeros(3, 1, 8, 8)
    hole = restored.condition["hole"][[1, 2, 2]]
    kept = torch.where(hole, torch.zeros(()), restored.condition["damaged"][[1, 2, 2]])
    assert torch.equal(sampler.project(sampler.image), kept)  # type: ignore[attr-defined]
    assert x.shape == sampler.image.shape  # type: ignore[attr-defined]
    assert (task.num_chains, task.num_steps) == (8, DPMSolverPP(steps=2).num_steps(3) + 1)
    assert "restored" not in task.identity
    json.dumps(task.identity)


def files(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "samples.npz") as file:
        return dict(file)


def samples(folder: Path, run: str) -> Path:
    """The one folder of samples of a run."""
    (found,) = (folder / run / "samples").iterdir()
    return found
