"""Damages: what is lost and what is left, how often, and the same on any number of devices."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ncsn.damage import DAMAGES, Colorize, Damage, Inpaint, Jpeg, Multitask, SuperResolution, Uncrop, name_of
from ncsn.damage.jpeg import jpeg
from ncsn.data import CIFAR10, MNIST
from ncsn.random import Draws

EVERY = [Inpaint(), Uncrop(), Colorize(), Jpeg(), SuperResolution(), Multitask()]


def images(batch: int, size: int = 16, channels: int = 3) -> Tensor:
    """Smooth, with some noise, of 256 values."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(batch, channels, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    return ((smooth + 0.03 * torch.randn(smooth.shape, generator=generator)).clamp(0, 1) * 255).round() / 255


@pytest.mark.parametrize("damage", EVERY, ids=name_of)
def test_two_processes_damage_as_one_does_and_each_image_in_its_own_way(damage: Damage) -> None:
    x = images(8)

    def given(rank: int = 0, world_size: int = 1) -> dict[str, Tensor]:
        return damage(x[rank::world_size], None, Draws(0, "train", 3, rank=rank, world_size=world_size))

    whole = given()
    assert whole["damaged"].shape == x.shape
    assert whole.keys() == {"damaged"} | ({"hole"} if isinstance(damage, Inpaint | Uncrop | Multitask) else set())
    for rank in range(2):
        for name, rows in given(rank, 2).items():
            assert torch.equal(rows, whole[name][rank::2])
    other = damage(x, None, Draws(0, "train", 4))["damaged"]
    assert torch.equal(other, whole["damaged"]) == isinstance(damage, Colorize | SuperResolution)  # nothing is drawn


@pytest.mark.parametrize("damage", [Inpaint(), Uncrop()], ids=name_of)
def test_a_hole_holds_noise_and_all_around_it_is_left(damage: Damage) -> None:
    x = images(64)
    given = damage(x, None, Draws(0))
    hole = given["hole"].expand_as(x)
    assert torch.equal(given["damaged"][~hole], x[~hole])
    noise = 2 * given["damaged"][hole] - 1
    assert abs(float(noise.mean())) < 5 / len(noise) ** 0.5
    assert float(noise.std()) == pytest.approx(1, abs=5 / len(noise) ** 0.5)


@pytest.mark.parametrize(("size", "batch"), [(8, 600), (32, 300)])
def test_strokes_and_rectangles_are_as_many_and_as_large_as_published(size: int, batch: int) -> None:
    def missing(strokes: float) -> Tensor:
        return Inpaint(strokes)(torch.zeros(batch, 1, size, size), None, Draws(1))["hole"][:, 0]

    rectangles, strokes, either = (missing(p).float().mean((1, 2)) for p in (0.0, 1.0, 0.6))
    assert rectangles.max() < (0.5 if size == 8 else 0.42)  # rounded to whole pixels
    assert 0.18 < rectangles.mean() < 0.25  # as they overlap
    assert strokes.min() > 0
    assert 0.1 < strokes.mean() < 0.3
    assert strokes.max() < 0.75
    same = float((rectangles == strokes).float().mean())
    assert abs(float((either == strokes).float().mean()) - 0.6) < 5 * (0.24 / batch) ** 0.5 + same
    filled = missing(0.0).float()
    whole = filled.amax(2).sum(1) * filled.amax(1).sum(1) == filled.sum((1, 2))  # one rectangle, or as good as one
    assert 0.15 < float(whole.float().mean()) < 0.45


def test_half_of_an_image_is_missing_at_each_side_and_all_around() -> None:
    hole = Uncrop()(torch.zeros(2000, 1, 8, 8), None, Draws(0))["hole"][:, 0]
    shapes = torch.zeros(5, 8, 8, dtype=torch.bool)
    shapes[0, :4], shapes[1, 4:], shapes[2, :, :4], shapes[3, :, 4:] = True, True, True, True
    shapes[4] = True
    shapes[4, 1:7, 1:7] = False  # √½ of 8, rounded
    is_shape = (hole[:, None] == shapes).all(-1).all(-1)
    assert (is_shape.sum(1) == 1).all()
    shares = is_shape.float().mean(0)
    torch.testing.assert_close(shares, torch.tensor([1 / 8] * 4 + [1 / 2]), atol=0.06, rtol=0)


def test_grey_and_coarse_images_have_the_means_of_the_original() -> None:
    x = images(2)
    grey, coarse = (damage(x, None, Draws(0))["damaged"] for damage in (Colorize(), SuperResolution(4)))
    for channel in range(3):
        torch.testing.assert_close(grey[:, channel], x.mean(1))
    blocks = coarse.unflatten(3, (4, 4)).unflatten(2, (4, 4))
    assert (blocks == blocks[:, :, :, :1, :, :1]).all()
    torch.testing.assert_close(blocks[:, :, :, 0, :, 0], x.unflatten(3, (4, 4)).unflatten(2, (4, 4)).mean((3, 5)))


# JPEG


