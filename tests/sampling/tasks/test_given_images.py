"""What a task is given: masks, the user's files and folders, and the data set of the run."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ncsn.checkpoint import TrainedScore
from ncsn.data import Digits, ImageFolder
from ncsn.errors import ConfigError, DataError
from ncsn.noise import geometric
from ncsn.random import Draws
from ncsn.samplers import DDIM, AnnealedLangevin, MetropolisLangevin
from ncsn.sampling.tasks import Denoise, Generate, Inpaint, Interpolate, SuperResolution, Uncrop
from ncsn.sampling.tasks.images import read_images, training_data

Save = Callable[..., Path]


def a_score(channels: int = 1, size: int = 8, data: dict[str, Any] | None = None) -> TrainedScore:
    """A network that has learned nothing, of images of this shape."""
    return TrainedScore(
        network=nn.Identity(),
        sigmas=geometric(1, 0.1, 3),
        image_shape=(channels, size, size),
        config={"data": data or {}},
        weights="raw",
        step=1,
    )


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """save(name, pixels): an image file, (H, W) or (H, W, 3), uint8."""

    def save(name: str, pixels: np.ndarray) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return save


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# Masks


@pytest.fixture
def missing(save: Save) -> Callable[..., Tensor]:
    """missing(mask=…, …): the pixels, (H, W), that inpainting takes for missing."""
    picture = save("given/a.png", noise(0, 24, 24))

    def missing(size: int = 8, **settings: Any) -> Tensor:
        task = Inpaint(score=a_score(size=size), sampler=AnnealedLangevin(), images=str(picture), **settings)
        assert task.known(torch.ones(1, 1, size, size)).unique().tolist() in ([0, 1], [1], [0])
        return ~task.known(torch.ones(1, 1, size, size))[0, 0].bool()

    return missing


def test_a_sampler_that_accepts_whole_images_is_refused(save: Save) -> None:
    with pytest.raises(ConfigError, match=r"^sampler: MetropolisLangevin cannot be held"):
        Inpaint(score=a_score(), sampler=MetropolisLangevin(), images=str(save("a.png", noise(0, 8, 8))))


def drawn(rows: str) -> Tensor:
    return torch.tensor([[pixel == "#" for pixel in row] for row in rows.split()])


HALVES = {
    "left": "##.. ##.. ##.. ##..",
    "right": "..## ..## ..## ..##",
    "top": "#### #### .... ....",
    "bottom": ".... .... #### ####",
    "center": ".... .##. .##. ....",
}


@pytest.mark.parametrize("mask", HALVES)
def test_half_of_an_image(mask: str, missing: Callable[..., Tensor]) -> None:
    assert torch.equal(missing(4, mask=mask), drawn(HALVES[mask]))


@pytest.mark.parametrize(
    ("mask", "fraction", "expected"),
    [
        ("left", 0.25, "#... #... #... #..."),
        ("right", 0.7, ".### .### .### .###"),
        ("top", 0.8, "#### #### #### ...."),
        ("bottom", 0.25, ".... .... .... ####"),
        ("center", 0.25, ".... .#.. .... ...."),
        ("center", 0.75, "###. ###. ###. ...."),
        ("left", 0.01, "#... #... #... #..."),
        ("random", 0.01, None),
    ],
)
def test_another_share_of_it_and_one_pixel_at_least(
    mask: str, fraction: float, expected: str | None, missing: Callable[..., Tensor]
) -> None:
    found = missing(4, mask=mask, fraction=fraction)
    assert torch.equal(found, drawn(expected)) if expected else found.sum() == 1


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_random_pixels_are_as_many_as_asked_for_and_the_same_again(
    fraction: float, missing: Callable[..., Tensor]
) -> None:
    one = missing(8, mask="random", fraction=fraction)
    assert int(one.sum()) == round(64 * fraction)
    assert torch.equal(one, missing(8, mask="random", fraction=fraction))
    other = missing(8, mask="random", fraction=fraction, mask_seed=1)
    assert int(other.sum()) == round(64 * fraction)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("scale", [1, 3, 40])
def test_a_picture_is_a_mask_of_any_size(scale: int, missing: Callable[..., Tensor], save: Save) -> None:
    pixels = noise(1, 8, 8) // 128 * 255
    path = save("mask.png", pixels.repeat(scale, 0).repeat(scale, 1))
    assert torch.equal(missing(8, mask=str(path)), torch.from_numpy(pixels == 255))


def test_a_picture_is_cropped_as_images_are_and_its_greys_are_split_at_the_middle(
    missing: Callable[..., Tensor], save: Save
) -> None:
    pixels = np.zeros((8, 12), np.uint8)
    pixels[:, 2:6], pixels[:, 6:], pixels[:, [0, 1, 10, 11]] = 127, 128, 255
    assert torch.equal(missing(8, mask=str(save("mask.png", pixels))), drawn(" ".join(["....####"] * 8)))
    assert torch.equal(
        missing(8, mask=str(save("mask.png", np.dstack([pixels] * 3)))), drawn(" ".join(["....####"] * 8))
    )


@pytest.mark.parametrize("value", [0, 100, 255])
def test_a_picture_that_is_all_one_is_refused(value: int, missing: Callable[..., Tensor], save: Save) -> None:
    path = save("mask.png", np.full((8, 8), value, np.uint8))
    with pytest.raises(ConfigError, match=rf"^task\.mask={re.escape(str(path))}: must be white where pixels are"):
        missing(8, mask=str(path))


def test_a_mask_that_cannot_be_read_is_named(missing: Callable[..., Tensor], tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_text("not a picture")
    with pytest.raises(DataError, match=r"mask\.png: not an image that can be used"):
        missing(8, mask=str(tmp_path / "mask.png"))


@pytest.mark.parametrize("mask", ["nowhere", "", "."])
def test_a_mask_by_no_name_that_is_known(mask: str, missing: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match=rf"^mask={re.escape(mask)}: must be left, right, top, bottom, center or"):
        missing(8, mask=mask)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 2, float("nan")])
def test_a_fraction_lies_between_0_and_1(fraction: float, missing: Callable[..., Tensor], save: Save) -> None:
    message = rf"^fraction={fraction}: must lie between 0 and 1$"
    with pytest.raises(ValueError, match=message):
        missing(8, fraction=fraction)
    with pytest.raises(ValueError, match=message):
        Uncrop(
            score=a_score(), sampler=AnnealedLangevin(), images=str(save("a.png", noise(0, 8, 8))), fraction=fraction
        )


def test_uncropping_knows_what_the_centre_mask_misses(missing: Callable[..., Tensor], save: Save) -> None:
    path = str(save("a.png", noise(0, 8, 8)))
    for fraction in (0.25, 0.5, 0.7):
        task = Uncrop(score=a_score(), sampler=AnnealedLangevin(), images=path, fraction=fraction)
        assert torch.equal(task.known(torch.ones(1, 1, 8, 8))[0, 0].bool(), missing(mask="center", fraction=fraction))


# The user's images


def test_a_folder_is_read_in_the_order_of_names(save: Save, tmp_path: Path) -> None:
    pixels = {name: noise(i, 8, 8) for i, name in enumerate(["b.png", "a10.bmp", "a2.PNG", "c.tif"])}
    for name, image in pixels.items():
        save(f"folder/{name}", image)
    save("folder/deeper/d.png", noise(9, 8, 8))
    (tmp_path / "folder" / "notes.txt").write_text("not an image")
    (tmp_path / "folder" / "._b.png").write_text("what macOS leaves")
    images = read_images(a_score(), str(tmp_path / "folder"))
    assert images.dtype == torch.uint8
    assert np.array_equal(images[:, 0], [pixels[name] for name in sorted(pixels)])


def test_a_file_alone(save: Save) -> None:
    pixels = noise(0, 8, 8, 3)
    images = read_images(a_score(channels=3), str(save("a.png", pixels)))
    assert np.array_equal(images[0].permute(1, 2, 0), pixels)


def test_colours_become_grey_and_grey_becomes_colours_as_the_network_has_them(save: Save) -> None:
    colours, grey = save("colours.png", noise(0, 8, 8, 3)), save("grey.png", noise(1, 8, 8))
    as_grey = read_images(a_score(), str(colours))
    assert np.array_equal(as_grey[0, 0], np.asarray(Image.open(colours).convert("L")))
    as_colours = read_images(a_score(channels=3), str(grey))
    assert as_colours.shape == (1, 3, 8, 8)
    assert (as_colours[0] == as_colours[0, :1]).all()


@pytest.mark.parametrize("shape", [(8, 12), (12, 8)])
def test_the_square_in_the_middle_is_taken(shape: tuple[int, int], save: Save) -> None:
    pixels = noise(0, *shape)
    top, left = (shape[0] - 8) // 2, (shape[1] - 8) // 2
    images = read_images(a_score(), str(save("a.png", pixels)))
    assert np.array_equal(images[0, 0], pixels[top : top + 8, left : left + 8])


@pytest.mark.parametrize("side", [4, 100])
def test_other_sizes_are_resized(side: int, save: Save) -> None:
    pixels = np.repeat(np.linspace(0, 255, side).round().astype(np.uint8)[None], side, 0)
    images = read_images(a_score(), str(save("a.png", pixels)))
    expected = np.asarray(Image.fromarray(pixels).resize((8, 8), Image.Resampling.BILINEAR))
    assert np.array_equal(images[0, 0], expected)


def test_only_the_first_images_are_taken_and_no_others_read(save: Save, tmp_path: Path) -> None:
    first = save("folder/a.png", noise(0, 8, 8))
    (first.parent / "b.png").write_text("damaged")
    task = Inpaint(score=a_score(), sampler=AnnealedLangevin(), images=str(first.parent), num_images=1)
    assert np.array_equal(task.given[0, 0], noise(0, 8, 8))


def test_damaged_empty_and_missing(save: Save, tmp_path: Path) -> None:
    damaged = save("folder/a.png", noise(0, 64, 64))
    damaged.write_bytes(damaged.read_bytes()[:500])
    for path in (damaged, damaged.parent):
        with pytest.raises(DataError, match=rf"^{re.escape(str(damaged))}: not an image that can be used"):
            read_images(a_score(), str(path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"^task\.init=.*/empty: no images in this folder"):
        read_images(a_score(), str(tmp_path / "empty"), key="init")
    with pytest.raises(DataError, match=r"^task\.images=.*/nowhere: no such file or folder; val and train are"):
        read_images(a_score(), str(tmp_path / "nowhere"))


def test_images_in_the_home_folder(save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save("a.png", noise(0, 8, 8))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert np.array_equal(read_images(a_score(), "~/a.png")[0, 0], noise(0, 8, 8))


def test_another_picture_of_what_is_missing_is_another_task(save: Save, tmp_path: Path) -> None:
    path, identities = save("folder/a.png", noise(0, 8, 8)), []
    for missing in (slice(0, 4), slice(0, 5)):
        pixels = np.zeros((8, 8), np.uint8)
        pixels[missing] = 255
        options = {"images": str(path), "mask": str(save("mask.png", pixels))}
        identities.append(Inpaint(score=a_score(), sampler=AnnealedLangevin(), **options).identity)
    assert identities[0].keys() == identities[1].keys()
    assert identities[0] != identities[1]


# The data set of the run


def test_the_splits_of_the_data_set(tmp_path: Path) -> None:
    score = a_score(data={"_target_": "ncsn.data.Digits", "root": str(tmp_path)})
    data = Digits(root=str(tmp_path))
    for split, number in (("train", 1618), ("val", 179)):
        images = read_images(score, split)
        assert len(images) == number
        assert torch.equal(images, data.images(split))
    assert torch.equal(read_images(score, "val", limit=3), data.images("val")[:3])


def test_a_data_set_that_has_moved(save: Save, tmp_path: Path) -> None:
    for i in range(10):
        save(f"before/{i}.png", noise(i, 8, 8, 3))
    config = {"_target_": "ncsn.data.ImageFolder", "root": str(tmp_path / "before"), "image_size": 8, "seed": 3}
    score = a_score(channels=3, data=config)
    images = {split: read_images(score, split).clone() for split in ("train", "val")}
    shutil.move(tmp_path / "before", tmp_path / "after")
    with pytest.raises(DataError, match="before: not a folder"):
        read_images(score, "val")
    moved = a_score(channels=3, data=config | {"root": str(tmp_path / "after")})
    data = training_data(moved)
    assert isinstance(data, ImageFolder)
    assert (data.root, data.seed) == (str(tmp_path / "after"), 3)
    for split, before in images.items():
        assert torch.equal(read_images(moved, split), before)


def test_where_chains_start_is_told_by_the_data_set_or_by_the_users_own_images(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settings(init: str, root: Path) -> dict[str, str]:
        score = a_score(data={"_target_": "ncsn.data.Digits", "root": str(root)})
        return Generate(score=score, sampler=AnnealedLangevin(), init=init).settings

    before, other = save("own/a.png", noise(0, 8, 8)), save("other.png", noise(1, 8, 8))
    own = settings(str(before), tmp_path)
    assert settings(str(before.rename(tmp_path / "elsewhere.png")), tmp_path) == own
    assert settings(str(other), tmp_path) != own
    monkeypatch.setattr("ncsn.sampling.tasks.images.fingerprint", lambda _: pytest.fail("reads all of a data set"))
    train, val = (settings(split, tmp_path / "data") for split in ("train", "val"))
    assert train != val
    (tmp_path / "data").rename(tmp_path / "moved")
    assert settings("train", tmp_path / "moved") == train


# What tasks make of them


@pytest.fixture
def three(save: Save, tmp_path: Path) -> str:
    for i in range(3):
        save(f"three/{i}.png", noise(i, 8, 8))
    return str(tmp_path / "three")


def test_chains_start_at_images_given_with_the_noise_of_the_first_level(three: str) -> None:
    score = a_score()
    task = Generate(score=score, sampler=AnnealedLangevin(), num_samples=5, init=three)
    many = torch.stack([task.start(range(1, 5), Draws(seed)) for seed in range(400)])
    expected = torch.from_numpy(np.stack([noise(i, 1, 8, 8) for i in (1, 2, 0, 1)])) / 255
    residual = many - expected
    assert abs(float(residual.std()) - float(score.sigmas[0])) < 0.01
    assert residual.mean(0).abs().max() < 5 / 20


@pytest.mark.parametrize(("init", "mean", "std"), [("uniform", 0.5, 12**-0.5), ("gaussian", 0.0, 1.0)])
def test_chains_start_at_noise(init: str, mean: float, std: float) -> None:
    x = Generate(score=a_score(), sampler=AnnealedLangevin(), num_samples=500, init=init).start(range(500), Draws(0))
    assert x.shape == (500, 1, 8, 8)
    assert abs(float(x.mean()) - mean) < 5 * std / 500**0.5 / 8
    assert abs(float(x.std()) - std) < 0.02
    assert (float(x.min()) >= 0) == (init == "uniform")


def test_chains_of_a_row_start_at_one_point_and_rows_do_not() -> None:
    task = Interpolate(score=a_score(), sampler=AnnealedLangevin(), num_samples=3, num_angles=4)
    x = task.start(range(4, 12), Draws(0)).unflatten(0, (2, 4))
    assert (x == x[:, :1]).all()
    assert not (x[0] == x[1]).any()


def test_a_chain_belongs_to_its_image_whatever_the_batch(three: str) -> None:
    settings: dict[str, Any] = {"score": a_score(), "sampler": AnnealedLangevin(), "images": three}
    task = SuperResolution(**settings, num_samples=4)
    assert task.num_chains == 12
    for chains in (range(0, 5), range(5, 12), range(7, 8)):
        image = task.sampler_of(chains, Draws(0)).image  # type: ignore[attr-defined]
        assert torch.equal(image, task.original[[chain // 4 for chain in chains]])


def test_noise_is_put_on_clean_images_and_not_on_noisy_ones(three: str) -> None:
    def starts(**settings: Any) -> Tensor:
        task = Denoise(score=a_score(), sampler=AnnealedLangevin(), images=three, sigma=0.3, **settings)
        return task.start(range(3), Draws(0)) - task.original

    assert abs(float(starts().std()) - 0.3) < 0.03
    assert torch.equal(starts(), starts())
    assert not torch.equal(starts(), starts(noise_seed=1))
    assert not starts(noisy=True).any()


def test_more_samples_of_an_image_than_the_picture_holds(three: str) -> None:
    task = Inpaint(score=a_score(), sampler=AnnealedLangevin(), images=three, num_samples=300)
    images, columns = task.picture(torch.zeros(256, 1, 8, 8))
    assert (len(images), columns) == (258, 258)
    assert torch.equal(images[0], task.measured[0])
    assert torch.equal(images[-1], task.original[0])


@pytest.mark.parametrize("number", [0, -1])
def test_numbers_of_images_and_samples_are_positive(number: int, three: str) -> None:
    settings: dict[str, Any] = {"score": a_score(), "sampler": AnnealedLangevin(), "images": three}
    with pytest.raises(ValueError, match=rf"^num_images={number}: must be at least 1, or null for all$"):
        Inpaint(**settings, num_images=number)
    with pytest.raises(ValueError, match=rf"^num_samples={number}: must be at least 1$"):
        Inpaint(**settings, num_samples=number)
    assert Inpaint(**settings, num_images=None).num_chains == 3 * 4


# From one sample to another


def test_a_row_turns_from_one_sample_to_another_without_noise_of_its_own(save: Save) -> None:
    """DDIM draws nothing: what lies between two samples is in their starts."""
    task = Interpolate(score=a_score(), sampler=DDIM(), num_samples=100, num_angles=3)
    rows = task.start(range(300), Draws(0, "sample", 0)).unflatten(0, (100, 3))
    first, middle, last = (rows[:, i].flatten() - 0.5 for i in range(3))
    for end in (first, middle, last):
        assert end.std() == pytest.approx(1, abs=0.05)  # σ₁
    assert torch.corrcoef(torch.stack([first, last]))[0, 1].abs() < 0.05
    torch.testing.assert_close(middle, (first + last) * 0.5**0.5)
