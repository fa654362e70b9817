"""The tasks of `python sample.py`: what is known comes back, what is not differs, and nothing is mixed up."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import asked
from PIL import Image

from ncsn.commands.sample import sample
from ncsn.data import Digits
from ncsn.errors import UserError
from ncsn.images import grid

pytestmark = pytest.mark.slow
Command = Callable[..., Any]
Arrays = dict[str, np.ndarray]

CPU = ["trainer.accelerator=cpu", "trainer.devices=1"]
FEW = [*CPU, "num_samples=3", "task.num_images=4", "batch_size=5"]  # batches of 5, 5 and 2 chains


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve coloured images of 12×16."""
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(12):
        small = np.random.default_rng(i).integers(60, 200, (3, 4, 3), dtype=np.uint8)
        Image.fromarray(small).resize((16, 12)).save(folder / f"{i:02d}.png")
    return folder


@pytest.fixture(scope="module")
def coloured(
    call: Command, tiny: list[str], only_run: Command, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    cwd = tmp_path_factory.mktemp("coloured")
    data = ["data=image_folder", f"data.root={pictures}", f"data.cache_dir={cwd / 'cache'}", "data.image_size=8"]
    call("train", *tiny, *data, "data.batch_size=4", "trainer.max_steps=2", cwd=cwd)
    return only_run(cwd)


@pytest.fixture(scope="module")
def inpainted(trained: Path, call: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three completions of four digits, by one process."""
    out = tmp_path_factory.mktemp("inpainted") / "samples"
    call("sample", f"ckpt={trained}", "task=inpaint", *FEW, f"out={out}", cwd=out.parent)
    return out


def arrays(folder: Path) -> Arrays:
    with np.load(folder / "samples.npz") as file:
        return dict(file)


def rows(found: Arrays) -> np.ndarray:
    """Samples by the image that they belong to, (N, samples, H, W, C)."""
    return found["arr_0"].reshape(len(found["original"]), -1, *found["arr_0"].shape[1:])


def assert_equal(one: Arrays, other: Arrays, atol: int = 0) -> None:
    assert set(one) == set(other)
    for key in one:
        np.testing.assert_allclose(one[key].astype(int), other[key].astype(int), atol=atol)


def assert_shows(folder: Path, images: np.ndarray, columns: int) -> None:
    """The picture in a folder is these images, uint8 (B, H, W, C), so many in a row."""
    expected = grid(torch.from_numpy(images).permute(0, 3, 1, 2) / 255, columns)
    assert np.array_equal(np.asarray(Image.open(folder / "grid.png")), expected)


# Restoration


SMALL_STEPS = "sampler.step_size=1e-8"  # so that not all is clamped
RESTORED: dict[str, tuple[str, list[str]]] = {  # of which network, and how
    "left": ("digits", ["task=inpaint"]),
    "random": ("digits", ["task=inpaint", "task.mask=random", "task.fraction=0.25"]),
    "uncrop": ("digits", ["task=uncrop"]),
    "means": ("digits", ["task=super_resolution"]),
    "twenty": ("digits", ["task=inpaint", "sampler=dpmpp_2m", "sampler.steps=20"]),
    "center": ("colours", ["task=inpaint", "task.mask=center"]),
    "colours in five": ("colours", ["task=colorize", "sampler=ddpm", "sampler.steps=5", "task.images=train"]),
    "colours": ("colours", ["task=colorize", SMALL_STEPS, "task.images=train"]),
    "details": ("colours", ["task=super_resolution", "task.factor=2", SMALL_STEPS, "task.images={pictures}"]),
}
CENTER = np.pad(np.ones((4, 4), bool), 2)
LEFT = np.arange(8) < np.full((8, 1), 4)
MISSING = {"left": LEFT, "twenty": LEFT, "uncrop": ~CENTER, "center": CENTER}


@pytest.fixture(scope="module")
def restored(
    trained: Path, coloured: Path, pictures: Path, call: Command, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """restored(name): the folder of one of the above, drawn once."""
    folder = tmp_path_factory.mktemp("restored")

    def restored(name: str) -> Path:
        network, arguments = RESTORED[name]
        if not (folder / name).exists():
            given = [argument.format(pictures=pictures) for argument in arguments]
            ckpt = trained if network == "digits" else coloured
            call("sample", f"ckpt={ckpt}", *FEW, *given, f"out={folder / name}", cwd=folder)
        return folder / name

    return restored


@pytest.mark.parametrize("name", RESTORED)
def test_writes_samples_what_was_measured_and_the_originals(name: str, restored: Callable[[str], Path]) -> None:
    found, channels = arrays(restored(name)), 1 if RESTORED[name][0] == "digits" else 3
    number = 1 if name == "center" else 4  # one of the twelve pictures is held out
    assert {key: (array.shape, array.dtype) for key, array in found.items()} == {
        "arr_0": ((3 * number, 8, 8, channels), np.uint8),
        "measured": ((number, 8, 8, channels), np.uint8),
        "original": ((number, 8, 8, channels), np.uint8),
    }
    shown = np.concatenate([found["measured"][:, None], rows(found), found["original"][:, None]], axis=1)
    assert_shows(restored(name), shown.reshape(-1, 8, 8, channels), columns=5)


@pytest.mark.parametrize("name", RESTORED)
def test_samples_of_an_image_differ(name: str, restored: Callable[[str], Path]) -> None:
    for samples in rows(arrays(restored(name))):
        for i in range(3):
            assert not any(np.array_equal(samples[i], other) for other in samples[i + 1 :])


@pytest.mark.parametrize("name", MISSING)
def test_known_pixels_are_those_of_the_original(name: str, restored: Callable[[str], Path]) -> None:
    found, missing = arrays(restored(name)), MISSING[name]
    original = np.broadcast_to(found["original"][:, None], rows(found).shape)
    assert np.array_equal(rows(found)[:, :, ~missing], original[:, :, ~missing])
    assert (rows(found)[:, :, missing] != original[:, :, missing]).mean() > 0.5
    assert np.array_equal(found["measured"][:, ~missing], found["original"][:, ~missing])
    assert (found["measured"][:, missing] == 128).all()


def test_random_pixels_are_missing_at_the_same_places_of_all_images(restored: Callable[[str], Path]) -> None:
    found = arrays(restored("random"))
    same = (rows(found) == found["original"][:, None]).all(axis=(0, 1, 4))
    assert same.sum() == 48
    assert np.array_equal(found["measured"][:, same], found["original"][:, same])
    assert (found["measured"][:, ~same] == 128).all()


def test_digits_are_those_that_were_held_out(trained: Path, restored: Callable[[str], Path], tmp_path: Path) -> None:
    data = Digits(root=str(tmp_path))
    data.prepare_data()
    assert np.array_equal(arrays(restored("left"))["original"][..., 0], data.images("val")[:4, 0])


def block_means(images: np.ndarray) -> np.ndarray:
    *batch, height, width, channels = images.shape
    return images.reshape(*batch, height // 2, 2, width // 2, 2, channels).mean(axis=(-4, -2))


def test_details_leave_the_means_of_blocks(restored: Callable[[str], Path]) -> None:
    found = arrays(restored("details"))
    samples, original = rows(found), found["original"][:, None]
    inside = block_means((samples == 0) | (samples == 255)) == 0  # nothing in the block was clamped
    assert inside.mean() > 0.1
    assert abs(block_means(samples) - block_means(original))[inside].max() <= 0.5 + 1e-3
    measured = block_means(found["measured"]).repeat(2, axis=1).repeat(2, axis=2)
    assert np.array_equal(measured, found["measured"])
    assert abs(block_means(found["measured"]) - block_means(original[:, 0])).max() <= 0.5


def test_colours_leave_the_grey(restored: Callable[[str], Path]) -> None:
    found = arrays(restored("colours"))
    samples, original = rows(found).astype(float), found["original"].astype(float)
    inside = ((samples > 0) & (samples < 255)).all(axis=-1)
    assert inside.mean() > 0.1
    assert abs(samples.mean(-1) - original.mean(-1)[:, None])[inside].max() <= 0.5 + 1e-3
    assert (found["measured"] == found["measured"][..., :1]).all()
    assert abs(found["measured"][..., 0] - original.mean(-1)).max() <= 0.5


def test_single_files_on_request(trained: Path, inpainted: Path, call: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call("sample", f"ckpt={trained}", "task=inpaint", *FEW, "format=png", f"out={out}", cwd=tmp_path)
    assert not (out / "samples.npz").exists()
    for folder, key, number in (("images", "arr_0", 12), ("measured", "measured", 4), ("original", "original", 4)):
        files = sorted((out / folder).iterdir())
        assert [f.name for f in files] == [f"{i:05d}.png" for i in range(number)]
        assert np.array_equal([np.asarray(Image.open(f)) for f in files], arrays(inpainted)[key][..., 0])


# Batches and processes


def test_an_interrupted_call_goes_on(trained: Path, inpainted: Path, call: Command, tmp_path: Path) -> None:
    folder = shutil.copytree(inpainted, tmp_path / "samples")
    kept = (folder / "batches" / "00000.npy").stat().st_mtime_ns
    (folder / "batches" / "00001.npy").unlink()
    (folder / "samples.npz").unlink()
    outcome = call("sample", f"ckpt={trained}", "task=inpaint", *FEW, f"out={folder}", cwd=tmp_path)
    assert "2 of 3 batches are there already" in outcome.out
    assert (folder / "batches" / "00000.npy").stat().st_mtime_ns == kept
    assert_equal(arrays(folder), arrays(inpainted))
    assert (folder / "grid.png").read_bytes() == (inpainted / "grid.png").read_bytes()


def test_two_processes_draw_what_one_does(trained: Path, inpainted: Path, call: Command, tmp_path: Path) -> None:
    two = [*FEW, "trainer.devices=2", "trainer.strategy=ddp_fork", f"out={tmp_path / 'out'}"]
    call("sample", f"ckpt={trained}", "task=inpaint", *two, cwd=tmp_path)
    assert_equal(arrays(tmp_path / "out"), arrays(inpainted), atol=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_what_belongs_to_other_settings_never_mixes(
    trained: Path, inpainted: Path, call: Command, tmp_path: Path
) -> None:
    before = arrays(inpainted)
    changes = [
        "task.images=train",
        "task.num_images=3",
        "task.mask=right",
        "num_samples=4",
        "task=uncrop",
    ]
    for change in changes:
        given = ["task=inpaint", *FEW, change, f"out={inpainted}"]
        outcome = call("sample", f"ckpt={trained}", *given, cwd=tmp_path, check=False)
        assert outcome.status == 2
        (line,) = outcome.err.splitlines()
        assert line.startswith(f"error: out={inpainted}: holds samples with task=")
    assert_equal(arrays(inpainted), before)


def test_other_pixels_in_a_file_of_the_same_name_are_another_image(
    trained: Path, call: Command, tmp_path: Path
) -> None:
    given = [f"ckpt={trained}", "task=denoise", *CPU, f"task.images={tmp_path / 'a.png'}", f"out={tmp_path / 'out'}"]
    for value, status in ((10, 0), (10, 0), (11, 2)):
        Image.fromarray(np.full((8, 8), value, np.uint8)).save(tmp_path / "a.png")
        assert call("sample", *given, cwd=tmp_path, check=False).status == status


def test_each_task_has_a_folder_of_its_own(trained: Path, call: Command, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run", symlinks=True)
    for task in ("generate", "super_resolution", "denoise"):
        number = [] if task == "denoise" else ["num_samples=1"]
        call("sample", f"ckpt={run}", f"task={task}", *CPU, *number, cwd=tmp_path)
    names = sorted(folder.name.rpartition("_")[0] for folder in (run / "samples").iterdir())
    tasks = ["", "denoise_", "superresolution_"]
    assert names == sorted(f"step_0000006_{task}ema" for task in tasks)


def test_trajectories_end_at_the_samples(trained: Path, inpainted: Path, call: Command, tmp_path: Path) -> None:
    folder = shutil.copytree(inpainted, tmp_path / "samples")
    call("sample", f"ckpt={trained}", "task=inpaint", *FEW, "trajectory=3", f"out={folder}", cwd=tmp_path)
    assert Image.open(folder / "trajectory.gif").n_frames == 4  # type: ignore[attr-defined]  # and the start
    strip = np.asarray(Image.open(folder / "trajectory.png"))
    ends = torch.from_numpy(arrays(inpainted)["arr_0"][:5]).permute(0, 3, 1, 2) / 255
    shown = grid(ends.repeat_interleave(4, dim=0), 4)
    assert strip.shape == shown.shape
    last_column = slice(round(strip.shape[1] * 0.76), None)
    assert np.array_equal(strip[:, last_column], shown[:, last_column])
    assert not np.array_equal(strip, shown)
    assert_equal(arrays(folder), arrays(inpainted))


# Noise shared, noise taken away, and starts


def test_rows_of_an_interpolation_stay_together(trained: Path, call: Command, tmp_path: Path) -> None:
    given = [f"ckpt={trained}", "task=interpolate", "task.num_angles=4", *CPU, "num_samples=3"]
    for batch_size, batches in ((3, 3), (7, 3), (8, 2)):
        out = tmp_path / str(batch_size)
        call("sample", *given, f"batch_size={batch_size}", f"out={out}", cwd=tmp_path)
        assert len(list((out / "batches").iterdir())) == batches
        found = arrays(out)
        assert set(found) == {"arr_0"}
        assert found["arr_0"].shape == (12, 8, 8, 1)
        assert_shows(out, found["arr_0"], columns=4)
        row = found["arr_0"].reshape(3, 4, -1).astype(float)
        apart, ends = abs(row[:, 1:] - row[:, :-1]).mean(), abs(row[:, -1] - row[:, 0]).mean()
        assert 0 < apart < 0.7 * ends
        assert ends < 1.2 * abs(row[1:] - row[:-1]).mean()  # rows have nothing in common
    assert_equal(arrays(tmp_path / "3"), arrays(tmp_path / "7"))


def test_denoising_is_one_step_and_the_same_in_any_batch(trained: Path, call: Command, tmp_path: Path) -> None:
    given = [f"ckpt={trained}", "task=denoise", "task.num_images=5", "task.sigma=0.1", *CPU]
    outcome = call("sample", *given, "batch_size=2", f"out={tmp_path / 'one'}", cwd=tmp_path)
    assert "Tweedie(sigma=0.1)" in outcome.out
    call("sample", *given, "seed=3", f"out={tmp_path / 'other'}", cwd=tmp_path)
    found = arrays(tmp_path / "one")
    assert_equal(found, arrays(tmp_path / "other"), atol=1)
    assert {key: array.shape for key, array in found.items()} == dict.fromkeys(found, (5, 8, 8, 1))
    noise = found["measured"].astype(float) - found["original"]
    grey = (found["original"] > 80) & (found["original"] < 175)  # where little of it is clamped
    assert noise[grey].std() == pytest.approx(0.1 * 255, rel=0.3)
    assert not np.array_equal(found["arr_0"], found["measured"])
    shown = np.stack([found["measured"], found["arr_0"], found["original"]], axis=1)
    assert_shows(tmp_path / "one", shown.reshape(15, 8, 8, 1), columns=3)


def test_the_users_noisy_images_get_no_more_noise(trained: Path, call: Command, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noisy.png")
    given = ["task=denoise", "task.noisy=true", f"task.images={tmp_path / 'noisy.png'}", *CPU]
    call("sample", f"ckpt={trained}", *given, f"out={tmp_path / 'out'}", cwd=tmp_path)
    found = arrays(tmp_path / "out")
    assert np.array_equal(found["measured"][0, ..., 0], pixels)
    assert not np.array_equal(found["arr_0"], found["measured"])


def test_chains_start_where_they_are_told_to(trained: Path, pictures: Path, call: Command, tmp_path: Path) -> None:
    samples = {}
    for init in ("uniform", "gaussian", "val", str(pictures)):
        out = tmp_path / str(len(samples))
        given = [*CPU, f"task.init={init}", "num_samples=14", "batch_size=9", "sampler.step_size=1e-7"]
        call("sample", f"ckpt={trained}", *given, f"out={out}", cwd=tmp_path)
        samples[init] = arrays(out)["arr_0"]
        assert set(arrays(out)) == {"arr_0"}
        assert samples[init].shape == (14, 8, 8, 1)
    found = list(samples.values())
    assert all(not np.array_equal(found[i], found[j]) for i in range(4) for j in range(i))
    clamped = {init: ((x == 0) | (x == 255)).mean() for init, x in samples.items()}
    assert clamped["uniform"] < 0.1  # in [0, 1]
    assert clamped["gaussian"] > 0.5  # N(0, 1)


# Wrong requests


WRONG = [  # arguments, what the line has to say
    ("task=inpaint task.fraction=2", ["task.fraction=2", "between 0 and 1"]),
    ("task=inpaint task.fraction=half", ["task.fraction=half", "number"]),
    ("task=inpaint task.mask=nowhere", ["task.mask=nowhere", "left, right, top"]),
    ("task=inpaint task.mask=white.png", ["task.mask=white.png", "all one"]),
    ("task=inpaint task.mask=notes.txt", ["task.mask=notes.txt", "not an image"]),
    ("task=uncrop task.fraction=0", ["task.fraction=0", "between 0 and 1"]),
    ("task=uncrop num_samples=0", ["num_samples=0", "at least 1"]),
    ("task=uncrop task.num_images=0", ["task.num_images=0", "at least 1"]),
    ("task=uncrop task.images=missing", ["task.images=missing", "no such file or folder"]),
    ("task=uncrop task.images=empty", ["task.images=empty", "no images"]),
    ("task=uncrop task.images=notes.txt", ["notes.txt", "not an image"]),
    ("task=colorize", ["task: ", "one channel"]),
    ("task=super_resolution task.factor=3", ["task.factor=3", "divide 8×8"]),
    ("task=super_resolution task.factor=0", ["task.factor=0", "at least 1"]),
    ("task=denoise num_samples=3", ["num_samples=3", "one"]),
    ("task=denoise task.sigma=0", ["task.sigma=0", "positive"]),
    ("task=interpolate task.num_angles=1", ["task.num_angles=1", "at least 2"]),
    ("task=interpolate task.images=white.png", ["task.images=white.png", "takes two"]),
    ("task=encode sampler.step_size=1e-5", ["sampler: ", "solver=rk45 or heun"]),
    ("task=encode solver.rtol=2", ["solver.rtol=2", "below 1"]),
    ("task=decode", ["task.latents", "a value is needed"]),
    ("task=decode task.latents=notes.txt task.temperature=0", ["task.temperature=0", "positive"]),
    ("task.init=nowhere", ["task.init=nowhere", "no such file or folder"]),
    ("task.init=empty", ["task.init=empty", "no images"]),
    ("task=interpolate task.image=val", ["task.image", "no such key", "did you mean images"]),
    ("task=inpant", ["inpant", "inpaint", "uncrop"]),
]  # fmt: skip
TYPED = [arguments for arguments, _ in WRONG[-2:]]  # of the others, what is asked for is made without composing it


@pytest.mark.parametrize(("arguments", "told"), WRONG, ids=[arguments for arguments, _ in WRONG])
def test_a_wrong_request_is_told_in_one_line(
    arguments: str,
    told: list[str],
    network: Path,
    call: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    checkpoint = shutil.copy(network, tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("not an image")
    Image.new("L", (8, 8), 255).save(tmp_path / "white.png")
    given = [f"ckpt={checkpoint}", *CPU, *arguments.split()]
    if arguments in TYPED:
        outcome = call("sample", *given, cwd=tmp_path, check=False)
        assert outcome.status == 2
        (line,) = outcome.err.splitlines()
        assert line.startswith("error: ")
    else:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UserError) as refused:
            sample(asked(given, "sample"))
        line = str(refused.value)
    assert "\n" not in line
    assert [word for word in told if word not in line] == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["alone.safetensors", "empty", "notes.txt", "white.png"]