def by_pillow(image: Tensor, quality: int) -> Tensor:
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if len(image) == 1 else pixels).save(file, "JPEG", quality=quality)
    decoded = np.asarray(Image.open(file)).reshape(pixels.shape)
    return torch.from_numpy(decoded.copy()).permute(2, 0, 1) / 255


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [28, 32, 40])
def test_jpeg_is_that_of_pillow(channels: int, size: int) -> None:
    quality = torch.tensor([5, 9, 17, 30, 60, 90])
    x = images(len(quality), size, channels)
    with torch.autocast("cpu", torch.bfloat16):  # as in training with bf16-mixed
        found = jpeg(x, quality)
    expected = torch.stack([by_pillow(image, int(q)) for image, q in zip(x, quality, strict=True)])
    off, lost = ((found - other).abs().mean((1, 2, 3)) * 255 for other in (expected, x))
    assert off.median() < 0.5  # of a level of grey
    assert (off < lost / 4).all()  # a coefficient half-way between two steps may go to the other
    torch.testing.assert_close((found * 255).round(), found * 255, atol=1e-4, rtol=0)


def test_low_qualities_are_drawn_more_often_as_published() -> None:
    n = 4000
    qualities = torch.arange(5, 31)
    image = images(1, 8, 1)
    levels = jpeg(image.expand(26, -1, -1, -1), qualities)
    drawn = Jpeg()(image.expand(n, -1, -1, -1), None, Draws(0))["damaged"]
    is_quality = (drawn[:, None] == levels).flatten(2).all(2)
    shares = (-qualities / 10).exp() / (-qualities / 10).exp().sum()
    for low, high in ((0, 6), (6, 13), (13, 26)):
        inside, others = is_quality[:, low:high].any(1), is_quality[:, [*range(low), *range(high, 26)]].any(1)
        assert not (inside & others).any()
        expected = float(shares[low:high].sum())
        assert abs(float(inside.float().mean()) - expected) < 5 * (expected * (1 - expected) / n) ** 0.5


@pytest.mark.parametrize("kind", [CIFAR10, MNIST])
def test_noise_that_hides_what_jpeg_takes_is_larger_than_its_largest_component(
    kind: Any, real_data: Path, once: Callable[..., Path]
) -> None:
    data = kind(root=str(real_data), cache_dir=str(once(f"real-{kind.__name__.lower()}", lambda folder: None)))
    data.prepare_data()
    x = data.images("val")[:500].float() / 255
    lost = (x - Jpeg()(x, None, Draws(0))["damaged"]).flatten(1)
    largest = float(torch.linalg.svdvals(lost - lost.mean(0))[0]) / len(lost) ** 0.5
    assert 0.1 < largest < Jpeg.hidden_at
    images = (x - x.mean(0)).flatten(1)
    assert float(torch.linalg.svdvals(images)[0]) / len(x) ** 0.5 > 3 * Jpeg.hidden_at


# Several at once


def test_multitask_takes_each_as_often_and_is_that_damage() -> None:
    n = 1200
    x = images(1).expand(n, -1, -1, -1)
    damage = Multitask(["colorize", "uncrop", "super_resolution"])
    given = damage(x, None, Draws(0))
    whole = given["hole"].flatten(1).all(1)
    grey = whole & (given["damaged"][:, 0] == given["damaged"][:, 1]).flatten(1).all(1)
    coarse = whole & ~grey
    for kind, name in ((grey, "colorize"), (coarse, "super_resolution"), (~whole, "uncrop")):
        assert abs(float(kind.float().mean()) - 1 / 3) < 0.07
        if name != "uncrop":
            assert torch.equal(given["damaged"][kind], DAMAGES[name]()(x, None, Draws(0))["damaged"][kind])
    known = ~given["hole"][~whole]
    assert (given["damaged"][~whole] == x[~whole])[known.expand(-1, 3, -1, -1)].all()
    assert known.float().mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Inpaint, {"strokes": 1.5}, "strokes=1.5: must be from 0 to 1"),
        (Jpeg, {"lowest": 0}, "lowest=0, highest=30: must be from 1 to 100"),
        (Jpeg, {"lowest": 40}, "lowest=40, highest=30: must be"),
        (SuperResolution, {"factor": 0}, "factor=0: must be at least 1"),
        (
            Multitask,
            {"damages": ["jpeg", "rain"]},
            "rain is none of colorize, inpaint, uncrop, jpeg, super",
        ),
        (Multitask, {"damages": ["jpeg"]}, "must be two or more different ones"),
    ],
)
def test_refuses_by_name(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_refuses_images_that_cannot_be_damaged_so() -> None:
    grey = images(2, 8, 1)
    with pytest.raises(ValueError, match="one channel: there are no colours to draw"):
        Colorize()(grey, None, Draws(0))
    with pytest.raises(ValueError, match=r"damages=\['colorize', .*: colorize: the images have one channel"):
        Multitask()(grey, None, Draws(0))
    with pytest.raises(ValueError, match="factor=3: must divide 8×8 pixels"):
        SuperResolution(3)(grey, None, Draws(0))
    with pytest.raises(ValueError, match="images of 2 channels: JPEG has 1"):
        Jpeg()(images(2, 8, 2), None, Draws(0))
