import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from ncsn.errors import DataError
from ncsn.evaluation import images_of
from ncsn.images import save_png


def some_images(n: int = 10, channels: int = 3, height: int = 6, width: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, height, width, channels), dtype=np.uint8)


def save_folder(folder, images):
    for i, image in enumerate(images):
        save_png(image, folder / f"{i:03d}.png")


@pytest.mark.parametrize("size", [1, 4, 10, 99])
@pytest.mark.parametrize("kind", ["folder", "npz", "compressed npz", "npz with labels", "npz with another name"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_was_written_is_read(tmp_path, channels, kind, size):
    images, path = some_images(channels=channels), tmp_path / "images.npz"
    match kind:
        case "folder":
            path = tmp_path / "images"
            save_folder(path, images)
        case "npz":
            np.savez(path, images)
        case "compressed npz":
            np.savez_compressed(path, images)
        case "npz with labels":
            np.savez(path, np.array(images), labels=np.arange(10))
        case "npz with another name":
            np.savez(path, samples=images)
    found = images_of(path)
    assert (len(found), found.shape) == (10, (channels, 6, 5))
    batches = list(found.batches(size))
    assert all(batch.dtype == torch.uint8 and len(batch) <= size for batch in batches)
    assert len(batches) == -(-10 // size)
    assert np.array_equal(torch.cat(batches).permute(0, 2, 3, 1), images)


def test_an_npz_of_grey_images_without_a_dimension_for_channels(tmp_path):
    images = some_images(channels=1)
    np.savez(tmp_path / "images.npz", images[..., 0])
    assert np.array_equal(torch.cat(list(images_of(tmp_path / "images.npz").batches(3))).permute(0, 2, 3, 1), images)


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_conversion_between_grey_and_rgb(tmp_path, kind):
    grey, rgb = some_images(channels=1), some_images(channels=3)
    paths = [tmp_path / f"{name}.npz" if kind == "npz" else tmp_path / name for name in ("grey", "rgb")]
    for path, images in zip(paths, (grey, rgb), strict=True):
        np.savez(path, images) if kind == "npz" else save_folder(path, images)
    as_rgb, as_grey = images_of(paths[0], channels=3), images_of(paths[1], channels=1)
    assert (as_rgb.shape, as_grey.shape) == ((3, 6, 5), (1, 6, 5))
    assert np.array_equal(torch.cat(list(as_rgb.batches(4))).permute(0, 2, 3, 1), grey.repeat(3, axis=3))
    expected = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in rgb])
    assert np.array_equal(torch.cat(list(as_grey.batches(4)))[:, 0], expected)


def test_a_folder_of_our_samples_means_the_samples(tmp_path):
    images = some_images()
    save_png(some_images(1)[0], tmp_path / "grid.png")
    save_folder(tmp_path / "images", images)
    assert len(images_of(tmp_path)) == 10
    np.savez(tmp_path / "samples.npz", images[:7])
    assert len(images_of(tmp_path)) == 7


def test_files_that_are_no_images_are_passed_over(tmp_path):
    save_folder(tmp_path, some_images(3))
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "._000.png").write_text("what macOS leaves")
    save_png(some_images(1)[0], tmp_path / "deeper" / "1.png")
    assert len(images_of(tmp_path)) == 3


def test_the_identity_sees_another_file_and_another_conversion(tmp_path):
    save_folder(tmp_path, some_images(3))
    before = images_of(tmp_path).identity()
    assert images_of(tmp_path).identity() == before
    assert images_of(tmp_path, channels=1).identity() != before
    save_png(some_images(1)[0], tmp_path / "new.png")
    assert images_of(tmp_path).identity() != before


@pytest.mark.parametrize("channels", [None, 1])
def test_an_image_of_another_size_is_named(tmp_path, channels):
    save_folder(tmp_path, some_images(3))
    save_png(some_images(1, width=7)[0], tmp_path / "999.png")
    with pytest.raises(DataError, match=r"999\.png.*7×6 pixels, but 000\.png has 5×6"):
        list(images_of(tmp_path, channels).batches(2))


