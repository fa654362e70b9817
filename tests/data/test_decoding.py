import numpy as np
import pytest
from PIL import Image

from ncsn.data.decoding import DecodedFiles, open_image
from ncsn.errors import DataError

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def saved(tmp_path, image, name="image.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_grey_or_rgb(tmp_path, mode, channels):
    name = "image.tif" if mode == "CMYK" else "image.png"
    path = saved(tmp_path, Image.fromarray(GREY).convert("RGB").convert(mode), name)
    image = open_image(path, channels)
    assert image.mode == ("L" if channels == 1 else "RGB")
    assert image.size == (8, 8)
    if mode in ("L", "RGB", "RGBA", "LA"):
        assert np.array_equal(np.asarray(image.convert("L")), GREY)


def test_sixteen_bits_keep_their_range(tmp_path):
    path = saved(tmp_path, Image.fromarray(GREY.astype(np.uint16) * 257))
    assert np.array_equal(np.asarray(open_image(path, 1)), GREY)


def test_transparent_parts_are_white(tmp_path):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4, :, 3] = 255
    image = np.asarray(open_image(saved(tmp_path, Image.fromarray(pixels)), 3))
    assert (image[:4] == 0).all()
    assert (image[4:] == 255).all()
    palette = Image.fromarray(np.eye(8, dtype=np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 10, 10, 10])
    image = np.asarray(open_image(saved(tmp_path, palette, transparency=0), 1))
    assert (image == np.where(np.eye(8), 10, 255)).all()


def test_a_photograph_taken_sideways_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise
    path = saved(tmp_path, Image.fromarray(GREY), exif=exif)
    assert np.array_equal(np.asarray(open_image(path, 1)), np.rot90(GREY, -1))


def test_channels_come_first(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.dstack([GREY, GREY // 2, GREY // 4])))
    for channels in (1, 3):
        pixels = DecodedFiles([path], channels, lambda image: image)[0]
        assert (pixels.shape, pixels.dtype) == ((channels, 8, 8), np.uint8)
    assert np.array_equal(pixels[1], GREY // 2)


@pytest.mark.parametrize("damage", ["truncated", "html", "empty", "missing", "float"])
def test_a_file_that_cannot_be_used_is_named(tmp_path, damage):
    path = tmp_path / "image.png"
    if damage == "truncated":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif damage == "float":
        path = saved(tmp_path, Image.fromarray(GREY.astype(np.float32)), "image.tif")
    elif damage != "missing":
        path.write_text("<html>not found</html>" if damage == "html" else "")
    with pytest.raises(DataError, match=r"image\.(png|tif): not an image that can be used"):
        DecodedFiles([path], 3, lambda image: image)[0]
