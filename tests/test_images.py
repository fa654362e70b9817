"""Pictures: rounding, the layout of a grid to the pixel, and files that can be read back."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ncsn import images as module
from ncsn.errors import DataError
from ncsn.images import grid, opened, save_gif, save_png, to_uint8


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


# 8 bits


def test_every_8_bit_value_comes_back() -> None:
    values = torch.arange(256)
    assert to_uint8((values / 255).view(1, 1, 16, 16)).ravel().tolist() == values.tolist()


def test_rounds_and_does_not_truncate() -> None:
    x = torch.tensor([0.4, 0.6, 99.4, 99.6, 254.4, 254.6]) / 255
    assert to_uint8(x.view(1, 1, 1, 6)).ravel().tolist() == [0, 1, 99, 100, 254, 255]


def test_clamps() -> None:
    x = torch.tensor([-1e9, -0.5, -0.001, 0.0, 1.0, 1.001, 1.5, torch.inf])
    assert to_uint8(x.view(1, 1, 1, 8)).ravel().tolist() == [0, 0, 0, 0, 255, 255, 255, 255]


def test_channels_come_last() -> None:
    x = images(2, 3, 4, 5)
    before, out = x.clone(), to_uint8(x)
    assert out.dtype == np.uint8
    assert out.shape == (2, 4, 5, 3)
    assert out[1, 2, 3].tolist() == [round(255 * v) for v in x[1, :, 2, 3].tolist()]
    assert torch.equal(x, before)


# Grids


def laid_out(x: Tensor, columns: int, factor: int, padding: int) -> np.ndarray:
    """The grid of (B, 3, H, W), pixel by pixel: white, and every image's pixels as squares of `factor`."""
    pixels, (height, width) = to_uint8(x), x.shape[2:]
    rows = -(-len(x) // columns)
    cell_height, cell_width = height * factor + padding, width * factor + padding
    picture = np.full((rows * cell_height + padding, columns * cell_width + padding, 3), 255, np.uint8)
    for k in range(len(x)):
        top, left = k // columns * cell_height + padding, k % columns * cell_width + padding
        for i in range(height * factor):
            for j in range(width * factor):
                picture[top + i, left + j] = pixels[k, i // factor, j // factor]
    return picture


@pytest.mark.parametrize(
    ("batch", "num_columns", "min_side", "columns", "factor"),
    [
        (4, None, 1, 2, 1),  # a full square, large enough
        (5, None, 1, 3, 1),  # two rows of three, one place empty
        (9, None, 60, 3, 4),  # 3 × 5 pixels must reach 60
        (9, None, 61, 3, 5),
        (6, 6, 60, 6, 2),  # one row
        (6, 1, 15, 1, 3),  # one column
    ],
)
def test_grid_is_enlarged_without_smoothing(
    batch: int, num_columns: int | None, min_side: int, columns: int, factor: int
) -> None:
    x = images(batch, 3, 4, 5) * 1.2 - 0.1
    expected = laid_out(x, columns, factor, padding=max(2, factor))
    assert np.array_equal(grid(x, num_columns, min_side), expected)


def test_grid_of_small_images_is_512_wide_and_its_padding() -> None:
    assert grid(images(64, 1, 8, 8)).shape == (512 + 9 * 8, 512 + 9 * 8, 3)


def test_grid_leaves_large_images_as_they_are() -> None:
    assert grid(images(2, 3, 300, 300)).shape == (300 + 4, 600 + 6, 3)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_grid_of_one_image_is_the_image(channels: int) -> None:
    x = images(1, channels, 4, 5)
    rgb = x if channels == 3 else x.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    expected = to_uint8(rgb)[0].repeat(3, axis=0).repeat(3, axis=1)
    assert np.array_equal(grid(x, min_side=15), expected)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_grid_shows_the_mean_of_channels_that_are_not_colours(channels: int) -> None:
    x = images(4, channels, 3, 3)
    gray = x.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    assert np.array_equal(grid(x, min_side=1), laid_out(gray, 2, 1, padding=2))


def test_grid_leaves_its_input_alone() -> None:
    x = 2 * images(4, 3, 3, 3)
    before = x.clone()
    grid(x)
    assert torch.equal(x, before)


# Files


@pytest.mark.parametrize("channels", [1, 3])
def test_png_comes_back_exactly(tmp_path: Path, channels: int) -> None:
    picture = to_uint8(images(1, channels, 6, 7))[0]
    path = tmp_path / "new" / "folder" / "x.png"
    assert save_png(picture, path) == path
    with Image.open(path) as image:
        assert image.mode == {1: "L", 3: "RGB"}[channels]
        assert np.array_equal(np.asarray(image).reshape(picture.shape), picture)


@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_gif_comes_back_frame_by_frame_and_rests_on_the_last(tmp_path: Path, num_frames: int) -> None:
    colours = [(50 * i, 0, 255 - 50 * i) for i in range(num_frames)]
    path = tmp_path / "new" / "x.gif"
    assert save_gif([np.full((6, 7, 3), c, np.uint8) for c in colours], path, milliseconds=50) == path
    with Image.open(path) as image:
        assert image.size == (7, 6)
        assert image.info["loop"] == 0  # for ever
        assert getattr(image, "n_frames", 1) == num_frames
        durations = []
        for i, colour in enumerate(colours):
            image.seek(i)
            assert image.convert("RGB").getpixel((3, 3)) == colour
            durations.append(image.info["duration"])
    assert durations == [50] * (num_frames - 1) + [500]


# Files of others


@pytest.mark.parametrize("kind", ["GIF", "EPS", "TGA", "PDF"])
def test_other_formats_are_not_read_whatever_their_names_say(kind: str, tmp_path: Path) -> None:
    """EPS would run Ghostscript."""
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", kind)
    with pytest.raises(OSError, match="cannot identify"), opened(tmp_path / "a.png"):
        pass


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (4, 3)).save(tmp_path / "a.png")
    with opened(tmp_path / "a.png") as image:
        assert image.size == (4, 3)
    monkeypatch.setattr(module, "MOST_PIXELS", 11)
    with pytest.raises(ValueError, match="has 4×3 pixels, of which at most 11"), opened(tmp_path / "a.png"):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match="neither a file nor a folder"), opened(tmp_path / "a.png"):
        pass
