"""The protocol for restored images: its record, its table, and what it computes once."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from judged import Averages
from lightning import Trainer

from ncsn.damage import Damage, Jpeg, Uncrop
from ncsn.evaluation import judge as judging
from ncsn.evaluation.evaluator import Origin
from ncsn.evaluation.extraction import extract_shared
from ncsn.evaluation.judge import Judge, Restored
from ncsn.evaluation.restoration import HIGHEST_PSNR
from ncsn.evaluation.table import table
from ncsn.images import to_uint8
from ncsn.random import Draws
from ncsn.report.restoration import restoration
from ncsn.runs.contents import Contents

N, K = 20, 2


@pytest.fixture
def cpu() -> Trainer:
    return Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False)


def given(damage: Damage) -> Any:
    """The part of a task that a judge looks at."""
    images = (Draws(0, "images").uniform(N, 1, 16, 16) * 255).round().byte()
    measured = torch.cat(
        [damage(x[None] / 255, None, Draws(0, "damage", i))["damaged"] for i, x in enumerate(images)]
    )
    score = SimpleNamespace(condition=damage)
    return SimpleNamespace(
        given=images,
        original=images / 255,
        measured=measured,
        count=K,
        score=score,
        damage=None,
        damage_seed=0,
        images="val",
    )


def restored(images: torch.Tensor, folder: Path, name: str) -> Restored:
    """K samples of each, as `draw_into` leaves them."""
    folder.mkdir(parents=True)
    np.savez(folder / "samples.npz", arr_0=images.permute(0, 2, 3, 1).numpy())
    (folder / "settings.json").write_text("{}")
    return Restored(name, folder, Origin())


def test_a_perfect_restoration_a_poor_one_and_the_damaged_images(
    cpu: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, network = given(Jpeg()), Averages()
    perfect = task.given.repeat_interleave(K, 0)
    folder = tmp_path / "run" / "samples" / "perfect"
    methods = [restored(perfect, folder, "restored"), restored(255 - perfect, tmp_path / "poor", "poor")]
    judge, parts = Judge(cpu, network, task, None, batch_size=6), []

    def extract(*arguments: Any) -> Any:
        parts.append(arguments[-1])
        return extract_shared(*arguments)

    monkeypatch.setattr(judging, "extract_shared", extract)
    record = judge(methods, {"sampling": 1.0})
    assert record is not None
    assert record == json.loads((folder / "evaluation.json").read_text())
    rows = {row["name"]: row["scores"] for row in record["restoration"]["methods"]}
    assert list(rows) == ["damaged", "restored", "poor", "originals"]
    assert record["scores"] == rows["restored"]
    assert rows["restored"]["psnr"] == pytest.approx(HIGHEST_PSNR)
    assert rows["restored"]["ssim"] == pytest.approx(1)
    assert rows["restored"]["averages_distance"] == rows["restored"]["averages_diversity"] == 0
    assert rows["originals"]["averages_diversity"] > 0
    assert rows["poor"]["averages_distance"] > rows["damaged"]["averages_distance"]
    assert rows["poor"]["psnr"] < rows["damaged"]["psnr"] < HIGHEST_PSNR

    damaged, real = to_uint8(task.measured).astype(float), task.given.permute(0, 2, 3, 1).numpy().astype(float)
    errors = ((damaged - real) ** 2).mean((1, 2, 3)) / 255**2
    assert rows["damaged"]["psnr"] == pytest.approx((-10 * np.log10(errors)).mean(), rel=1e-5)
    means = [x.reshape(N, 2, 8, 2, 8).mean((2, 4)).reshape(N, 4) for x in (damaged, real)]
    distance = np.linalg.norm(means[0] - means[1], axis=1).mean()
    assert rows["damaged"]["averages_distance"] == pytest.approx(distance, rel=1e-5)
    assert sum(entry["count"] for entry in record["restoration"]["by_quality"]) == N
    whole = sum(entry["count"] * entry["psnr"][0] for entry in record["restoration"]["by_quality"]) / N
    assert whole == pytest.approx(rows["damaged"]["psnr"], rel=1e-6)

    lines = table(record, folder).splitlines()
    shown = {line[2:12].strip(): line.split() for line in lines}
    assert shown["restored"][1:4] == ["58.92", "1", "0"]
    assert shown["damaged"][1] == f"{rows['damaged']['psnr']:.4g}"
    assert any(line.startswith("  5–9, ") for line in lines)
    read = Contents.read(tmp_path / "run").samples[0].evaluation
    assert read is not None
    assert read.restoration is not None
    assert [method.name for method in read.restoration.methods] == list(rows)
    assert len(set(parts)) == 2
    assert {place.parent for place in parts} == {folder}  # which is locked
    assert not list(tmp_path.rglob(".features-*"))

    monkeypatch.setattr(judging, "extract_shared", lambda *_: pytest.fail("computed again"))
    assert judge(methods, {}) == record


def test_without_features_there_are_scores_of_pixels_alone(cpu: Trainer, tmp_path: Path) -> None:
    task, folder = given(Uncrop()), tmp_path / "run" / "samples" / "a"
    methods = [restored(task.given.repeat_interleave(K, 0), folder, "restored")]
    whole, alone = (Judge(cpu, network, task, None, batch_size=64)(methods, {}) for network in (Averages(), None))
    assert whole is not None
    assert alone is not None
    assert alone == json.loads((folder / "evaluation.json").read_text())
    for row, other in zip(alone["restoration"]["methods"], whole["restoration"]["methods"], strict=True):
        pixels = {name: value for name, value in other["scores"].items() if not name.startswith("averages_")}
        assert row["scores"] == pixels
    assert list(alone["scores"]) == ["psnr", "ssim", "pixel_diversity"]
    assert "\n  features   none\n" in table(alone, folder)
    page = restoration(Contents.read(tmp_path / "run"))
    assert page is not None
    assert [row.name for row in page[0].rows] == ["damaged", "restored", "originals"]


def test_other_damages_have_no_qualities_and_labels_give_accuracy(cpu: Trainer, tmp_path: Path) -> None:
    task = given(Uncrop())
    labels = (task.given.float().mean((1, 2, 3)) > 127).long()
    right = Judge(cpu, Averages(), task, labels, batch_size=64)
    record = right([restored(task.given.repeat_interleave(K, 0), tmp_path / "a", "restored")], {})
    assert record is not None
    assert "by_quality" not in record["restoration"]
    logits = Averages()(task.given).logits
    expected = (logits.argmax(1) == labels).double().mean().item()
    assert record["scores"]["averages_accuracy"] == pytest.approx(expected)
    assert record["restoration"]["damage"] == "uncrop"
