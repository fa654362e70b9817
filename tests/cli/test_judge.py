"""`ncsn evaluate task=restore`: restored images beside the damaged ones, other methods and the originals."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ncsn
from ncsn.damage import Colorize, Inpaint, Jpeg, Multitask, SuperResolution
from ncsn.random import Draws
from ncsn.restoration import KnownBlocks, KnownGrey, KnownPixels
from ncsn.samplers import DPMSolverPP
from ncsn.sampling.tasks import Restore
from ncsn.sampling.tasks.algorithm2 import Algorithm2, known_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("judging")]
Command = Callable[..., Any]

CPU = ["trainer.accelerator=cpu", "trainer.devices=1"]
QUICK = ["experiment=quick", "model.num_filters=4", "model.multipliers=[1]", "trainer.max_time=null"]
JUDGED = [*CPU, "features=classifier", "sampler.steps=2", "num_images=20", "num_samples=2", "batch_size=16"]


@pytest.fixture(scope="module")
def palette(call: Command, tiny: list[str], only_run: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two damages; beside it, `uncrop.ckpt`, the same weights as a network for one of them."""
    cwd = tmp_path_factory.mktemp("palette")
    own = [given for given in tiny if not given.startswith(("noise.", "sampler.", "model."))]
    damages = ["condition=multitask", "condition.damages=[uncrop,jpeg]"]
    call("train", *QUICK, *own, *damages, "trainer.max_steps=4", "sampler.steps=2", "scheduler=constant", cwd=cwd)
    run = only_run(cwd)
    content = torch.load(run / "checkpoints" / "last.ckpt")
    content["hyper_parameters"]["condition"] = {"_target_": "ncsn.damage.Uncrop"}
    torch.save(content, cwd / "uncrop.ckpt")
    return run


@pytest.fixture(scope="module")
def judged(palette: Path, trained: Path, call: Command) -> tuple[dict[str, Any], Path, str]:
    """The record on one of the damages, its folder, and what was printed; Algorithm 2 is that of the tiny run."""
    algorithm2 = shutil.copytree(trained, palette.parent / "unconditional", symlinks=True)
    others = f"against=[{palette.parents[2] / 'uncrop.ckpt'},{algorithm2}]"
    arguments = [f"ckpt={palette}", "task=restore", "task.damage=uncrop", others]
    outcome = call("evaluate", *arguments, *JUDGED, cwd=palette.parent)
    (folder,) = (palette / "samples").glob("*_restore_*")
    return json.loads((folder / "evaluation.json").read_text()), folder, outcome.out


def test_methods_restore_the_very_same_images(judged: tuple[dict[str, Any], Path, str], palette: Path) -> None:
    record, folder, printed = judged
    rows = {row["name"]: row for row in record["restoration"]["methods"]}
    _, ours, same, algorithm2, _ = rows
    assert list(rows) == [
        "damaged",
        "restored",
        str(palette.parents[2] / "uncrop.ckpt"),
        f"Algorithm 2, {palette.parent / 'unconditional'}",
        "originals",
    ]
    assert rows[ours]["scores"] == rows[same]["scores"]  # the same weights under another name
    assert rows[ours]["scores"] != rows[algorithm2]["scores"]
    assert rows[algorithm2]["network_evaluations"] == 6
    assert rows["originals"]["scores"]["ssim"] == pytest.approx(1, abs=1e-3)
    assert rows["originals"]["scores"]["classifier_frechet_20"] < 1e-5
    for name in ("restored", algorithm2):
        assert rows[name]["scores"].keys() == {
            *("psnr", "ssim", "classifier_distance", "classifier_frechet_20", "classifier_accuracy"),
            *("classifier_diversity", "pixel_diversity"),
        }
        assert rows[name]["scores"]["pixel_diversity"] > 0
        assert rows[name]["checkpoint"]["step"] == {"restored": 4}.get(name, 6)
    found = {row: files(place) for row, place in (("ours", folder), ("theirs", folder_of_algorithm2(palette)))}
    original, measured = (found["ours"][key].astype(float) for key in ("original", "measured"))
    for name in ("original", "measured"):
        assert np.array_equal(found["ours"][name], found["theirs"][name])
    known = (measured != 128) & (measured == original)
    assert known.mean() > 0.4
    for images in found.values():
        for k in range(2):  # of all methods, what was known is there exactly, each image with a hole of its own
            assert np.array_equal(images["arr_0"][k::2][known], original[known])
    errors = ((measured - original) ** 2).mean((1, 2, 3)) / 255**2
    expected = (-10 * np.log10(errors)).mean()
    assert rows["damaged"]["scores"]["psnr"] == pytest.approx(expected, rel=1e-5)

    (line,) = (line for line in printed.splitlines() if line.startswith("  restored "))
    values = rows["restored"]["scores"].values()
    assert line.split()[1:-1] == [f"{round(value, 6):.4g}" for value in values]
    assert "20 of val, uncrop, 2 samples of each" in printed
    report = (palette / "report.html").read_text()
    assert ">Restoration<" in report
    assert "Algorithm 2, " in report


