"""`python evaluate.py scores=[bits_per_dim]`: likelihoods of held-out and other images with their protocol."""

import json
import math
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ncsn.checkpoint import load_score
from ncsn.data.transforms import dequantize, to_unit_interval
from ncsn.evaluation.estimator import moments_of
from ncsn.evaluation.per_image import PerImage
from ncsn.flow import HeunSteps
from ncsn.likelihood import log_likelihood
from ncsn.random import Draws
from ncsn.sampling.tasks.images import training_data

pytestmark = pytest.mark.slow
Command = Callable[..., Any]

BITS = ["scores=[bits_per_dim]", "num_images=10", "batch_size=4", "solver=heun", "solver.steps=3"]
BITS += ["trainer.accelerator=cpu", "trainer.devices=1"]


@pytest.fixture(scope="module")
def scored(trained: Path, call: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A checkpoint, and what was printed of its likelihoods."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("likelihood") / "run", symlinks=True)
    path = run / "checkpoints" / "step_0000006.ckpt"
    return path, call("evaluate", f"ckpt={path}", *BITS, cwd=run.parent).out


def folder_of(path: Path, of: str = "digits val") -> Path:
    folders = [f for f in (path.parents[1] / "likelihood").iterdir() if f.is_dir()]
    (folder,) = (f for f in folders if json.loads((f / "likelihood.json").read_text())["likelihood"]["of"] == of)
    return folder


def nats_of(path: Path, of: str = "digits val") -> np.ndarray:
    with np.load(folder_of(path, of) / "likelihood.npz") as file:
        return file["nats"]


def record_of(path: Path) -> dict[str, Any]:
    return json.loads((folder_of(path) / "likelihood.json").read_text())


def test_bits_are_those_of_the_dequantised_held_out_images(scored: tuple[Path, str]) -> None:
    """Every number from the core, image by image: nothing depends on the batches."""
    path, out = scored
    score, record = load_score(path), record_of(path)
    data = training_data(score)
    mean, variance = moments_of(data.images("train"))
    nats, coarser = [], []
    for number, image in enumerate(data.images("val")[:10]):
        for found, steps in ((nats, 3), (coarser, 2)):
            draws = Draws(0, "likelihood", number)
            x = dequantize(to_unit_interval(image[None]), draws.uniform(1, *image.shape))
            options: dict[str, Any] = {"mean": mean, "variance": variance, "normal": draws.normal}
            found.append(log_likelihood(score, x, score.sigmas, solver=HeunSteps(steps), **options).nats)
    bits = 8 - torch.cat(nats) / (64 * math.log(2))
    assert record["scores"] == {"bits_per_dim_10": pytest.approx(float(bits.mean()), rel=1e-5)}
    found = record["likelihood"]
    assert found["standard_error"] == pytest.approx(float(bits.std()) / math.sqrt(10), rel=1e-4)
    assert (found["images"], found["dimensions"], found["evaluations"], found["of"]) == (10, 64, 4, "digits val")
    difference = (torch.cat(nats) - torch.cat(coarser)).abs().mean() / (64 * math.log(2))
    assert found["solver_error"] == pytest.approx(float(difference) / 3, rel=1e-4)
    with np.load(folder_of(path) / "likelihood.npz") as file:
        np.testing.assert_allclose(file["nats"], torch.cat(nats), rtol=1e-5)
    by_class = found["by_class"]
    shares = zip(by_class["counts"], by_class["bits_per_dim"], strict=True)
    assert sum(count * value for count, value in shares) / 10 == pytest.approx(float(bits.mean()), rel=1e-5)
    assert set(record["protocol"]) >= {"images", "prior", "solver", "num_projections", "projection", "seed"}
    assert list(folder_of(path).glob("batches*")) == []
    assert not (path.parents[1] / "samples").exists()
    assert "bits_per_dim_10" in out
    assert "10 images of digits val, 64 dimensions" in out


def test_moments_are_those_of_dequantised_images(tmp_path: Path) -> None:
    images = torch.randint(256, (300, 1, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, variance = moments_of(images)
    u = torch.rand(2000, *images.shape, generator=torch.Generator().manual_seed(1))
    pixels = dequantize(to_unit_interval(images), u).double().flatten(0, 1)
    torch.testing.assert_close(mean, pixels.mean(0), rtol=0, atol=1e-5)
    torch.testing.assert_close(variance, pixels.var(0, correction=0), rtol=1e-4, atol=0)


def test_what_is_there_is_not_computed_again(
    scored: tuple[Path, str], call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a whole evaluation nor, after an interruption, its finished batches."""
    run = shutil.copytree(scored[0].parents[1], tmp_path / "run", symlinks=True)
    path, computed = run / "checkpoints" / scored[0].name, []
    before = PerImage.predict_step

    def counted(self: PerImage, number: int, batch_idx: int) -> int:
        computed.append(number)
        if len(computed) == 2 and self.num_batches == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return before(self, number, batch_idx)

    monkeypatch.setattr(PerImage, "predict_step", counted)
    call("evaluate", f"ckpt={path}", *BITS, cwd=tmp_path)
    assert computed == []
    expected, nats = record_of(path), nats_of(path)
    shutil.rmtree(run / "likelihood")
    killed = call("evaluate", f"ckpt={path}", *BITS, cwd=tmp_path, check=False)
    assert killed.status == 128 + signal.SIGTERM
    assert computed == [0, 1]
    call("evaluate", f"ckpt={path}", *BITS, cwd=tmp_path)
    assert computed == [0, 1, 1, 2, *range(3)]  # and three with half the steps
    found = record_of(path)
    assert (found["scores"], found["likelihood"]) == (expected["scores"], expected["likelihood"])
    assert (nats_of(path) == nats).all()


def test_two_processes_find_what_one_does(scored: tuple[Path, str], call: Command, tmp_path: Path) -> None:
    path = shutil.copytree(scored[0].parents[1], tmp_path / "run", symlinks=True) / "checkpoints" / scored[0].name
    expected = record_of(path)["likelihood"], nats_of(path)
    shutil.rmtree(path.parents[1] / "likelihood")
    call("evaluate", f"ckpt={path}", *BITS, "trainer.devices=2", "trainer.strategy=ddp_fork", cwd=tmp_path)
    np.testing.assert_allclose(nats_of(path), expected[1], rtol=1e-6)
    found = record_of(path)["likelihood"]
    for key in ("standard_error", "solver_error", "nats_per_image"):
        assert found[key] == pytest.approx(expected[0][key], rel=1e-6)
    assert found["by_class"]["counts"] == expected[0]["by_class"]["counts"]
    assert found["by_class"]["bits_per_dim"] == pytest.approx(expected[0]["by_class"]["bits_per_dim"], rel=1e-6)


def test_every_checkpoint_of_a_run_without_samples(scored: tuple[Path, str], call: Command, tmp_path: Path) -> None:
    run = shutil.copytree(scored[0].parents[1], tmp_path / "run", symlinks=True)
    call("evaluate", f"ckpt={run}", *BITS, "num_images=4", cwd=tmp_path)
    curve = json.loads((run / "evaluation" / "curve.json").read_text())
    assert curve["criterion"] == "bits_per_dim_4"
    bits = {point["step"]: point["scores"]["bits_per_dim_4"] for point in curve["checkpoints"]}
    assert list(bits) == [2, 4, 6]
    assert curve["best"] == min(bits, key=lambda step: bits[step])
    assert (run / "checkpoints" / "best.ckpt").resolve().name == f"step_{curve['best']:07d}.ckpt"
    assert not (run / "samples").exists()
    assert "Bits per dimension by checkpoint" in (run / "report.html").read_text()


def test_somebodys_images_beside_controls(scored: tuple[Path, str], call: Command, tmp_path: Path) -> None:
    """The held-out images as files of somebody else have the same likelihoods, by the names of their files."""
    path = shutil.copytree(scored[0].parents[1], tmp_path / "run", symlinks=True) / "checkpoints" / scored[0].name
    (tmp_path / "theirs").mkdir()
    for number, image in enumerate(training_data(load_score(path)).images("val")[:6]):
        picture = Image.fromarray(image[0].numpy())
        (picture.convert("RGB") if number % 2 else picture).save(tmp_path / "theirs" / f"{number}.png")
    bits = [argument for argument in BITS if not argument.startswith("num_images")]
    controls = ["controls=[shuffled,noise,samples]", "sampler.steps_per_level=1"]
    out = call("evaluate", f"ckpt={path}", *bits, "samples=theirs", *controls, cwd=tmp_path).out
    np.testing.assert_allclose(nats_of(path, "theirs"), nats_of(path)[:6], rtol=1e-6)
    with np.load(folder_of(path, "theirs") / "likelihood.npz") as file:
        assert file["files"].tolist() == [f"{number}.png" for number in range(6)]
    for name in ("theirs", "theirs, shuffled", "uniform noise", "samples"):
        assert len(nats_of(path, name)) == 6
        assert f"\n  {name} " in out
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.index("digits val</td>") < page.index("theirs, shuffled</td>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["samples=images", "data=digits"], "bits_per_dim is of a network"),
        (["against=other.ckpt"], "against=other.ckpt: compares held-out losses"),
        (["scores=[frechet]", "controls=[noise]"], "controls=['noise']: goes with scores=[bits_per_dim]"),
        (["controls=[zebras]"], "controls"),
        (["seed=0", "samples=wide.npz"], "samples=wide.npz: 9×8 pixels, and the network has 8×8"),
        (["num_images=3", "samples=wide.npz"], "num_images: does not go with samples"),
        (["num_projections=0"], "num_projections=0"),
        (["solver.rtol=2"], "rtol=2"),
        (["data=cifar10", "data.root=nowhere", "data.download=false"], "nowhere"),
    ],
)
def test_what_does_not_go_together_is_refused(
    scored: tuple[Path, str], call: Command, tmp_path: Path, arguments: list[str], message: str
) -> None:
    given = [] if arguments[0].startswith("samples") else [f"ckpt={scored[0]}"]
    np.savez(tmp_path / "wide.npz", np.zeros((2, 8, 9), np.uint8))
    outcome = call("evaluate", *given, "scores=[bits_per_dim]", *arguments, cwd=tmp_path, check=False)
    assert outcome.status != 0
    assert message in outcome.err


@pytest.mark.usefixtures("judging")
def test_bits_beside_other_scores(scored: tuple[Path, str], call: Command, tmp_path: Path) -> None:
    """One record, in the samples' folder, whose protocol names both; the bits are those that are there."""
    run = shutil.copytree(scored[0].parents[1], tmp_path / "run", symlinks=True)
    few = ["num_samples=20", "sampler.steps_per_level=1", "features=classifier", "scores=[bits_per_dim,frechet]"]
    call("evaluate", f"ckpt={run / 'checkpoints' / scored[0].name}", *BITS, *few, cwd=tmp_path)
    (folder,) = (run / "samples").iterdir()
    record = json.loads((folder / "evaluation.json").read_text())
    assert list(record["scores"]) == ["bits_per_dim_10", "classifier_frechet_20"]
    assert record["scores"]["bits_per_dim_10"] == record_of(scored[0])["scores"]["bits_per_dim_10"]
    assert record["protocol"]["likelihood"] == record_of(scored[0])["protocol"]
    assert record["protocol"]["scores"] == ["frechet"]
