"""`task=restore` and `task=panorama`: what a network that restores is given, and what comes of it."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ncsn.checkpoint import TrainedScore
from ncsn.damage import Colorize, Inpaint, Jpeg, Multitask, SuperResolution, Uncrop, name_of
from ncsn.errors import ConfigError, DataError
from ncsn.images import to_uint8
from ncsn.noise import geometric
from ncsn.random import Draws
from ncsn.samplers import DDIM, AnnealedLangevin, DPMSolverPP, Heun, num_evaluations
from ncsn.sampling.drawing import draw, steps
from ncsn.sampling.prepare import first_step
from ncsn.sampling.tasks import Interpolate, Panorama, Restore

Save = Callable[..., Path]


class Gives(nn.Module):
    """The score of images that are surely f(damaged), of no other size than the network's."""

    def __init__(self, size: int, of: Callable[[Tensor], Tensor] = lambda damaged: damaged) -> None:
        super().__init__()
        self.size, self.of = size, of

    def forward(self, x: Tensor, sigma: Tensor, damaged: Tensor | None = None) -> Tensor:
        assert x.shape[-2:] == (self.size, self.size)
        assert damaged is None or damaged.shape == x.shape
        return ((self.of(x if damaged is None else damaged)) - x) / sigma.view(-1, 1, 1, 1) ** 2


def a_score(condition: Any, channels: int = 3, size: int = 16, **options: Any) -> TrainedScore:
    shape = (channels, size, size)
    return TrainedScore(Gives(size, **options), geometric(1, 0.1, 3), shape, {}, "raw", 1, condition)


def restore(condition: Any, path: Path, *, score: dict[str, Any] | None = None, **options: Any) -> Restore:
    options = {"sampler": DPMSolverPP(steps=2), "num_samples": 2, "images": str(path)} | options
    return Restore(score=a_score(condition, **score or {}), **options)


def drawn(task: Any, batch_size: int = 3) -> np.ndarray:
    """All samples, uint8 (N, H, W, C)."""
    return to_uint8(torch.cat([x for _, x in draw(task, batch_size=batch_size, seed=0)]))


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """save(name, pixels): an image file of the test's folder."""

    def save(name: str, pixels: np.ndarray, **options: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **options)
        return path

    return save


