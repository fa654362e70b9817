import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ncsn.data import Pairs
from ncsn.data.module import Batch
from ncsn.errors import DataError


@pytest.fixture
def folder(tmp_path: Path, save_noise: Callable[..., None]) -> Path:
    """Ten pairs of 24×20 pixels, in which the damaged image is the negative, and named otherwise."""
    for i in range(10):
        original, damaged = tmp_path / f"original/{'ab'[i % 2]}/{i}.png", tmp_path / f"damaged/{'ab'[i % 2]}/{i}.bmp"
        save_noise(original, (24, 20), i)
        damaged.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - np.asarray(Image.open(original))).save(damaged)
    return tmp_path


def prepared(root: Path, **options: Any) -> Pairs:
    data = Pairs(root=str(root), batch_size=4, **{"image_size": 16, "val_fraction": 0.2, **options})
    data.prepare_data()
    data.setup()
    return data


@pytest.mark.parametrize("channels", [1, 3])
def test_images_and_their_damaged_partners_stay_together(folder: Path, channels: int) -> None:
    data = prepared(folder, channels=channels)
    for split, count in (("train", 8), ("val", 2)):
        images, damaged = data.images(split), data.damaged(split)
        assert images.shape == damaged.shape == (count, channels, 16, 16)
        assert (images.int() + damaged.int() - 255).abs().max() <= 2  # of rounding, twice, where it was resized
        assert images.float().std() > 10
    train, val = ([Path(file).stem for file in data.files(split)] for split in ("train", "val"))
    assert (train[:8], val[:2]) == (train[8:], val[2:])
    assert sorted(train[:8] + val[:2]) == list("0123456789")
    assert prepared(folder, seed=1).files("val") != data.files("val")


def test_both_of_a_pair_are_flipped_and_neither_is_noise_beside_the_other(folder: Path) -> None:
    data = prepared(folder, flip=True, dequantize=True)
    (raw, *_) = data.val_dataloader()
    assert (raw.images.shape, raw.damaged) == ((2, 6, 16, 16), None)
    plain = data.on_after_batch_transfer(raw, 0)
    assert torch.equal(plain.images, data.images("val") / 255)
    assert torch.equal(plain.damaged, data.damaged("val") / 255)
    training = {"training": True, "global_rank": 0, "world_size": 1}
    data.trainer = type("T", (), training)()  # type: ignore[assignment]
    flips = set()
    for number in range(8):
        batch = data.on_after_batch_transfer(Batch(raw.images, number), 0)
        assert (batch.images + batch.damaged - 1).abs().max() < 0.02
        for found, before in zip(batch.damaged, plain.damaged, strict=True):  # which nothing but flips have changed
            flips.add(flipped := bool((found != before).any()))
            assert torch.equal(found, before.flip(-1) if flipped else before)
    assert flips == {True, False}


def remove(path: Path) -> None:
    path.unlink()


def shrink(path: Path) -> None:
    Image.open(path).resize((20, 16)).save(path)


def tiny(path: Path) -> None:
    Image.open(path).resize((12, 12)).save(path)


@pytest.mark.parametrize(
    ("spoil", "spoilt", "message"),
    [
        (remove, "damaged/b/3.bmp", "original/b/3.png: has no partner; expected an image {root}/damaged/b/3.*"),
        (remove, "original/a/4.png", "damaged/a/4.bmp: has no partner; expected an image {root}/original/a/4.*"),
        (
            shrink,
            "damaged/a/2.bmp",
            "damaged/a/2.bmp: 20×16 pixels, but its original {root}/original/a/2.png has 24×20",
        ),
        (tiny, "original/b/5.png", "original/b/5.png: not an image that can be used (it is too small: 12×12 pixels"),
        (lambda path: path.write_bytes(b"text"), "damaged/b/7.bmp", "damaged/b/7.bmp: not an image that can be used"),
        (lambda path: Image.open(path).save(path.with_suffix(".png")), "damaged/b/7.bmp", "7.png: has the name of"),
        (
            lambda path: path.parent.rename(path.parent.with_name("x")),
            "damaged/a",
            "damaged: not a folder; data.root",
        ),
    ],
)
def test_what_is_no_pair_is_named(folder: Path, spoil: Callable[[Path], Any], spoilt: str, message: str) -> None:
    spoil(folder / spoilt)
    with pytest.raises(DataError, match=re.escape(message.format(root=folder))) as refused:
        prepared(folder)
    assert "\n" not in str(refused.value)
    assert not list((folder / "cache").glob("*.tmp"))
