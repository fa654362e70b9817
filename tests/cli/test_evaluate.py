"""`python evaluate.py`: scores with their protocol, of a checkpoint, a run or images; nothing is computed twice."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from composing import asked
from offline_wandb import wandb_run
from PIL import Image

from ncsn.commands.evaluate import evaluate
from ncsn.data import Digits
from ncsn.errors import UserError
from ncsn.evaluation import Classifier
from ncsn.evaluation import evaluator as evaluation
from ncsn.evaluation.per_image import PerImage
from ncsn.runs.contents import Contents
from ncsn.samplers import AnnealedLangevin, DivergedError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("judging")]
Command = Callable[..., Any]

CLASSIFIER = ["trainer.accelerator=cpu", "trainer.devices=1", "features=classifier"]
FORTY = [*CLASSIFIER, "num_samples=40", "batch_size=16", "sampler.steps_per_level=1"]  # batches of 16, 16 and 8
SCORES = {"frechet", "score", "score_std", "kid", "kid_std", "precision", "recall"}


def names(count: str) -> set[str]:
    return {f"classifier_{s.removesuffix('_std')}_{count}{'_std' if s.endswith('_std') else ''}" for s in SCORES}


@pytest.fixture(scope="module")
def scored(trained: Path, call: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The run of its own that one checkpoint was scored in, and what was printed."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("scored") / "run", symlinks=True)
    outcome = call("evaluate", f"ckpt={checkpoint(run)}", *FORTY, cwd=run.parent)
    return run, outcome.out


@pytest.fixture
def copy(scored: tuple[Path, str], tmp_path: Path) -> Path:
    """The same, of the test's own."""
    return shutil.copytree(scored[0], tmp_path / "run", symlinks=True)


@pytest.fixture(scope="module")
def curved(trained: Path, call: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of which every checkpoint was scored, and what was printed."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("curved") / "run", symlinks=True)
    outcome = call("evaluate", f"ckpt={run}", *FORTY, cwd=run.parent)
    return run, outcome.out


@pytest.fixture(scope="module")
def against(trained: Path, call: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The last checkpoint beside the first, and what was printed."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("against") / "run", symlinks=True)
    two = [f"ckpt={checkpoint(run)}", f"against={checkpoint(run, 2)}"]
    outcome = call("evaluate", *two, *FORTY, "scores=[frechet]", cwd=run.parent)
    return run, outcome.out


def checkpoint(run: Path, step: int = 6) -> Path:
    return run / "checkpoints" / f"step_{step:07d}.ckpt"


def folder_of(run: Path) -> Path:
    (folder,) = (run / "samples").iterdir()
    return folder


def record_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "evaluation.json").read_text())


@pytest.fixture
def nothing_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("ncsn.sampling.drawing.Drawing.predict_step", fail)
    monkeypatch.setattr(evaluation, "extract_shared", fail)
    monkeypatch.setattr(evaluation, "compute_scores", fail)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of images whose features have been computed."""
    counts: list[int] = []
    before = evaluation.extract_shared

    def counted(trainer: Any, network: Any, images: Any, *others: Any) -> Any:
        counts.append(len(images))
        return before(trainer, network, images, *others)

    monkeypatch.setattr(evaluation, "extract_shared", counted)
    return counts


@pytest.fixture
def foreign(judging: Digits, tmp_path: Path) -> Path:
    """The training images as somebody else's npz."""
    path = tmp_path / "theirs.npz"
    np.savez(path, x=judging.images("train").permute(0, 2, 3, 1).numpy())
    return path


def save_pngs(images: np.ndarray, folder: Path) -> Path:
    """Grey images (N, H, W)."""
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:05d}.png")
    return folder


# A checkpoint