def photo(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def pixels_of(path: Path, mode: str = "RGB") -> np.ndarray:
    return np.asarray(Image.open(path).convert(mode))


# Where chains begin


@pytest.mark.parametrize("sampler", [DPMSolverPP(steps=4), AnnealedLangevin(3, 1e-3), Heun(steps=3)], ids=type)
def test_chains_begin_at_the_level_that_hides_what_jpeg_took(sampler: Any, save: Save) -> None:
    task = restore(Jpeg(), save("a.png", photo(16, 16, 3)), sampler=sampler, num_samples=20)
    (x, _), *after = steps(task, range(20), Draws(0))
    damaged = task.condition["damaged"]
    noise = (x - damaged) / task.score.sigmas[1]
    assert abs(float(noise.mean())) < 0.03
    assert abs(float(noise.std()) - 1) < 0.02
    states = [state for _, state in after if state is not None]
    assert {state.level for state in states} == {1, 2}
    assert len(states) == task.num_steps
    assert num_evaluations(task.sampler_of(range(20), Draws(0)), 3) == num_evaluations(sampler, 2)


@pytest.mark.parametrize("levels", [[1.0], [1.0, 0.7, 0.1], [0.5, 0.1]])
def test_chains_begin_at_the_first_level_where_it_hides_no_more_or_no_ladder_would_be_left(
    levels: list[float], save: Save
) -> None:
    task = restore(Jpeg(), save("a.png", photo(16, 16, 3)))
    task.score = replace(task.score, sigmas=torch.tensor(levels))
    assert task.first_level == 0


def test_chains_begin_in_noise_where_colours_are_unknown(save: Save) -> None:
    task = restore(Colorize(), save("a.png", photo(16, 16, 3)), num_samples=20)
    assert abs(float((task.start(range(20), Draws(0)) - 0.5).std()) - float(task.score.sigmas[0])) < 0.02


# Damaged already


@pytest.mark.parametrize(("size", "shape"), [("network", (16, 16)), ("original", (37, 22))])
@pytest.mark.parametrize(
    ("condition", "damage"),
    [(Colorize(), None), (Jpeg(), None), (Multitask(["inpaint", "jpeg"]), "jpeg")],
)
def test_a_photograph_is_given_as_it_is_and_has_no_original(
    condition: Any, damage: str | None, size: Any, shape: tuple[int, int], save: Save
) -> None:
    path = save("a.jpg", photo(*shape), quality=20)  # grey
    task = restore(condition, path, damaged=True, damage=damage, size=size)
    assert np.array_equal(to_uint8(task.measured)[0], pixels_of(path))
    assert set(task.beside) == {"measured"}
    samples = drawn(task)
    assert np.array_equal(samples, [pixels_of(path)] * 2)
    images, columns = task.picture(torch.from_numpy(samples).permute(0, 3, 1, 2) / 255)
    assert (columns, images.shape[0]) == (3, 3)


@pytest.mark.parametrize(("size", "shape"), [("network", (16, 16)), ("original", (40, 24))])
@pytest.mark.parametrize("condition", [Colorize(), SuperResolution(4)], ids=name_of)
def test_what_is_left_of_an_image_is_kept_whatever_the_network_says(
    condition: Any, size: Any, shape: tuple[int, int], save: Save
) -> None:
    too_dark = {"of": lambda damaged: 0.3 * damaged}
    task = restore(condition, save("a.png", photo(*shape, 3)), size=size, score=too_dark)
    assert task.num_steps == 3
    for _, samples in draw(task, batch_size=1, seed=0):
        torch.testing.assert_close(samples, task.measured, rtol=0, atol=1e-5)


def test_colours_that_have_faded_are_taken_for_grey(save: Save) -> None:
    path = save("sepia.png", photo(16, 16, 3))
    given = restore(Colorize(), path, damaged=True).condition["damaged"]
    torch.testing.assert_close(given[0, 1], torch.from_numpy(photo(16, 16, 3)).float().mean(-1) / 255)


@pytest.mark.parametrize(("size", "small"), [("network", (4, 4)), ("original", (6, 11))])
def test_a_small_image_becomes_as_large_as_the_factor_says(size: Any, small: tuple[int, int], save: Save) -> None:
    path = save("a.png", photo(*small, 3))
    found = drawn(restore(SuperResolution(4), path, damaged=True, size=size))
    assert np.array_equal(found[1], photo(*small, 3).repeat(4, 0).repeat(4, 1))


@pytest.mark.parametrize(("size", "shape"), [("network", (16, 16)), ("original", (40, 21))])
@pytest.mark.parametrize("given", ["picture", "folder"])
@pytest.mark.parametrize("damaged", [True, False])
def test_a_hole_is_that_of_the_mask_and_all_else_comes_back(
    given: str, damaged: bool, size: Any, shape: tuple[int, int], save: Save, tmp_path: Path
) -> None:
    for name in "ab":
        save(f"photos/{name}.jpg", photo(*shape, 3))
    masks = {name: photo(*shape, seed=ord(name)) // 128 * 255 for name in ("ab" if given == "folder" else "a")}
    paths = [save(f"masks/{name}.png", mask) for name, mask in masks.items()]
    save("masks/other.png", photo(3, 3))
    mask = paths[0] if given == "picture" else tmp_path / "masks"
    grey = {"of": lambda damaged: torch.zeros_like(damaged)}
    task = restore(Inpaint(), tmp_path / "photos", damaged=damaged, mask=str(mask), size=size, score=grey)
    assert ("original" in task.beside) == (not damaged)
    samples = drawn(task)
    for number, name in enumerate("ab"):
        missing = masks.get(name, masks["a"]) == 255
        found = samples[2 * number : 2 * number + 2]
        assert (found[:, missing] == 0).all()
        known = pixels_of(tmp_path / "photos" / f"{name}.jpg")[~missing]
        assert np.array_equal(found[:, ~missing], [known] * 2)
        assert (to_uint8(task.measured)[number][missing] == 128).all()


@pytest.mark.parametrize(
    ("condition", "damage"), [(Inpaint(), None), (Uncrop(), None), (Multitask(["inpaint", "jpeg"]), "inpaint")]
)
def test_the_centre_of_clean_images(condition: Any, damage: str | None, save: Save) -> None:
    """Palette's benchmark: the middle half of the height and the width."""
    task = restore(condition, save("a.png", photo(16, 16, 3)), mask="center", damage=damage)
    hole = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    hole[..., 4:12, 4:12] = True
    assert torch.equal(task.condition["hole"], hole)
    noise = task.condition["damaged"][hole.expand(1, 3, 16, 16)]
    assert (float(noise.mean()), float(noise.std())) == pytest.approx((0.5, 0.5), abs=0.15)
    other = restore(condition, save("a.png", photo(16, 16, 3)), mask="center", fraction=0.6, damage=damage)
    assert task.identity["missing_pixels"] != other.identity["missing_pixels"]


# Larger than the network


def test_a_clean_photograph_is_damaged_as_a_whole_and_restored_by_tiles(save: Save) -> None:
    path = save("a.png", photo(40, 52, 3))
    task = restore(Jpeg(), path, size="original", score={"of": lambda damaged: 1 - damaged})
    assert np.array_equal(to_uint8(task.original)[0], photo(40, 52, 3))
    assert task.condition["damaged"].shape == (1, 3, 40, 52)
    assert np.array_equal(drawn(task)[0], 255 - to_uint8(task.measured)[0])


def test_what_is_drawn_depends_on_neither_the_batch_nor_the_images_beside(save: Save, tmp_path: Path) -> None:
    for seed in range(3):
        save(f"photos/{seed}.png", photo(20, 24, 3, seed=seed))
    many = restore(Jpeg(), tmp_path / "photos", size="original")
    few = restore(Jpeg(), tmp_path / "photos", size="original", num_images=2)
    assert np.array_equal(drawn(few, 4), drawn(many, 1)[:4])


# Panoramas


@pytest.mark.parametrize("condition", [Uncrop(), Multitask(["uncrop", "jpeg"])])
@pytest.mark.parametrize("size", [8, 7])
def test_every_half_goes_on_from_the_one_before(condition: Any, size: int, save: Save) -> None:
    half = size // 2

    def darker(damaged: Tensor) -> Tensor:
        return damaged.roll(half, -1) - 0.1  # the right half is the left one, darker

    pixels = 150 + photo(size, size, 3) // 4
    score = a_score(condition, size=size, of=darker)
    options: dict[str, Any] = {"images": str(save("a.png", pixels)), "times": 3, "num_samples": 2}
    task = Panorama(score=score, sampler=DPMSolverPP(steps=2), **options)
    assert task.num_steps == 3 * 3
    found = drawn(task)
    assert found.shape == (2, size, size + 3 * half, 3)
    assert np.array_equal(found[:, :, :size], [pixels] * 2)
    for left in range(size, size + 3 * half, half):
        after, before = found[:, :, left : left + half], found[:, :, left - size + size % 2 + half :][:, :, :half]
        difference = before.astype(int) - after
        assert abs(difference - 25.5).max() <= 1
    images, columns = task.picture(torch.from_numpy(found).permute(0, 3, 1, 2) / 255)
    assert (len(images), columns) == (3, 1)
    assert np.array_equal(to_uint8(images[:1])[0, :, :size], pixels)


# Refused


TWO = Multitask(["inpaint", "jpeg"])


@pytest.mark.parametrize(
    ("condition", "options", "message"),
    [
        (
            TWO,
            {"damaged": True},
            "task.damaged=true: the network was trained on several damages; say which one it is",
        ),
        (TWO, {"mask": "left"}, "task.mask=left: the network was trained on several damages"),
        (TWO, {"size": "original"}, "task.size=original: the network was trained on several damages"),
        (TWO, {"damage": "jpeg", "mask": "left"}, "task.mask=left: jpeg misses no pixels"),
        (Jpeg(), {"damaged": True, "images": "val"}, "task.damaged=true: task.images=val is not damaged"),
        (Jpeg(), {"damaged": True}, "40×20 pixels, not the network's 16×16, and resizing would blur"),
        (Uncrop(), {"damaged": True}, "task.damaged=true: give what is missing as task.mask"),
        (Inpaint(), {"size": "original"}, "task.size=original: inpaint makes holes that are too large for tiles"),
        (Inpaint(), {"mask": "nowhere"}, "task.mask=nowhere: must be left, right, top, bottom, center or random; or"),
        (Inpaint(), {"mask": "left", "fraction": 0.99}, "task.fraction=0.99: nothing is left of 16×16 pixels"),
        (Inpaint(), {"mask": "left", "fraction": 1.5}, "task: fraction=1.5: must lie between 0 and 1"),
        (SuperResolution(3), {"size": "original"}, "task: factor=3: must divide 20×40 pixels"),
        (
            SuperResolution(8),
            {"size": "original", "damaged": True, "images": "tiny.png"},
            "2×1 pixels, and the network restores images of 2×2",
        ),
        (
            Colorize(),
            {"size": "original", "images": "tiny.png"},
            "2×1 pixels, and the network restores images of 16×16",
        ),
        (Colorize(), {"size": "original", "images": "both"}, "b.png: 30×20 pixels, and "),
        (Colorize(), {"images": "empty"}, "empty: no images in this folder"),
        (Colorize(), {"images": "text.png"}, "text.png: not an image that can be used"),
        (Inpaint(), {"mask": "text.png"}, "text.png: not an image that can be used"),
        (Inpaint(), {"mask": "small.png"}, "small.png: 20×10 pixels, and "),
        (Inpaint(), {"mask": "white.png"}, "white.png: must be white where pixels are missing, black elsewhere"),
        (Inpaint(), {"mask": "both"}, "both: has no mask for "),
    ],
)
def test_what_is_refused(
    condition: Any,
    options: dict[str, Any],
    message: str,
    save: Save,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save("photo.png", photo(20, 40, 3))
    save("tiny.png", photo(1, 2, 3))
    save("small.png", photo(10, 20))
    save("white.png", np.full((20, 40), 255, np.uint8))
    save("both/a.png", photo(20, 40))
    save("both/b.png", photo(20, 30))
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises((ConfigError, DataError), match=re.escape(message)):
        restore(condition, path, **options)


def test_panoramas_are_of_networks_that_uncrop(save: Save) -> None:
    options: dict[str, Any] = {"sampler": DDIM(), "images": str(save("a.png", photo(16, 16, 3)))}
    for condition in (None, Inpaint(), TWO):
        with pytest.raises(ConfigError, match=r"^task=panorama: the network was not trained on uncropping"):
            Panorama(score=a_score(condition), **options)
    with pytest.raises(ValueError, match=r"^times=0: must be at least 1$"):
        Panorama(score=a_score(Uncrop()), times=0, **options)


def test_a_first_step_says_what_fits_of_every_task(save: Save) -> None:
    images: dict[str, Any] = {"sampler": DDIM(steps=2), "images": str(save("a.png", photo(20, 40, 3)))}
    tiles = Restore(score=a_score(Jpeg()), size="original", **images)
    assert first_step(tiles, 2).shape == (2, 3, 20, 40)
    assert first_step(Panorama(score=a_score(Uncrop()), times=1, **images), 1).shape == (1, 3, 16, 24)
    rows = Interpolate(score=a_score(None), sampler=DDIM(steps=2), num_angles=3)
    assert len(first_step(rows, 2)) == 3
