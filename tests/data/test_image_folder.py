import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ncsn.data import ImageFolder
from ncsn.data.decoding import find_images
from ncsn.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path: Path, save_noise) -> Path:
    for i in range(20):
        name = f"{'abc'[i % 3]}/{i}{['.jpg', '.png', '.JPEG'][i % 3]}"
        save_noise(tmp_path / name, (40 + i, 50), i)
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "a" / "._0.jpg").write_text("what macOS leaves")
    return tmp_path


def prepared(root: Path, **options) -> ImageFolder:
    data = ImageFolder(root=str(root), batch_size=4, **{"image_size": 16, **options})
    data.prepare_data()
    data.setup()
    return data


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 64])
def test_shorter_side_resized_then_cropped(folder, channels, size):
    data = prepared(folder, image_size=size, channels=channels)
    assert data.images("train").shape == (18, channels, size, size)
    assert data.images("val").shape == (2, channels, size, size)
    for path, pixels in zip(data.files("train"), data.images("train"), strict=True):
        image = Image.open(path).convert("L" if channels == 1 else "RGB")
        width, height = (size * side // min(image.size) for side in image.size)
        left, top = round((width - size) / 2), round((height - size) / 2)
        image = image.resize((width, height), Image.BILINEAR).crop((left, top, left + size, top + size))
        assert np.array_equal(pixels.permute(1, 2, 0).squeeze(-1), image)


def test_the_split_is_a_matter_of_seed_and_names(folder, monkeypatch):
    def split(seed: int) -> list[list[Path]]:
        data = ImageFolder(root=str(folder), image_size=16, seed=seed)
        return [data.files("train"), data.files("val")]

    train, val = split(0)
    assert len(train) == 18
    assert len({*train, *val}) == 20
    assert split(1) != [train, val]
    walk = list(os.walk(folder))
    monkeypatch.setattr(os, "walk", lambda *_, **__: [(d, s, f[::-1]) for d, s, f in reversed(walk)])
    assert split(0) == [train, val]


def test_two_seeds_have_two_caches(folder, monkeypatch):
    first = prepared(folder, seed=0).images("val").clone()
    prepared(folder, seed=1)
    monkeypatch.setattr(ImageFolder, "read", lambda *_: pytest.fail("decoded again"))
    assert (prepared(folder, seed=0).images("val") == first).all()


def test_a_new_file_is_noticed(folder, save_noise):
    prepared(folder)
    save_noise(folder / "new.png", (20, 20), 99)
    data = prepared(folder)
    assert len(data.images("train")) + len(data.images("val")) == 21


def test_a_damaged_file_is_named(folder):
    (folder / "b" / "1.png").write_bytes((folder / "b" / "1.png").read_bytes()[:300])
    with pytest.raises(DataError, match=r"b/1\.png: not an image that can be used"):
        prepared(folder)
    assert not list((folder / "cache").glob("*.tmp"))


def test_folders_without_images(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: not a folder; set data\.root"):
        prepared(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"expected at least two images \(.*\), found 0"):
        prepared(tmp_path)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 2])
def test_val_fraction(tmp_path, fraction):
    with pytest.raises(ConfigError, match=rf"^data\.val_fraction={fraction}: must lie between 0 and 1$"):
        ImageFolder(root=str(tmp_path), image_size=16, val_fraction=fraction)


def test_size_and_root_must_be_given():
    with pytest.raises(TypeError, match="'root' and 'image_size'"):
        ImageFolder()


def test_subfolders_are_classes_in_the_order_of_their_names(folder, save_noise):
    def labelled(data: ImageFolder) -> dict[str, str]:
        return {
            path.relative_to(folder).as_posix(): data.classes()[label]
            for split in ("train", "val")
            for path, label in zip(data.files(split), data.labels(split).tolist(), strict=True)
        }

    data = prepared(folder)
    assert data.classes() == ("a", "b", "c")
    assert data.identity("val")["classes"] == ["a", "b", "c"]
    assert all(name.startswith(f"{label}/") for name, label in labelled(data).items())
    first = data.labelled_name
    save_noise(folder / "aa" / "deep" / "20.png", (20, 20), 20)  # between two, wherever it is held out
    data = prepared(folder)
    assert data.classes() == ("a", "aa", "b", "c")
    assert data.labelled_name != first
    assert len(found := labelled(data)) == 21
    assert all(name.startswith(f"{label}/") for name, label in found.items())
    (folder / "b$").mkdir()
    save_noise(folder / "${b}" / "21.png", (20, 20), 21)
    with pytest.raises(DataError, match="cannot be part of the name of a class"):
        data.classes()


@pytest.mark.parametrize("places", [("a/0", "a/1", "2"), ("a/0", "a/1", "a/b/2")])
def test_no_labels_where_an_image_lies_in_no_class_or_all_in_one(tmp_path, save_noise, places):
    for number, place in enumerate(places):
        save_noise(tmp_path / f"{place}.png", (20, 20), number)
    data = ImageFolder(root=str(tmp_path), image_size=8)
    data.prepare_data()
    assert data.classes() is data.labels("train") is None
    assert "classes" not in data.identity("train")


def test_links_in_circles_are_followed_once(tmp_path, save_noise):
    save_noise(tmp_path / "a" / "1.png", (9, 9), 0)
    for name in ("x", "y", "z"):
        (tmp_path / "a" / name).symlink_to(tmp_path, target_is_directory=True)
    assert [path.name for path in find_images(tmp_path)] == ["1.png"]
