from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize

from ncsn.data import CelebA
from ncsn.errors import ConfigError, DataError

NUMBERS = [1, 7, 162770, 162771, 182637, 182638, 202599]


@pytest.fixture
def make(save_noise):
    def make(folder: Path, numbers: list[int] = NUMBERS) -> None:
        for n in numbers:
            save_noise(folder / f"{n:06}.jpg", (178, 218), n)

    return make


def names(root: Path, split: str) -> list[int]:
    return [int(path.stem) for path in CelebA(root=str(root)).files(split)]


def paper(path: Path, size: int) -> np.ndarray:
    """The preprocessing of the authors' code."""
    return np.asarray(Compose([CenterCrop(140), Resize(size)])(Image.open(path))).transpose(2, 0, 1)


@pytest.mark.parametrize("place", ["celeba/img_align_celeba", "img_align_celeba", "."])
@pytest.mark.parametrize("size", [32, 64])
def test_crop_and_resize_are_the_papers(tmp_path, place, size, make):
    make(tmp_path / place)
    data = CelebA(root=str(tmp_path), image_size=size, batch_size=1)
    data.prepare_data()
    data.setup()
    assert data.labels("train") is None
    for split in ("train", "val"):
        files = data.files(split)
        assert data.images(split).shape == (len(files), 3, size, size)
        for path, image in zip(files, data.images(split), strict=True):
            assert np.array_equal(image, paper(path, size))


def test_the_partition_follows_from_the_numbers(tmp_path, make):
    make(tmp_path)
    assert names(tmp_path, "train") == [1, 7, 162770]
    assert names(tmp_path, "val") == [162771, 182637]


@pytest.mark.parametrize("place", ["celeba", "celeba/img_align_celeba"])
def test_the_official_list_comes_first(tmp_path, place, make):
    make(tmp_path / "celeba" / "img_align_celeba", [1, 2, 3, 4])
    listed = tmp_path / place / "list_eval_partition.txt"
    listed.write_text("000001.jpg 1\n000002.jpg 0\n000003.jpg 2\n000004.jpg 0\n000005.jpg 0\n")
    assert names(tmp_path, "train") == [2, 4]
    assert names(tmp_path, "val") == [1]
    listed.write_text("000001.jpg 1\n000002.jpg 0\n00000")
    with pytest.raises(DataError, match=r"list_eval_partition\.txt: expected a line '000003\.jpg 0'"):
        names(tmp_path, "train")


def test_test_images_stand_in_for_validation_images(tmp_path, make):
    make(tmp_path, [1, 182638, 202599])
    assert names(tmp_path, "val") == [182638, 202599]


@pytest.mark.parametrize(("numbers", "split"), [([1, 2], "val"), ([162771], "train")])
def test_a_part_with_no_image(tmp_path, numbers, split, make):
    make(tmp_path, numbers)
    with pytest.raises(DataError, match=f"no {split} images"):
        names(tmp_path, split)


def test_no_images(tmp_path):
    with pytest.raises(DataError, match=r"celeba/img_align_celeba: no images of CelebA.*data\.root"):
        names(tmp_path, "train")


def test_images_that_are_not_the_aligned_ones(tmp_path, make, save_noise):
    make(tmp_path, [1, 162771])
    save_noise(tmp_path / "000002.jpg", (64, 64), 2)
    with pytest.raises(DataError, match=r"000002\.jpg: .*expected 178×218 pixels, found 64×64"):
        CelebA(root=str(tmp_path)).prepare_data()
    assert list((tmp_path / "cache").glob("[!.]*")) == []


@pytest.mark.parametrize("size", [32, 64])
def test_the_real_set(real_data, tmp_path, size):
    data = CelebA(root=str(real_data), cache_dir=str(tmp_path), image_size=size)
    data.prepare_data()
    data.setup()
    assert (len(data.images("train")), len(data.images("val"))) == (1520, 260)
    for split in ("train", "val"):
        for path, image in zip(data.files(split)[::10], data.images(split)[::10], strict=True):
            assert np.array_equal(image, paper(path, size))


@pytest.mark.parametrize("place", ["celeba", "celeba/img_align_celeba"])
def test_an_attribute_is_a_label(tmp_path, place, make):
    make(tmp_path / "celeba" / "img_align_celeba", [1, 2, 3, 162771])
    rows = {1: (-1, 1), 2: (1, 1), 3: (1, -1), 162771: (-1, -1)}
    text = "202599\nMale Smiling\n" + "".join(f"{n:06}.jpg {a:2} {b:2}\n" for n, (a, b) in rows.items())
    listed = tmp_path / place / "list_attr_celeba.txt"

    def labels(attribute: str | None) -> list[int] | None:
        data = CelebA(root=str(tmp_path), batch_size=1, attribute=attribute)
        data.prepare_data()
        found = data.labels("train")
        return None if found is None else [*found.tolist(), *data.labels("val").tolist()]

    with pytest.raises(DataError, match=r"celeba/list_attr_celeba\.txt: missing, data\.attribute is read from it"):
        labels("Male")
    listed.write_text(text)
    assert labels("Male") == [0, 1, 1, 0]
    assert labels("Smiling") == [1, 1, 0, 0]
    assert labels(None) is None
    assert len(list((tmp_path / "cache").glob("celeba-train-*"))) == 3
    assert CelebA(attribute="Smiling").classes() == ("not_Smiling", "Smiling")
    with pytest.raises(ConfigError, match=r"data\.attribute=Smile: no column of .*; did you mean Smiling\?"):
        labels("Smile")
    listed.write_text(text.replace("000003.jpg  1 -1", "000003.jpg  1"))
    with pytest.raises(DataError, match=r"expected a line '000003\.jpg' with 2 values"):
        labels("Male")