def test_scores_are_written_with_all_that_they_depend_on(scored: tuple[Path, str], judging: Digits) -> None:
    run, _ = scored
    record, classifier = record_in(folder_of(run)), Classifier.for_data(judging)
    assert set(record["scores"]) == names("40")
    assert all(np.isfinite(value) for value in record["scores"].values())
    assert record["num_samples"] == 40
    assert record["features"]["name"] == "classifier-digits"
    assert record["features"]["checksum"] == classifier.checksum
    assert record["features"]["accuracy"] == classifier.record["accuracy"]
    assert record["settings"]["kid_subset_size"] == 20
    assert (record["reference"]["name"], record["reference"]["split"]) == ("digits", "train")
    assert record["reference"]["count"] == 1618
    assert record["checkpoint"]["step"] == 6
    assert record["checkpoint"]["weights"] == "ema"
    assert len(record["checkpoint"]["sha256"]) == 64
    assert record["sampler"]["_target_"] == "ncsn.samplers.AnnealedLangevin"
    assert record["sampler"]["steps_per_level"] == 1
    assert record["denoise"] is False
    assert record["network_evaluations"] == 3
    assert record["seed"] == 0
    assert set(record["seconds"]) == {"sampling", "features", "reference", "scores", "beyond"}
    assert set(record["versions"]) == {"ncsn", "torch", "torch-fidelity"}


def test_what_lies_beyond_scores(scored: tuple[Path, str]) -> None:
    folder = folder_of(scored[0])
    record = record_in(folder)
    for space in ("pixels", "features"):
        for which in ("samples_to_training", "held_out_to_training"):
            low, median, high = record["memorisation"][space][which]
            assert 0 < low <= median <= high
    held_out = record["memorisation"]["pixels"]["held_out_to_training"]
    assert held_out[2] < 8  # ℓ₂ of 64 values in [0, 1]
    assert sum(record["classes"]["shares"]) == pytest.approx(1, abs=1e-3)
    assert 0.1 <= record["classes"]["mean_confidence"] <= 1
    assert len(record["held_out"]["sigmas"]) == 3
    assert record["held_out"]["loss_per_dim"] > 0
    width, height = Image.open(folder / "neighbours.png").size
    assert width / height == pytest.approx(18 / 10, rel=0.05)


def test_a_table_is_printed(scored: tuple[Path, str]) -> None:
    run, printed = scored
    record = record_in(folder_of(run))
    for name in names("40"):
        if not name.endswith("_std"):
            (line,) = (line for line in printed.splitlines() if name in line)
            assert f"{record['scores'][name]:.5g}" in line
            assert ("±" in line) == (f"{name}_std" in record["scores"])
    assert f"{record['features']['accuracy']:.2%}" in printed
    assert record["features"]["checksum"][:8] in printed
    assert "1618 images, digits train" in printed
    assert "AnnealedLangevin, not denoised, ema weights, 3 network evaluations per image" in printed


def test_the_report_reads_it(curved: tuple[Path, str]) -> None:
    run = Contents.read(curved[0])
    assert run.curve is not None
    assert len(run.curve.checkpoints) == 3
    assert len(run.samples) == 3
    for samples in run.samples:
        assert samples.evaluation is not None
        assert samples.evaluation.held_out is not None
        assert samples.evaluation.memorisation is not None


@pytest.mark.usefixtures("nothing_computed")
def test_a_second_call_computes_nothing(scored: tuple[Path, str], copy: Path, call: Command, tmp_path: Path) -> None:
    before = (folder_of(copy) / "evaluation.json").read_bytes()
    outcome = call("evaluate", f"ckpt={checkpoint(copy)}", *FORTY, cwd=tmp_path)
    assert (folder_of(copy) / "evaluation.json").read_bytes() == before
    start = "  classifier_score"
    assert outcome.out.partition(start)[2] == scored[1].partition(start)[2].replace(str(scored[0]), str(copy))


