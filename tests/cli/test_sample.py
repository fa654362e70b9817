"""`python sample.py`: from a checkpoint alone, and batch by batch."""

import json
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

from ncsn import UNet, load_score
from ncsn.sampling.prepare import largest

pytestmark = pytest.mark.slow
Command = Callable[..., Any]

CPU = ["trainer.accelerator=cpu", "trainer.devices=1"]
TEN = [*CPU, "num_samples=10", "batch_size=4"]  # batches of 4, 4 and 2


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """A run's folder of the test's own."""
    return shutil.copytree(trained, tmp_path / "run", symlinks=True)


@pytest.fixture(scope="module")
def ten(trained: Path, call: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten samples of one process."""
    out = tmp_path_factory.mktemp("ten") / "samples"
    call("sample", f"ckpt={trained}", *TEN, f"out={out}", cwd=out.parent)
    return out


def images_in(folder: Path) -> np.ndarray:
    with np.load(folder / "samples.npz") as file:
        return file["arr_0"]


def test_a_runs_folder_gives_a_grid_and_an_archive(copy: Path, call: Command, tmp_path: Path) -> None:
    outcome = call("sample", f"ckpt={copy}", *CPU, "num_samples=6", "sampler.steps_per_level=30", cwd=tmp_path)
    (folder,) = (copy / "samples").iterdir()
    assert images_in(folder).shape == (6, 8, 8, 1)
    assert images_in(folder).dtype == np.uint8
    assert images_in(folder).std() > 0
    assert min(Image.open(folder / "grid.png").size) >= 300
    assert f"picture: {folder / 'grid.png'}" in outcome.out
    assert "images/s" in outcome.err
    assert folder.name.startswith("step_0000006_ema_")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_a_checkpoint_on_its_own_is_enough(trained: Path, ten: Path, call: Command, tmp_path: Path) -> None:
    shutil.copy(trained / "checkpoints" / "step_0000006.ckpt", tmp_path / "alone.ckpt")
    call("sample", f"ckpt={tmp_path / 'alone.ckpt'}", *TEN, cwd=tmp_path)
    (folder,) = (tmp_path / "samples").iterdir()
    np.testing.assert_array_equal(images_in(folder), images_in(ten))


def test_single_files_on_request(trained: Path, ten: Path, call: Command, tmp_path: Path) -> None:
    call("sample", f"ckpt={trained}", *TEN, "format=png", f"out={tmp_path / 'out'}", cwd=tmp_path)
    files = sorted((tmp_path / "out" / "images").iterdir())
    assert [f.name for f in files] == [f"{i:05d}.png" for i in range(10)]
    np.testing.assert_array_equal(np.stack([np.asarray(Image.open(f)) for f in files]), images_in(ten)[..., 0])


def test_trajectory_on_request_even_when_the_samples_are_there(
    trained: Path, ten: Path, call: Command, tmp_path: Path
) -> None:
    folder = shutil.copytree(ten, tmp_path / "samples")
    call("sample", f"ckpt={trained}", *TEN, "trajectory=3", f"out={folder}", cwd=tmp_path)
    assert Image.open(folder / "trajectory.gif").n_frames == 4  # type: ignore[attr-defined]  # and the start
    width, height = Image.open(folder / "trajectory.png").size
    assert width / height == pytest.approx(4 / 4, rel=0.05)  # 4 frames of 4 chains
    np.testing.assert_array_equal(images_in(folder), images_in(ten))


def test_an_interrupted_run_draws_only_what_is_missing(
    trained: Path, ten: Path, call: Command, tmp_path: Path
) -> None:
    folder = shutil.copytree(ten, tmp_path / "samples")
    batches = [folder / "batches" / f"{i:05d}.npy" for i in range(3)]
    before = [path.stat().st_mtime_ns for path in batches]
    batches[1].unlink()
    (folder / "samples.npz").unlink()
    outcome = call("sample", f"ckpt={trained}", *TEN, f"out={folder}", cwd=tmp_path)
    after = [path.stat().st_mtime_ns for path in batches]
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1] > before[1]
    assert "2 of 3 batches are there already" in outcome.out
    np.testing.assert_array_equal(images_in(folder), images_in(ten))


def test_settings_never_mix_in_one_folder(trained: Path, ten: Path, call: Command, tmp_path: Path) -> None:
    before = images_in(ten)
    for change in ("seed=1", "weights=raw", "sampler.step_size=1e-5", "batch_size=5"):
        outcome = call("sample", f"ckpt={trained}", *TEN, change, f"out={ten}", cwd=tmp_path, check=False)
        assert outcome.status == 2
        assert change.partition("=")[0].partition(".")[0] in outcome.err
    np.testing.assert_array_equal(images_in(ten), before)


def test_without_a_folder_named_each_setting_gets_its_own(copy: Path, call: Command, tmp_path: Path) -> None:
    samples = {}
    for change in ("seed=0", "seed=1", "weights=raw", "sampler.step_size=1e-4"):
        call("sample", f"ckpt={copy}", *TEN, change, cwd=tmp_path)
        (folder,) = set((copy / "samples").iterdir()) - set(samples)
        samples[folder] = images_in(folder)
    different = list(samples.values())
    for i, one in enumerate(different):
        assert not any(np.array_equal(one, other) for other in different[i + 1 :])


def test_one_sampler_setting_replaced_keeps_the_others_of_the_checkpoint(
    trained: Path, call: Command, tmp_path: Path
) -> None:
    path = tmp_path / "changed.ckpt"
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["sampler"] |= {"step_size": 7e-5, "denoise": True}
    torch.save(checkpoint, path)
    call("sample", f"ckpt={path}", *TEN, "sampler.steps_per_level=1", f"out={tmp_path / 'out'}", cwd=tmp_path)
    used = json.loads((tmp_path / "out" / "settings.json").read_text())["sampler"]
    assert used == checkpoint["hyper_parameters"]["sampler"] | {"steps_per_level": 1}


def test_a_run_without_average_is_sampled_raw(
    call: Command, tiny: list[str], only_run: Command, tmp_path: Path
) -> None:
    call("train", *tiny, "callbacks.ema=null", "trainer.max_steps=2", cwd=tmp_path)
    outcome = call("sample", f"ckpt={only_run(tmp_path)}", *TEN, cwd=tmp_path)
    assert "no moving average" in outcome.out
    (folder,) = (only_run(tmp_path) / "samples").iterdir()
    assert "_raw_" in folder.name


def test_it_ends_when_it_is_told_to(
    trained: Path, call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, steps = UNet.forward, iter(range(100))

    def told(self: UNet, *given: Any) -> Any:
        if next(steps) == 20:
            os.kill(os.getpid(), signal.SIGTERM)
        return forward(self, *given)

    monkeypatch.setattr(UNet, "forward", told)
    endless = ["num_samples=1", "sampler.steps_per_level=1000000", f"out={tmp_path / 'out'}"]
    outcome = call("sample", f"ckpt={trained}", *CPU, *endless, cwd=tmp_path, check=False)
    assert outcome.status == 128 + signal.SIGTERM
    assert outcome.err.splitlines()[-1] == "interrupted by SIGTERM"


def test_the_largest_batch_is_for_a_gpu_to_say(trained: Path, call: Command, tmp_path: Path) -> None:
    arguments = [f"ckpt={trained}", *CPU, "batch_size=auto", f"out={tmp_path / 'out'}"]
    outcome = call("sample", *arguments, cwd=tmp_path, check=False)
    assert outcome.status == 2
    assert "batch_size=auto: looks for what fits on one GPU, not a cpu; give a number" in outcome.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("holds", "most", "expected"), [(100, 1000, 64), (100, 96, 96), (64, 1000, 64), (0, 7, 1)])
def test_the_largest_batch_is_looked_for_by_doubling(holds: int, most: int, expected: int) -> None:
    tried = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= holds

    assert largest(fits, most) == expected
    assert max(tried) <= most


def test_the_recommended_sampler_is_said_and_recorded(
    call: Command, tiny_ncsn: list[str], only_run: Command, tmp_path: Path
) -> None:
    call("train", *tiny_ncsn, "trainer.max_steps=1", cwd=tmp_path)
    run = only_run(tmp_path)
    outcome = call("sample", f"ckpt={run}", *CPU, "num_samples=2", "sampler=recommended", cwd=tmp_path)
    assert "sampler=recommended: the sampler of its training, since NCSN knows the levels" in outcome.out
    (folder,) = (run / "samples").iterdir()
    used = json.loads((folder / "settings.json").read_text())["sampler"]
    assert used == load_score(run).config["sampler"]


def test_a_number_of_evaluations_is_a_sampler(copy: Path, call: Command, tmp_path: Path) -> None:
    call("sample", f"ckpt={copy}", *CPU, "num_samples=2", "sampler=ald_30", cwd=tmp_path)
    (folder,) = (copy / "samples").iterdir()
    assert json.loads((folder / "settings.json").read_text())["sampler"]["evaluations"] == 30
    assert images_in(folder).shape == (2, 8, 8, 1)
