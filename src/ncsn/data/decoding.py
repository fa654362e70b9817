"""Image files to arrays."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Literal, Protocol

import numpy as np
from PIL import Image, ImageOps

from ncsn.errors import DataError, shown
from ncsn.files import is_there
from ncsn.images import opened

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


class Source(Protocol):
    """What holds an encoded image: a path, or something that can be opened like one. Errors name it by its `str`."""

    def open(self, mode: Literal["rb"]) -> IO[bytes]: ...


class DecodedFiles:
    """Image files that are decoded on access: item i is uint8 (C, H, W).

    Args:
        files: where the images are; accessed one by one.
        channels: C, 1 for grey or 3 for RGB.
        transform: turns a PIL image of mode L or RGB into one of the size wanted.

    Raises:
        DataError: on access, if the file is not an image that can be read and transformed.
    """

    def __init__(
        self, files: Sequence[Source], channels: int, transform: Callable[[Image.Image], Image.Image]
    ) -> None:
        self.files, self.channels, self.transform = files, channels, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> np.ndarray:
        source = self.files[i]
        if isinstance(source, Path):
            is_there(source)
        try:
            with source.open("rb") as file:
                pixels = np.asarray(self.transform(open_image(file, self.channels)))
        except Exception as error:  # decoders fail in many ways on bytes that are not theirs
            raise DataError(
                f"{source}: not an image that can be used ({shown(error)}); replace or remove it"
            ) from error
        return pixels[None] if self.channels == 1 else pixels.transpose(2, 0, 1)


def find_images(folder: Path) -> Iterator[Path]:
    """The image files in a folder and its subfolders, by extension, in no order; none if there is no folder.

    Hidden folders are left out, those that macOS puts into archives, and links to folders that they lie in.
    """
    for parent, folders, names in os.walk(folder, followlinks=True):
        above = os.path.join(os.path.realpath(parent), "")
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name != "__MACOSX"
            and not above.startswith(os.path.join(os.path.realpath(os.path.join(parent, name)), ""))
        ]
        for name in names:
            if name.lower().endswith(EXTENSIONS) and not name.startswith("."):
                yield Path(parent, name)


def open_image(path: Path | IO[bytes], channels: int) -> Image.Image:
    """An image file as a PIL image of mode L (`channels` = 1) or RGB (3), upright.

    Transparent parts become white; 16 bits per channel become 8. Raises what PIL raises.
    """
    with opened(path) as file:
        image = ImageOps.exif_transpose(file)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip
        image = Image.fromarray(np.round(np.asarray(image) / 257).clip(0, 255).astype(np.uint8))
    if image.getbands()[-1] == "A" or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


def fit(image: Image.Image, size: int, interpolation: Literal["bilinear", "nearest"] = "bilinear") -> Image.Image:
    """An image as size × size pixels: its shorter side resized, then the centre cropped."""
    from torchvision.transforms.functional import InterpolationMode, center_crop, resize

    return center_crop(resize(image, [size], InterpolationMode(interpolation)), [size, size])