def test_grey_among_rgb_is_named_unless_all_are_converted(tmp_path):
    save_folder(tmp_path, some_images(3))
    save_png(some_images(1, channels=1)[0], tmp_path / "999.png")
    with pytest.raises(DataError, match=r"999\.png: grey, but 000\.png is RGB; convert"):
        list(images_of(tmp_path).batches(2))
    assert sum(map(len, images_of(tmp_path, channels=3).batches(2))) == 4


@pytest.mark.parametrize("first", [True, False])
def test_a_damaged_file_in_a_folder_is_named(tmp_path, first):
    save_folder(tmp_path, some_images(3, height=60, width=60))
    path = tmp_path / ("000.png" if first else "001.png")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=rf"{path.name}: not an image that can be used"):
        list(images_of(tmp_path).batches(2))
    path.write_bytes(b"")
    with pytest.raises(DataError, match=rf"{path.name}: not an image that can be used"):
        list(images_of(tmp_path).batches(2))


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="no images here"):
        images_of(tmp_path)
    with pytest.raises(DataError, match="nowhere: not there"):
        images_of(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"arr_0": some_images() / 255}, "expected uint8 .*, found float64; save round"),
        ({"arr_0": some_images(channels=4)}, r"expected uint8 .*, found an array of shape \(10, 6, 5, 4\)"),
        ({"arr_0": some_images().transpose(0, 3, 1, 2)}, r"found an array of shape \(10, 3, 6, 5\)"),
        ({"arr_0": some_images(0)}, r"found an array of shape \(0, 6, 5, 3\)"),
        ({"arr_0": some_images()[0, :, :, 0]}, r"found an array of shape \(6, 5\)"),
        ({"arr_0": np.asfortranarray(some_images())}, "Fortran"),
        ({"a": some_images(), "b": some_images()}, "expected an array named arr_0 in it, found a, b"),
        ({"arr_0": np.array([object()])}, "expected uint8 .*, found object"),
        ({}, "expected an array named arr_0"),
    ],
)
def test_an_npz_of_something_else(tmp_path, arrays, message):
    np.savez(tmp_path / "images.npz", **arrays)
    with pytest.raises(DataError, match=rf"images\.npz: .*{message}"):
        images_of(tmp_path / "images.npz")


@pytest.mark.parametrize("compressed", [True, False])
def test_a_damaged_npz(tmp_path, compressed):
    path = tmp_path / "images.npz"
    (np.savez_compressed if compressed else np.savez)(path, some_images(500))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"images\.npz: expected an npz, but it cannot be read"):
        list(images_of(path).batches(100))
    path.write_bytes(content[:1000])
    with pytest.raises(DataError, match=r"images\.npz: expected an npz, but it cannot be read"):
        images_of(path)


def test_an_npz_with_less_in_it_than_it_says(tmp_path):
    with zipfile.ZipFile(tmp_path / "images.npz", "w") as archive, archive.open("arr_0.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (9, 6, 5, 3)})
        file.write(bytes(8 * 90))
    with pytest.raises(DataError, match="cannot be read"):
        list(images_of(tmp_path / "images.npz").batches(4))


@pytest.mark.parametrize("damage", ["encrypted", "compression", "lzma", "negative", "long", "deep"])
def test_a_hostile_npz_is_told_in_one_line(tmp_path, damage):
    path = tmp_path / "images.npz"
    shape = {"negative": (9, -6, -5, 3), "long": (1,) * 9999}.get(damage, (9, 6, 5, 3))
    method = zipfile.ZIP_LZMA if damage == "lzma" else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive, archive.open("arr_0.npy", "w") as file:
        if damage == "deep":
            file.write(b"\x93NUMPY\x01\x00" + (9999).to_bytes(2, "little") + b"(" * 9998 + b"\n")
        else:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.write(bytes(9 * 90))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    if damage == "encrypted":
        content[6] |= 1
        content[entry + 8] |= 1
    elif damage == "compression":
        content[8] = content[entry + 10] = 99
    elif damage == "lzma":
        content[46:60] = bytes([0xFF] * 14)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"images\.npz: expected") as raised:
        images_of(path)
    assert str(raised.value).isprintable()


def test_an_image_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    save_folder(tmp_path, some_images(1))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(DataError, match=r"000\.png: not an image that can be used"):
        images_of(tmp_path)
