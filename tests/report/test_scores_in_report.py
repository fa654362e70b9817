"""Scores in the report: their names, what they depend on, and the published ones beside them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_run import CHECKSUM, CONFIG, evaluation, write_json
from reading import SAMPLES, Page, report_of

from ncsn.report.published import PUBLISHED


def test_published_scores_stand_apart(page: Page) -> None:
    text = re.sub(r"\s+", " ", page.text)
    ours, published = text.index("This run Step 15,000"), text.index("Published, on 50,000 samples")
    assert ours < published
    assert "differs: 1,000 samples" in text[ours:published]
    for row in PUBLISHED["CIFAR10"].rows:
        assert f"{row.name} " in text[published:]
        assert row.fid in text[published:]
        assert row.source.url in [a["href"] for a in page.all("a")]
    assert "Scores can only be compared under the same protocol: 50,000 samples" in text


def test_a_score_with_the_published_protocol_is_called_that(run: Path) -> None:
    scores = {"is_50k": 8.81, "is_50k_std": 0.09, "fid_50k": 24.9}
    write_json(run / SAMPLES / "evaluation.json", evaluation(scores=scores, num_samples=50_000))
    text = re.sub(r"\s+", " ", report_of(run).text)
    assert "This run Step 15,000, EMA weights, denoised 8.81 ± 0.09 24.9 1,001 the same" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_samples": 256}, "differs: 256 samples"),
        ({"features": {"name": "inception", "published_weights": False}}, "other weights of Inception"),
        ({"reference": {"name": "cifar10", "split": "val"}}, "reference val"),
        ({"reference": {"path": "somewhere"}}, "another reference"),
    ],
)
def test_another_protocol_is_named(run: Path, changes: dict[str, Any], words: str) -> None:
    write_json(run / SAMPLES / "evaluation.json", evaluation(**changes))
    assert words in report_of(run).text


def test_scores_by_a_classifier_are_named_for_it_and_beside_its_accuracy(run: Path) -> None:
    features = {"name": "classifier-mnist", "checksum": CHECKSUM, "accuracy": 0.9931}
    scores = {"classifier_frechet_1k": 3.21, "classifier_score_1k": 9.1, "classifier_precision_1k": 0.9}
    write_json(run / SAMPLES / "evaluation.json", evaluation(scores=scores, features=features))
    text = re.sub(r"\s+", " ", report_of(run).text)
    assert "Fréchet distance, classifier" in text
    assert "Classifier accuracy 99.3%" in text
    assert "This run has no scores based on Inception's features" in text
    assert "FID, classifier" not in text


@pytest.mark.parametrize(("target", "shown"), [("ncsn.data.CelebA", True), ("ncsn.data.MNIST", False)])
def test_published_scores_are_of_the_same_data(run: Path, target: str, shown: bool) -> None:
    config = CONFIG | {"data": CONFIG["data"] | {"_target_": target}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    text = report_of(run).text
    assert ("NCSNv2" in text) == shown
    assert ("images of 32 × 32" in text) == shown
    assert "DDPM" not in text


@pytest.mark.parametrize(
    ("category", "fid"), [("church_outdoor", "7.89"), ("bedroom", "6.36"), ("tower", None), ([], None)]
)
def test_published_scores_of_lsun_are_of_the_same_category(run: Path, category: Any, fid: str | None) -> None:
    config = CONFIG | {"data": CONFIG["data"] | {"_target_": "ncsn.data.LSUN", "category": category}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    text = report_of(run).text
    assert ("Published, on 50,000 samples" in text) == (fid is not None)
    assert fid is None or fid in text


def test_the_loss_of_another_checkpoint_stands_beside(run: Path) -> None:
    other = evaluation()["held_out"] | {"checkpoint": "runs/other/checkpoints/step_0010000.ckpt"}
    write_json(run / SAMPLES / "evaluation.json", evaluation(held_out_against=other))
    text = report_of(run).text
    assert "2 × held-out loss of two checkpoints" in text
    assert "The other checkpoint: runs/other/checkpoints/step_0010000.ckpt." in text