def test_what_was_drawn_is_not_drawn_again_and_jpeg_is_told_by_quality(
    judged: tuple[dict[str, Any], Path, str],
    palette: Path,
    call: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    run = shutil.copytree(palette, tmp_path / "run", symlinks=True)
    arguments = [f"ckpt={run}", "task=restore", *JUDGED]
    with monkeypatch.context() as patch:
        patch.setattr("ncsn.sampling.drawing.Drawing.predict_step", lambda *_: pytest.fail("drawn again"))
        call("evaluate", *arguments, "task.damage=uncrop", cwd=tmp_path)
    (folder,) = (run / "samples").glob("*_restore_*")
    record = json.loads((folder / "evaluation.json").read_text())
    assert [row["name"] for row in record["restoration"]["methods"]] == ["damaged", "restored", "originals"]
    assert record["scores"] == judged[0]["scores"]
    outcome = call("evaluate", *arguments, "task.damage=jpeg", f"out={tmp_path / 'jpeg'}", cwd=tmp_path)
    record = json.loads((tmp_path / "jpeg" / "evaluation.json").read_text())
    bins = record["restoration"]["by_quality"]
    assert sum(entry["count"] for entry in bins) == 20
    assert "psnr by quality" in outcome.out
    damaged = record["restoration"]["methods"][0]["scores"]["psnr"]
    assert sum(entry["count"] * entry["psnr"][0] for entry in bins) / 20 == pytest.approx(damaged, rel=1e-6)


WRONG = [
    ("samples=x.npz", ["task=restore", "ckpt="]),
    ("ckpt={run} label=3", ["label=3", "task=restore"]),
    ("ckpt={run} scores=[frechet]", ["scores=", "task=restore"]),
    ("ckpt={run} reference=val", ["reference=val", "task=restore"]),
    ("ckpt={run} data=mnist", ["data", "task=restore"]),
    ("ckpt={run} num_images=10", ["num_images=10", "at least 20"]),
    ("ckpt={run} num_samples=0", ["num_samples=0", "at least 1"]),
    ("ckpt={run} task.damage=inpaint", ["task.damage=inpaint", "uncrop, jpeg"]),
    ("ckpt={plain}", ["given no damaged images"]),
    ("ckpt={run} task.damage=jpeg against={plain}", ["against=", "Algorithm 2 restores holes", "not jpeg"]),
    ("ckpt={run} against={plain}", ["against=", "not multitask"]),
    ("ckpt={run} against={one}", ["against=", "in another way", "task.damage=jpeg"]),
    ("ckpt={run} task.damage=jpeg against={one}", ["against=", "task.damage=jpeg", "trained on uncrop"]),
    ("ckpt={run} task.damage=uncrop against=[{one},{one}]", ["against=", "different"]),
    ("ckpt={run} task=colorize", ["task: Colorize", "task=generate and task=restore"]),
    ("ckpt={plain} task=generate num_images=30", ["num_images=30", "task=restore"]),
    ("ckpt={plain} task=generate against=[a,b]", ["against=", "task=restore"]),
    ("ckpt={run} task=generate", ["the network restores images"]),
]


@pytest.mark.parametrize(("arguments", "told"), WRONG, ids=[arguments for arguments, _ in WRONG])
def test_what_makes_no_sense_is_told_in_one_line(
    arguments: str, told: list[str], palette: Path, trained: Path, call: Command, tmp_path: Path
) -> None:
    given = arguments.format(run=palette, plain=trained, one=palette.parents[2] / "uncrop.ckpt").split()
    few = [] if "num_images" in arguments else ["num_images=20"]  # which are damaged in no time
    task = [] if any(word.startswith("task=") for word in given) else ["task=restore", *few]
    before = list(palette.glob("samples/*"))
    outcome = call("evaluate", *CPU, "features=classifier", *task, *given, cwd=tmp_path, check=False)
    (line,) = outcome.err.splitlines()
    assert (outcome.status, line.startswith("error: ")) == (2, True)
    assert [word for word in told if word not in line] == []
    assert list(palette.glob("samples/*")) == before


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


def folder_of_algorithm2(palette: Path) -> Path:
    (folder,) = (palette.parent / "unconditional" / "samples").glob("*_algorithm2_*")
    return folder
