"""The authors' checkpoints, as a user types it: sampled from, converted, and not resumed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from references import reference

from ncsn.commands.cli import main

pytestmark = pytest.mark.slow
Command = Callable[..., Any]

TWO = ["trainer.accelerator=cpu", "trainer.devices=1", "num_samples=2"]
FEW = [*TWO, "sampler.steps_per_level=1"]


def images_in(folder: Path) -> np.ndarray:
    with np.load(folder / "samples.npz") as file:
        return file["arr_0"]


@pytest.fixture
def sample(call: Command, tmp_path: Path) -> Callable[..., tuple[Path, str]]:
    """Samples, and what was printed."""

    def sample(*arguments: str) -> tuple[Path, str]:
        before = set((tmp_path / "samples").glob("*"))
        outcome = call("sample", *arguments, cwd=tmp_path)
        (folder,) = set((tmp_path / "samples").glob("*")) - before
        return folder, outcome.out + outcome.err

    return sample


def test_sampling_from_the_file_alone(sample: Callable[..., tuple[Path, str]], tmp_path: Path) -> None:
    path = shutil.copy(reference("ncsn_mnist"), tmp_path / "checkpoint.pth")
    folder, out = sample(f"ckpt={path}", *FEW)
    assert images_in(folder).shape == (2, 28, 28, 1)
    assert "experiment=mnist" in out
    used = json.loads((folder / "settings.json").read_text())
    assert used["sampler"] == {
        "_target_": "ncsn.samplers.AnnealedLangevin",
        "steps_per_level": 1,
        "step_size": 4e-5,
        "denoise": False,
    }


def test_settings_that_the_file_is_silent_about(sample: Callable[..., tuple[Path, str]], tmp_path: Path) -> None:
    path = shutil.copy(reference("ncsn_mnist"), tmp_path / "checkpoint.pth")
    plain, _ = sample(f"ckpt={path}", *FEW)
    other, _ = sample(f"ckpt={path}", *FEW, "authors.sigma_max=0.5")
    larger, _ = sample(f"ckpt={path}", *FEW, "authors.image_size=32")
    assert images_in(larger).shape == (2, 32, 32, 1)
    assert not np.array_equal(images_in(plain), images_in(other))  # and in folders of their own
    same, _ = sample(f"ckpt={path}", *TWO, "sampler=ald_released", "sampler.steps_per_level=1")
    np.testing.assert_array_equal(images_in(same), images_in(plain))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["authors.sigma_max=high"], "authors.sigma_max=high: must be a number"),
        (["authors.sigma=1"], "authors.sigma: no such key"),
        (["authors.experiment=mnits"], "experiment=mnits: never published; did you mean mnist?"),
        (["sampler=ald_snr"], "sampler.sigma_min: a value is needed"),
        (["sampler=ald_released", "sampler.step_lr=0"], "sampler.step_lr=0.0: must be positive"),
    ],
)
def test_mistakes_are_one_line(call: Command, arguments: list[str], message: str, tmp_path: Path) -> None:
    outcome = call("sample", f"ckpt={reference('ncsn_mnist')}", *FEW, *arguments, cwd=tmp_path, check=False)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_snr_is_the_step_size(sample: Callable[..., tuple[Path, str]], tmp_path: Path) -> None:
    path = shutil.copy(reference("ncsn_mnist"), tmp_path / "checkpoint.pth")
    one, two = "sampler.steps_per_level=1", ["sampler=ald_snr", "sampler.sigma_min=0.01", "sampler.snr=0.316"]
    found, _ = sample(f"ckpt={path}", *TWO, one, *two)
    expected, _ = sample(f"ckpt={path}", *TWO, one, f"sampler.step_size={4 * 0.00316**2}")
    np.testing.assert_array_equal(images_in(found), images_in(expected))


def test_converted_files_give_the_same_samples(sample: Callable[..., tuple[Path, str]], tmp_path: Path) -> None:
    path = shutil.copy(reference("ncsn_mnist"), tmp_path / "checkpoint.pth")
    expected, _ = sample(f"ckpt={path}", *FEW)
    for name in ("mnist.ckpt", "mnist.safetensors"):
        main(["convert", str(path), str(tmp_path / name)])
        folder, _ = sample(f"ckpt={tmp_path / name}", *FEW)
        np.testing.assert_array_equal(images_in(folder), images_in(expected))


def test_training_does_not_go_on_from_a_network_alone(call: Command, tiny: list[str], tmp_path: Path) -> None:
    for name in ("mnist.ckpt", "mnist.safetensors"):
        main(["convert", str(reference("ncsn_mnist")), str(tmp_path / name)])
        outcome = call("train", *tiny, f"resume={tmp_path / name}", cwd=tmp_path, check=False)
        assert outcome.status == 2
        assert "holds a network and not the state of its training" in outcome.err
        assert outcome.err.count("\n") == 1


def test_a_checkpoint_of_training_becomes_safetensors(
    call: Command, tiny_ncsn: list[str], only_run: Callable[[Path], Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    call("train", *tiny_ncsn, "model=ncsnv2", "model.checkpointing=true", "trainer.max_steps=2", cwd=run)
    folder = only_run(run)
    outputs = []
    for weights in ("ema", "raw"):
        path = tmp_path / f"{weights}.safetensors"
        main(["convert", "--weights", weights, str(folder), str(path)])
        for source in (folder, path):
            out = tmp_path / f"{weights}_{source.name}"
            call("sample", f"ckpt={source}", *TWO, f"weights={weights}", f"out={out}", cwd=tmp_path)
            outputs.append(images_in(out))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[2], outputs[3])