@pytest.mark.parametrize("change", ["reference=val", "scores=[frechet]", "features"])
def test_another_protocol_is_scored_anew_and_the_one_before_is_kept(
    change: str,
    copy: Path,
    call: Command,
    computed: list[int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    before = record_in(folder_of(copy))
    picture = (folder_of(copy) / "neighbours.png").read_bytes()
    if change == "features":
        with monkeypatch.context() as patch:
            patch.setattr("ncsn.commands.evaluate.build_features", lambda *_: Classifier("digits", 8, 1, 10))
            call("evaluate", f"ckpt={checkpoint(copy)}", *FORTY, cwd=tmp_path)
    else:
        call("evaluate", f"ckpt={checkpoint(copy)}", *FORTY, change, cwd=tmp_path)
    record = record_in(folder_of(copy))
    assert computed == [40]
    assert record["scores"] != before["scores"]
    if change == "reference=val":
        assert (record["reference"]["split"], record["reference"]["count"]) == ("val", 179)
    if change == "scores=[frechet]":
        assert record["scores"] == {"classifier_frechet_40": before["scores"]["classifier_frechet_40"]}
    call("evaluate", f"ckpt={checkpoint(copy)}", *FORTY, cwd=tmp_path)
    assert len(computed) == 1
    assert record_in(folder_of(copy)) == before
    assert (folder_of(copy) / "neighbours.png").read_bytes() == picture


def test_nothing_that_was_drawn_shrinks(scored: tuple[Path, str], copy: Path, call: Command, tmp_path: Path) -> None:
    forty = folder_of(copy)
    call("evaluate", f"ckpt={checkpoint(copy)}", *FORTY, "num_samples=20", "scores=[frechet]", cwd=tmp_path)
    (twenty,) = set((copy / "samples").iterdir()) - {forty}
    for folder, count in ((forty, 40), (twenty, 20)):
        with np.load(folder / "samples.npz") as file:
            assert len(file["arr_0"]) == count
        assert record_in(folder)["num_samples"] == count
    assert record_in(forty)["scores"] == record_in(folder_of(scored[0]))["scores"]


def test_two_folders_are_compared_without_a_data_set(
    copy: Path, foreign: Path, call: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    network = Classifier("digits", 8, 1, 10)
    monkeypatch.setattr("ncsn.commands.evaluate.build_features", lambda *_: network)
    given = [f"samples={folder_of(copy)}", f"reference={foreign}", f"out={tmp_path / 'out'}"]
    call("evaluate", *given, *CLASSIFIER[:2], "scores=[frechet]", cwd=tmp_path)
    record = record_in(tmp_path / "out")
    assert record["reference"]["count"] == 1618
    assert list(record["scores"]) == ["classifier_frechet_40"]
    assert "memorisation" not in record
    outcome = call("evaluate", *given[:1], *CLASSIFIER[:2], cwd=tmp_path, check=False)
    assert "reference=<folder or npz>" in outcome.err


def test_what_failed_while_scoring_does_not_compute_features_again(
    copy: Path, call: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = record_in(folder_of(copy))
    shutil.rmtree(folder_of(copy) / "evaluations")
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "compute_scores", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            call("evaluate", f"ckpt={checkpoint(copy)}", *FORTY, cwd=tmp_path)
    (parts,) = folder_of(copy).glob(".features-*")
    part = sorted(parts.iterdir())[1]
    part.write_bytes(part.read_bytes()[:-7])
    numbers: list[int] = []
    step = PerImage.predict_step

    def counted(self: Any, number: int, batch_idx: int) -> int:
        numbers.append(number)
        return step(self, number, batch_idx)

    monkeypatch.setattr(PerImage, "predict_step", counted)
    call("evaluate", f"ckpt={checkpoint(copy)}", *FORTY, cwd=tmp_path)
    assert numbers == [1]
    assert record_in(folder_of(copy))["scores"] == before["scores"]
    assert not list(folder_of(copy).glob(".features-*"))


def test_raw_weights_on_request(copy: Path, call: Command, tmp_path: Path) -> None:
    before = folder_of(copy)
    call("evaluate", f"ckpt={checkpoint(copy)}", *FORTY, "weights=raw", cwd=tmp_path)
    (folder,) = set((copy / "samples").iterdir()) - {before}
    raw, averaged = record_in(folder), record_in(before)
    assert raw["checkpoint"]["weights"] == "raw"
    assert raw["scores"] != averaged["scores"]
    assert raw["held_out"] != averaged["held_out"]


def test_a_run_without_average_is_scored_raw(
    judging: Digits, call: Command, tiny: list[str], only_run: Command, tmp_path: Path
) -> None:
    call("train", *tiny, "callbacks.ema=null", "trainer.max_steps=2", cwd=tmp_path)
    run = only_run(tmp_path)
    outcome = call(
        "evaluate", f"ckpt={checkpoint(run, 2)}", *FORTY[:-1], "scores=[frechet]", "sampler=heun", cwd=tmp_path
    )
    record = record_in(folder_of(run))
    assert record["checkpoint"]["weights"] == "raw"
    assert record["network_evaluations"] == 2 * 10 - 1
    assert "raw weights" in outcome.out


def test_in_a_folder_named(trained: Path, scored: tuple[Path, str], call: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call("evaluate", f"ckpt={checkpoint(trained)}", *FORTY, f"out={out}", cwd=tmp_path)
    assert record_in(out)["scores"] == record_in(folder_of(scored[0]))["scores"]
    assert not (trained / "samples").exists()


# All checkpoints of a run


def test_a_run_is_scored_checkpoint_by_checkpoint(curved: tuple[Path, str], scored: tuple[Path, str]) -> None:
    run, printed = curved
    curve = json.loads((run / "evaluation" / "curve.json").read_text())
    scores = {record_in(f)["checkpoint"]["step"]: record_in(f)["scores"] for f in (run / "samples").iterdir()}
    assert {c["step"]: c["scores"] for c in curve["checkpoints"]} == scores
    assert list(scores.keys() - {2, 4, 6}) == []
    assert [c["checkpoint"] for c in curve["checkpoints"]] == [checkpoint(run, step).name for step in (2, 4, 6)]
    assert curve["criterion"] == "classifier_frechet_40"
    best = min(scores, key=lambda step: scores[step]["classifier_frechet_40"])
    assert curve["best"] == best
    assert (run / "checkpoints" / "best.ckpt").resolve() == checkpoint(run, best).resolve()
    (line,) = (line for line in printed.splitlines() if line.endswith("best"))
    assert line.split() == [str(best), f"{scores[best]['classifier_frechet_40']:.5g}", "best"]
    assert scores[6] == record_in(folder_of(scored[0]))["scores"]


def test_only_what_is_missing_is_scored(
    curved: tuple[Path, str], call: Command, computed: list[int], tmp_path: Path
) -> None:
    run = shutil.copytree(curved[0], tmp_path / "run", symlinks=True)
    curve = json.loads((run / "evaluation" / "curve.json").read_text())
    (missing,) = (run / "samples").glob("step_0000004_*")
    before = {path: path.stat().st_mtime_ns for path in run.glob("samples/*/batches/*.npy")}
    shutil.rmtree(missing / "evaluations")
    (missing / "evaluation.json").unlink()
    call("evaluate", f"ckpt={run}", *FORTY, cwd=tmp_path)
    assert computed == [40]
    assert record_in(missing)["checkpoint"]["step"] == 4
    assert {path: path.stat().st_mtime_ns for path in run.glob("samples/*/batches/*.npy")} == before
    assert json.loads((run / "evaluation" / "curve.json").read_text()) == curve


def test_a_curve_is_of_one_protocol_and_the_one_before_is_kept(
    curved: tuple[Path, str], call: Command, tmp_path: Path
) -> None:
    run = shutil.copytree(curved[0], tmp_path / "run", symlinks=True)
    before = (run / "evaluation" / "curve.json").read_bytes()
    checkpoint(run, 2).unlink()
    call("evaluate", f"ckpt={run}", *FORTY, "seed=1", cwd=tmp_path)
    curve = json.loads((run / "evaluation" / "curve.json").read_text())
    assert curve["criterion"] == "classifier_frechet_40"
    assert curve["settings"]["seed"] == 1
    assert [c["step"] for c in curve["checkpoints"]] == [4, 6]
    (kept,) = (run / "evaluation").glob("curve_*.json")
    assert kept.read_bytes() == before


def test_a_checkpoint_whose_chains_diverge_is_left_out(
    trained: Path, call: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = shutil.copytree(trained, tmp_path / "run", symlinks=True)
    calls = AnnealedLangevin.__call__
    count = 0

    def diverging(*args: Any, **kwargs: Any) -> Iterator[Any]:
        nonlocal count
        count += 1
        if count == 1:
            raise DivergedError(0, 0, 1.0, 0.1)
        yield from calls(*args, **kwargs)

    monkeypatch.setattr(AnnealedLangevin, "__call__", diverging)
    outcome = call("evaluate", f"ckpt={run}", *FORTY, "scores=[frechet]", cwd=tmp_path)
    curve = json.loads((run / "evaluation" / "curve.json").read_text())
    assert [c["step"] for c in curve["checkpoints"]] == [4, 6]
    (line,) = (line for line in outcome.out.splitlines() if "diverged" in line)
    assert line.startswith("step_0000002.ckpt: no scores")


def test_dashboards_get_each_score_at_its_step(
    curved: tuple[Path, str], call: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for name in ("WANDB_DIR", "WANDB_MODE", "WANDB_RUN_GROUP"):
        monkeypatch.delenv(name, raising=False)
    run = shutil.copytree(curved[0], tmp_path / "run", symlinks=True)
    call("evaluate", f"ckpt={run}", *FORTY, "logger=tensorboard", cwd=tmp_path)
    events = accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("eval/classifier_frechet_40")] == [2, 4, 6]

    call("evaluate", f"ckpt={run}", *FORTY, "logger=wandb", "logger.wandb.offline=true", cwd=tmp_path)
    (path,) = run.glob("wandb/offline-run-*/*.wandb")
    online = wandb_run(path)
    assert online["job_type"] == "evaluate"
    assert online["id"] == json.loads((run / "run.json").read_text())["id"] + "-evaluation"
    rows = [row for row in online["history"] if "eval/classifier_frechet_40" in row]
    assert [row["trainer/global_step"] for row in rows] == [2, 4, 6]


# Images that are there


def test_samples_of_ours_are_scored_as_their_checkpoint_was(
    scored: tuple[Path, str], copy: Path, judging: Digits, call: Command, tmp_path: Path
) -> None:
    before, drawn = record_in(folder_of(scored[0])), folder_of(copy)
    for path in (drawn, drawn / "samples.npz"):
        shutil.rmtree(drawn / "evaluations", ignore_errors=True)
        (drawn / "evaluation.json").unlink()
        call("evaluate", f"samples={path}", "data=digits", f"data.root={judging.root}", *CLASSIFIER, cwd=tmp_path)
        record = record_in(drawn)
        assert record["scores"] == before["scores"]
        assert record["sampler"] == before["sampler"]
        assert record["checkpoint"] == before["checkpoint"] | {"step": None}
        assert "held_out" not in record


@pytest.mark.parametrize("kind", ["npz", "npz of 4 axes", "folder"])
def test_images_of_anybody(
    kind: str, scored: tuple[Path, str], call: Command, judging: Digits, tmp_path: Path
) -> None:
    with np.load(folder_of(scored[0]) / "samples.npz") as file:
        images = file["arr_0"]
    path = tmp_path / "theirs.v1"
    if kind == "folder":
        save_pngs(images[..., 0], path)
    else:
        path = tmp_path / "theirs.npz"
        np.savez(path, given=images if "4" in kind else images[..., 0])
    call("evaluate", f"samples={path}", "data=digits", f"data.root={judging.root}", *CLASSIFIER, cwd=tmp_path)
    record = record_in(tmp_path / ("theirs.v1_evaluation" if kind == "folder" else "theirs_evaluation"))
    assert record["scores"] == record_in(folder_of(scored[0]))["scores"]
    assert [record[key] for key in ("checkpoint", "sampler", "denoise", "seed", "network_evaluations")] == [None] * 5


def test_training_images_score_zero(foreign: Path, judging: Digits, call: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [f"samples={foreign}", "data=digits", f"data.root={judging.root}", f"out={out}", *CLASSIFIER]
    call("evaluate", *arguments, cwd=tmp_path)
    record = record_in(out)
    assert set(record["scores"]) == names("1618")
    assert record["scores"]["classifier_frechet_1618"] < 1e-5
    assert record["scores"]["classifier_precision_1618"] == record["scores"]["classifier_recall_1618"] == 1
    assert record["memorisation"]["pixels"]["samples_to_training"] == [0, 0, 0]
    call("evaluate", *arguments, f"reference={foreign}", cwd=tmp_path)
    assert record_in(out)["scores"] == pytest.approx(record["scores"])


def test_a_folder_as_reference(
    scored: tuple[Path, str], judging: Digits, call: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save_pngs(judging.images("val")[:, 0].numpy(), tmp_path / "held_out")
    arguments = [f"samples={folder_of(scored[0])}", "data=digits", f"data.root={judging.root}", *CLASSIFIER]
    outcome = call("evaluate", *arguments, "reference='~/held_out'", f"out={tmp_path / 'a'}", cwd=tmp_path)
    assert f"179 images, {tmp_path / 'held_out'}" in outcome.out
    call("evaluate", *arguments, "reference=val", f"out={tmp_path / 'b'}", cwd=tmp_path)
    assert record_in(tmp_path / "a")["scores"] == pytest.approx(record_in(tmp_path / "b")["scores"], rel=1e-6)


def test_foreign_images_in_a_folder_of_ours_are_not_taken_for_ours(
    copy: Path, foreign: Path, judging: Digits, call: Command, tmp_path: Path
) -> None:
    given = [f"samples={foreign}", "data=digits", f"data.root={judging.root}", f"out={folder_of(copy)}"]
    call("evaluate", *given, *CLASSIFIER, "scores=[frechet]", cwd=tmp_path)
    record = record_in(folder_of(copy))
    assert record["num_samples"] == 1618
    assert record["sampler"] is None


# Two networks


def test_two_checkpoints_side_by_side(against: tuple[Path, str], scored: tuple[Path, str]) -> None:
    run, printed = against
    record = record_in(folder_of(run))
    ours, theirs = record["held_out"], record["held_out_against"]
    assert ours == record_in(folder_of(scored[0]))["held_out"]
    assert theirs.pop("checkpoint") == str(checkpoint(run, 2))
    assert ours["sigmas"] == theirs["sigmas"]
    assert ours["twice_the_loss_per_dim"] != theirs["twice_the_loss_per_dim"]
    for sigma, *losses in zip(ours["sigmas"], *(r["twice_the_loss_per_dim"] for r in (ours, theirs)), strict=True):
        (line,) = (line for line in printed.splitlines() if line.startswith(f"  σ = {sigma:.4g} "))
        assert line.split()[3:] == [f"{loss:.5f}" for loss in losses]


def test_a_network_beside_itself_has_the_same_loss(copy: Path, call: Command, tmp_path: Path) -> None:
    path = checkpoint(copy)
    call("evaluate", f"ckpt={path}", f"against={path}", *FORTY, "scores=[frechet]", cwd=tmp_path)
    record = record_in(folder_of(copy))
    assert record["held_out_against"] == record["held_out"] | {"checkpoint": str(path)}


def test_another_network_at_the_same_place_is_another_comparison(
    against: tuple[Path, str], call: Command, tmp_path: Path
) -> None:
    run = shutil.copytree(against[0], tmp_path / "run", symlinks=True)
    shutil.copy(checkpoint(run, 4), tmp_path / "other.ckpt")
    found = []
    for step in (4, 2):
        shutil.copy(checkpoint(run, step), tmp_path / "other.ckpt")
        two = [f"ckpt={checkpoint(run)}", f"against={tmp_path / 'other.ckpt'}"]
        call("evaluate", *two, *FORTY, "scores=[frechet]", cwd=tmp_path)
        found.append(record_in(folder_of(run))["held_out_against"]["twice_the_loss_per_dim"])
    assert found[0] != found[1]
    assert found[1] == record_in(folder_of(against[0]))["held_out_against"]["twice_the_loss_per_dim"]


def test_other_noise_levels_are_refused_before_anything_is_drawn(
    trained: Path, judging: Digits, call: Command, tiny: list[str], only_run: Command, tmp_path: Path
) -> None:
    call("train", *tiny, "noise.num_levels=2", "trainer.max_steps=1", cwd=tmp_path)
    other = only_run(tmp_path)
    arguments = [f"ckpt={checkpoint(trained)}", f"against={other}", *FORTY, f"out={tmp_path / 'out'}"]
    outcome = call("evaluate", *arguments, cwd=tmp_path, check=False)
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith(f"error: against={other}: has other noise levels (2 from 1 to 0.01, not 3 from 1 to 0.01)")
    assert not (tmp_path / "out").exists()


# Two processes


def test_two_processes_score_as_one_does(
    curved: tuple[Path, str], call: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One checkpoint is done; of one, two batches of three have their features; of one, nothing is there."""
    folder = shutil.copytree(curved[0], tmp_path / "run", symlinks=True)
    second, third = (next((folder / "samples").glob(f"step_{step:07d}_*")) for step in (4, 6))
    shutil.rmtree(third)
    shutil.rmtree(second / "evaluations")
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "compute_scores", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            call("evaluate", f"ckpt={checkpoint(folder, 4)}", *FORTY, cwd=tmp_path)
    (parts,) = second.glob(".features-*")
    (parts / "00000.npz").unlink()
    (second / "samples.npz").unlink()
    (folder / "evaluation" / "curve.json").unlink()
    (folder / "checkpoints" / "best.ckpt").unlink()
    two = ["trainer.devices=2", "trainer.strategy=ddp_fork"]  # which starts no interpreter anew
    call("evaluate", f"ckpt={folder}", *FORTY, *two, cwd=tmp_path)
    alone, together = (json.loads((f / "evaluation" / "curve.json").read_text()) for f in (curved[0], folder))
    assert together["best"] == alone["best"]
    for one, other in zip(alone["checkpoints"], together["checkpoints"], strict=True):
        assert one["checkpoint"] == other["checkpoint"]
        assert other["scores"] == pytest.approx(one["scores"], rel=1e-6)
    assert not list(folder.glob("samples/*/.features-*"))


# What is wrong is told in one line


WRONG = [
    ("", ["ckpt", "samples", "one of them"]),
    ("ckpt={ckpt} samples={npz} data=digits", ["ckpt", "samples", "one of them"]),
    ("ckpt=nowhere.ckpt", ["nowhere.ckpt", "no such checkpoint"]),
    ("ckpt=empty", ["empty", "no checkpoint in this folder"]),
    ("samples={npz}", ["data: ", "data=cifar10"]),
    ("samples=nowhere data=digits", ["nowhere", "not there"]),
    ("samples=empty data=digits", ["empty", "no images"]),
    ("samples={npz} data=digits num_samples=40", ["num_samples=40", "ckpt"]),
    ("samples={npz} data=digits against={ckpt}", ["against=", "ckpt"]),
    ("samples={npz} data=digits batch_size=0", ["batch_size=0", "at least 1"]),
    ("samples=large.npz data=digits", ["20×20×1", "8×8×1", "features=inception"]),
    ("samples=few.npz data=digits", ["at least 20 samples", "found 10"]),
    ("ckpt={ckpt} num_samples=10", ["num_samples=10", "at least 20"]),
    ("ckpt={ckpt} num_samples=many", ["num_samples=many", "integer"]),
    ("ckpt={ckpt} seed=x", ["seed=x", "integer"]),
    ("ckpt={ckpt} weights=emma", ["weights=emma", "ema or raw"]),
    ("ckpt={ckpt} scores=[fid]", ["scores=", "fid", "frechet"]),
    ("ckpt={ckpt} scores=frechet", ["scores=frechet", "list"]),
    ("ckpt={ckpt} scores=[]", ["scores=[]", "at least 1"]),
    ("ckpt={run} scores=[kid]", ["scores=", "frechet"]),
    ("ckpt={run} out=out", ["out=out", "each checkpoint"]),
    ("ckpt={ckpt} reference=nowhere", ["nowhere", "not there"]),
    ("ckpt={ckpt} reference=large.npz", ["20×20×1", "8×8×1"]),
    ("ckpt={ckpt} reference=few.npz", ["at least 20 reference images", "found 10"]),
    ("ckpt={ckpt} against=nowhere.ckpt", ["nowhere.ckpt", "no such checkpoint"]),
    ("ckpt={ckpt} features=inception features.weights_path=nowhere.pth", ["nowhere.pth", "features.weights_path"]),
    ("ckpt={ckpt} trainer.devices=none", ["trainer", "devices", "int > 0"]),
    ("ckpt={ckpt} sampler.step_size=0", ["sampler.step_size=0", "positive"]),
    ("ckpts={ckpt}", ["ckpts", "ckpt"]),
]  # fmt: skip
TYPED = (WRONG[0][0], WRONG[-1][0])  # of the others, what the command is asked for is made without composing it


@pytest.mark.parametrize(("arguments", "told"), WRONG, ids=[arguments for arguments, _ in WRONG])
def test_a_wrong_request_is_told_in_one_line(
    arguments: str,
    told: list[str],
    trained: Path,
    network: Path,
    judging: Digits,
    call: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "empty").mkdir()
    for name, count, size in (("good", 40, 8), ("large", 40, 20), ("few", 10, 8)):
        np.savez(tmp_path / f"{name}.npz", np.zeros((count, size, size, 1), np.uint8))
    given = arguments.format(ckpt=network, run=trained, npz=tmp_path / "good.npz").split()
    root = [f"data.root={judging.root}"] if "data=digits" in given else []
    given = [*FORTY[:3], *root, *given]
    if arguments in TYPED:
        outcome = call("evaluate", *given, cwd=tmp_path, check=False)
        assert outcome.status == 2
        (line,) = outcome.err.splitlines()
        assert line.startswith("error: ")
    else:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UserError) as refused:
            evaluate(asked(given, "evaluate"))
        line = str(refused.value)
    assert "\n" not in line
    assert [word for word in told if word not in line] == []
    assert not any((folder / "samples").exists() for folder in (trained, network.parent))
    assert not list(tmp_path.glob("*_evaluation"))


def test_without_inceptions_weights_the_way_out_is_told(
    trained: Path, call: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr("pooch.retrieve", unreachable)
    outcome = call("evaluate", f"ckpt={checkpoint(trained)}", *CLASSIFIER[:2], cwd=tmp_path, check=False)
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    for told in (
        "weights-inception-2015-12-05-6726825d.pth",
        "https://",
        "features.weights_path",
        str(tmp_path / "hub"),
        "features=classifier",
    ):
        assert told in line
    assert not (trained / "samples").exists()
