"""`python sample.py task=encode` and `task=decode`: latents are kept, lead back, and go on after an interruption."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ncsn
from ncsn.flow import HeunSteps, decode, encode
from ncsn.images import grid

pytestmark = pytest.mark.slow
Command = Callable[..., Any]

SETTINGS = ["trainer.accelerator=cpu", "trainer.devices=1", "solver=heun", "solver.steps=8"]
GIVEN = [*SETTINGS, "task=encode", "task.num_images=5", "batch_size=2"]


@pytest.fixture(scope="module")
def encoded(trained: Path, call: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Five digits in three batches, and what was printed."""
    out = tmp_path_factory.mktemp("encoded") / "samples"
    return out, call("sample", f"ckpt={trained}", *GIVEN, f"out={out}", cwd=out.parent).out


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def test_latents_are_kept_and_what_is_lost_is_said(trained: Path, encoded: tuple[Path, str]) -> None:
    folder, out = encoded
    score, samples, found = ncsn.load_score(trained), arrays(folder / "samples.npz"), arrays(folder / "latents.npz")
    assert set(samples) == {"arr_0", "original", "latent"}
    assert all((array.shape, array.dtype) == ((5, 8, 8, 1), np.uint8) for array in samples.values())
    x = torch.from_numpy(samples["original"]).permute(0, 3, 1, 2) / 255
    latents = encode(score, x, score.sigmas, solver=HeunSteps(8))
    assert found["latents"].dtype == np.float32
    np.testing.assert_allclose(found["latents"], latents, atol=1e-4)
    assert np.array_equal(found["sigmas"], score.sigmas)
    error = 255 * (decode(score, latents, score.sigmas, solver=HeunSteps(8)) - x).abs()
    record = json.loads((folder / "round_trip.json").read_text())
    assert (record["images"], record["unit"]) == (5, "one of 256 grey levels")
    assert record["maximum"] == pytest.approx(float(error.max()), rel=1e-2)
    assert record["mean"] == pytest.approx(float(error.mean()), rel=1e-2)
    assert f"by {record['maximum']:.2g} at most" in out
    assert str(folder / "latents.npz") in out
    shown = np.stack([samples["original"], samples["latent"], samples["arr_0"]], axis=1).reshape(15, 8, 8, 1)
    expected = grid(torch.from_numpy(shown).permute(0, 3, 1, 2) / 255, 3)
    assert np.array_equal(np.asarray(Image.open(folder / "grid.png")), expected)


def test_what_was_encoded_is_decoded_again_and_cooler(
    trained: Path, encoded: tuple[Path, str], call: Command, tmp_path: Path
) -> None:
    given = [f"ckpt={trained}", *SETTINGS, "task=decode", f"task.latents={encoded[0] / 'latents.npz'}"]
    call("sample", *given, "batch_size=3", f"out={tmp_path / 'same'}", cwd=tmp_path)
    call("sample", *given, "task.temperature=0.5", f"out={tmp_path / 'cool'}", cwd=tmp_path)
    expected = arrays(encoded[0] / "samples.npz")["arr_0"].astype(int)
    same, cool = (arrays(tmp_path / name / "samples.npz")["arr_0"].astype(int) for name in ("same", "cool"))
    np.testing.assert_allclose(same, expected, atol=1)
    assert abs(cool - expected).mean() > 2


def test_an_interrupted_call_goes_on(trained: Path, encoded: tuple[Path, str], call: Command, tmp_path: Path) -> None:
    """Also where an image of a batch is there, and its latents are not."""
    folder = shutil.copytree(encoded[0], tmp_path / "samples")
    (folder / "batches" / "00000.npy").unlink()
    (folder / "batches" / "00002_exact.npy").write_bytes(b"half")
    kept = (folder / "batches" / "00001_exact.npy").stat().st_mtime_ns
    for name in ("latents.npz", "samples.npz", "round_trip.json"):
        (folder / name).unlink()
    outcome = call("sample", f"ckpt={trained}", *GIVEN, "format=png", f"out={folder}", cwd=tmp_path)
    assert "1 of 3 batches are there already" in outcome.out
    assert (folder / "batches" / "00001_exact.npy").stat().st_mtime_ns == kept
    for name in ("latents.npz", "round_trip.json"):
        assert (folder / name).read_bytes() == (encoded[0] / name).read_bytes()
    before = arrays(encoded[0] / "samples.npz")
    for name, key in (("images", "arr_0"), ("original", "original"), ("latent", "latent")):
        files = sorted((folder / name).iterdir())
        assert np.array_equal([np.asarray(Image.open(file)) for file in files], before[key][..., 0])


def test_from_one_given_image_to_the_next(trained: Path, call: Command, tmp_path: Path) -> None:
    given = ["task=interpolate", "task.images=val", "task.num_images=3", "task.num_angles=4", "batch_size=4"]
    call("sample", f"ckpt={trained}", *SETTINGS, *given, f"out={tmp_path / 'out'}", cwd=tmp_path)
    found = arrays(tmp_path / "out" / "samples.npz")
    rows, original = found["arr_0"].reshape(2, 4, 8, 8).astype(int), found["original"][..., 0].astype(int)
    off = 255 * 0.01
    assert abs(rows[:, 0] - original[:2]).mean() < off
    assert abs(rows[:, -1] - original[1:]).mean() < off
    assert abs(rows[:, 1:] - rows[:, :-1]).mean(axis=(2, 3)).min() > off
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["sampler"] is None
    assert settings["task"]["solver"]["_target_"] == "ncsn.flow.HeunSteps"
