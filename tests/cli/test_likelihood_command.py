"""`python evaluate.py scores=[bits_per_dim]`: likelihoods of held-out images with their protocol."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

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


def folder_of(path: Path) -> Path:
    (folder,) = (f for f in (path.parents[1] / "likelihood").iterdir() if f.is_dir())
    return folder


def record_of(path: Path) -> dict[str, Any]:
    return json.loads((folder_of(path) / "likelihood.json").read_text())


def test_bits_are_those_of_the_dequantised_held_out_images(scored: tuple[Path, str]) -> None:
    """Every number from the core, image by image: nothing depends on the batches."""
    path, out = scored
    score, record = load_score(path), record_of(path)
    data = training_data(score)
    mean, variance = moments_of(data.images("train"))
    nats = []
    for number, image in enumerate(data.images("val")[:10]):
        draws = Draws(0, "likelihood", number)
        x = dequantize(to_unit_interval(image[None]), draws.uniform(1, *image.shape))
        options: dict[str, Any] = {"mean": mean, "variance": variance, "normal": draws.normal}
        nats.append(log_likelihood(score, x, score.sigmas, solver=HeunSteps(3), **options).nats)
    bits = 8 - torch.cat(nats) / (64 * math.log(2))
    assert record["scores"] == {"bits_per_dim_10": pytest.approx(float(bits.mean()), rel=1e-5)}
    found = record["likelihood"]
    assert found["standard_error"] == pytest.approx(float(bits.std()) / math.sqrt(10), rel=1e-4)
    assert (found["images"], found["dimensions"], found["evaluations"], found["of"]) == (10, 64, 4, "digits val")
    with np.load(folder_of(path) / "likelihood.npz") as file:
        np.testing.assert_allclose(file["nats"], torch.cat(nats), rtol=1e-5)
    by_class = found["by_class"]
    shares = zip(by_class["counts"], by_class["bits_per_dim"], strict=True)
    assert sum(count * value for count, value in shares) / 10 == pytest.approx(float(bits.mean()), rel=1e-5)
    assert set(record["protocol"]) >= {"images", "prior", "solver", "num_projections", "projection", "seed"}
    assert not (folder_of(path) / "batches").exists()
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
        if len(computed) == 2 and len(computed) == self.num_batches - 1:
            raise KeyboardInterrupt
        return before(self, number, batch_idx)

    monkeypatch.setattr(PerImage, "predict_step", counted)
    call("evaluate", f"ckpt={path}", *BITS, cwd=tmp_path)
    assert computed == []
    expected = record_of(path)
    shutil.rmtree(run / "likelihood")
    call("evaluate", f"ckpt={path}", *BITS, cwd=tmp_path, check=False)
    assert computed == [0, 1]
    call("evaluate", f"ckpt={path}", *BITS, cwd=tmp_path)
    assert computed == [0, 1, 1, 2]
    found = record_of(path)
    assert (found["scores"], found["likelihood"]) == (expected["scores"], expected["likelihood"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["samples=images", "data=digits"], "bits_per_dim is of a network"),
        (["num_projections=0"], "num_projections=0"),
        (["solver.rtol=2"], "rtol=2"),
        (["data=cifar10", "data.root=nowhere", "data.download=false"], "nowhere"),
    ],
)
def test_what_does_not_go_together_is_refused(
    scored: tuple[Path, str], call: Command, tmp_path: Path, arguments: list[str], message: str
) -> None:
    given = [] if arguments[0].startswith("samples") else [f"ckpt={scored[0]}"]
    outcome = call("evaluate", *given, "scores=[bits_per_dim]", *arguments, cwd=tmp_path, check=False)
    assert outcome.status != 0
    assert message in outcome.err


@pytest.mark.usefixtures("judging")
def test_bits_beside_other_scores(scored: tuple[Path, str], call: Command, tmp_path: Path) -> None:
    """One record, in the samples' folder, whose protocol names both; the bits are those that are there."""
    run = shutil.copytree(scored[0].parents[1], tmp_path / "run", symlinks=True)
    few = ["num_samples=20", "sampler.steps_per_level=1", "features=classifier", "scores=[frechet,bits_per_dim]"]
    call("evaluate", f"ckpt={run / 'checkpoints' / scored[0].name}", *BITS, *few, cwd=tmp_path)
    (folder,) = (run / "samples").iterdir()
    record = json.loads((folder / "evaluation.json").read_text())
    assert set(record["scores"]) == {"classifier_frechet_20", "bits_per_dim_10"}
    assert record["scores"]["bits_per_dim_10"] == record_of(scored[0])["scores"]["bits_per_dim_10"]
    assert record["protocol"]["likelihood"] == record_of(scored[0])["protocol"]
    assert record["protocol"]["scores"] == ["frechet"]
