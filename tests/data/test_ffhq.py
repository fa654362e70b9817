"""FFHQ from folders made as it is published, and as its smaller copies usually are."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from torchvision.transforms.functional import resize

from ncsn.data import FFHQ
from ncsn.data.ffhq import _held_out
from ncsn.errors import DataError

NUMBERS = [0, 1, 2, 999, 1000, 1001, 3000, 59_999, 60_000, 69_999, *range(4, 30)]


@pytest.fixture
def make(save_noise: Callable) -> Callable[..., None]:
    def make(folder: Path, side: int, *, deep: bool = False, name: str = "{:05}.png") -> None:
        for n in NUMBERS:
            place = folder / f"{n // 1000 * 1000:05}" if deep else folder
            save_noise(place / name.format(n), (side, side), n)

    return make


def prepared(root: Path, **options) -> FFHQ:
    data = FFHQ(**{"root": str(root), "image_size": 32, "batch_size": 2, **options})
    data.prepare_data()
    data.setup()
    return data


def numbers(data: FFHQ, split: str) -> list[int]:
    return [int(path.stem.removeprefix("img")) for path in data.files(split)]


@pytest.mark.parametrize("place", ["ffhq", ".", "ffhq/images32x32", "images32x32", "ffhq32x32"])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", ["{:05}.png", "img{:08}.png"])
def test_images_of_the_size_are_taken_as_they_are(
    tmp_path: Path, make: Callable, place: str, deep: bool, name: str
) -> None:
    make(tmp_path / place, 32, deep=deep, name=name)
    data = prepared(tmp_path)
    assert sorted(numbers(data, "train") + numbers(data, "val")) == sorted(NUMBERS)
    for split in ("train", "val"):
        for path, image in zip(data.files(split), data.images(split), strict=True):
            assert np.array_equal(image.permute(1, 2, 0), Image.open(path))


def test_the_partition_is_that_of_the_authors_code() -> None:
    indices = list(range(70_000))
    state = np.random.get_state()
    np.random.seed(2019)
    np.random.shuffle(indices)
    np.random.set_state(state)
    assert _held_out() == set(indices[63_000:])


def test_the_partition_does_not_depend_on_what_is_there(tmp_path: Path, make: Callable) -> None:
    make(tmp_path, 32)
    data = FFHQ(root=str(tmp_path), image_size=32)
    train, val = numbers(data, "train"), numbers(data, "val")
    assert set(val) == set(NUMBERS) & _held_out()
    assert train == sorted(train)
    (tmp_path / "00000.png").unlink()
    assert numbers(data, "train") + numbers(data, "val") == [n for n in train + val if n != 0]


def test_larger_images_are_resized(tmp_path: Path, make: Callable) -> None:
    make(tmp_path / "ffhq" / "images1024x1024", 128, deep=True)
    data = prepared(tmp_path)
    for path, image in zip(data.files("train"), data.images("train"), strict=True):
        assert np.array_equal(image.permute(1, 2, 0), resize(Image.open(path), [32]))


def test_the_smallest_that_is_large_enough_is_taken(tmp_path: Path, make: Callable) -> None:
    for side in (16, 48, 64, 128):
        make(tmp_path / "ffhq" / f"images{side}x{side}", side)
    for size, side in ((16, 16), (32, 48), (48, 48), (50, 64), (128, 128)):
        folder = FFHQ(root=str(tmp_path), image_size=size).files("train")[0].parent
        assert folder.name == f"images{side}x{side}"


def test_thumbnails_are_refused(tmp_path: Path, make: Callable) -> None:
    make(tmp_path / "ffhq" / "thumbnails128x128", 128)
    with pytest.raises(DataError) as raised:
        FFHQ(root=str(tmp_path)).prepare_data()
    for part in ("no images of 256 pixels", "thumbnails128x128 has smaller ones", "images1024x1024", "data.root"):
        assert part in str(raised.value)
    assert len(prepared(tmp_path, image_size=128).images("train")) > 0


@pytest.mark.parametrize("size", [(16, 16), (64, 48)])
def test_images_that_are_smaller_than_their_folder_says(
    tmp_path: Path, make: Callable, save_noise: Callable, size: tuple[int, int]
) -> None:
    make(tmp_path, 32)
    save_noise(tmp_path / "00001.png", size, 0)
    with pytest.raises(DataError, match=rf"00001\.png: .*square of 32 pixels or more, found {size[0]}×{size[1]}"):
        prepared(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ffhq: no images of 256 pixels or more; put 00000\.png"):
        FFHQ(root=str(tmp_path)).prepare_data()


def test_a_selection_with_nothing_held_out(tmp_path: Path, save_noise: Callable) -> None:
    number = next(n for n in range(100) if n not in _held_out())
    save_noise(tmp_path / f"{number:05}.png", (32, 32), 0)
    with pytest.raises(DataError, match="no val images among 1"):
        prepared(tmp_path)


def test_large_sets_stay_on_disk(tmp_path: Path, make: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, 32)
    data = prepared(tmp_path)
    monkeypatch.setattr("ncsn.data.module.IN_MEMORY_BYTES", 1000)
    loader = data.train_dataloader()
    assert loader.images.data_ptr() == loader.images.untyped_storage().data_ptr()
    assert loader.read_ahead == 2
    assert torch.equal(next(iter(loader)).images, loader.images[loader._order(0)[:2]])


def test_its_configuration() -> None:
    conf = Path(__file__).parents[2] / "conf" / "data" / "ffhq256.yaml"
    config = OmegaConf.merge({"seed": 3}, {"data": OmegaConf.load(conf)})
    data = instantiate(config.data)
    assert set(config.data) - {"_target_"} == {field.name for field in dataclasses.fields(data)}
    assert (data.name, data.image_size, data.flip, data.seed) == ("ffhq256", 256, True, 3)
