"""Flickr-Faces-HQ, from its folder of PNG files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from ncsn.data.decoding import DecodedFiles
from ncsn.data.module import ImageDataModule, Split
from ncsn.errors import DataError

_TOTAL = 70_000
_SITE = "https://github.com/NVlabs/ffhq-dataset"
_FILE = re.compile(r"(?:img)?(\d+)\.png", re.IGNORECASE)
_SIZED = re.compile(r".*?(\d+)x(\d+)")


@dataclass(kw_only=True, eq=False)
class FFHQ(ImageDataModule):
    """Faces, 63,000 to train on and 7,000 held out, at `image_size` or resized down to it.

    The files are `00000.png` to `69999.png`, all or some of them, in one folder or in folders of a thousand
    (`00000/00000.png`), in `<root>/ffhq` or `<root>`, or in a folder there that is named after their size, as
    `images256x256` and the published `images1024x1024` are; if there are several, the smallest that is large
    enough. The split is that of Song & Ermon 2020, who hold out a tenth, drawn by NumPy with their seed. The
    publisher's split (the first 60,000 to train on) would hold out images that their networks were trained on.
    """

    name: str = "ffhq"
    image_size: int = 256
    channels: int = 3
    flip: bool = True

    only_channels: ClassVar[int | None] = 3

    def files(self, split: Split) -> list[Path]:
        folder, images = self._images()
        chosen = [path for number, path in images if (number in _held_out()) == (split == "val")]
        if not chosen:
            raise DataError(f"{folder}: no {split} images among {len(images)}; get more of them from {_SITE}")
        return chosen

    def read(self, split: Split, files: list[Path]) -> tuple[DecodedFiles, None]:
        return DecodedFiles(files, self.channels, self._transform), None

    def _transform(self, image: Image.Image) -> Image.Image:
        from torchvision.transforms.functional import resize

        if image.width != image.height or image.width < self.image_size:
            raise ValueError(
                f"expected a square of {self.image_size} pixels or more, found {image.width}×{image.height}"
            )
        return image if image.width == self.image_size else resize(image, [self.image_size])

    def _images(self) -> tuple[Path, list[tuple[int, Path]]]:
        """The folder that is used, and its images with their numbers."""
        too_small = []
        for place in (Path(self.root, "ffhq"), Path(self.root)):
            sized = sorted((size, folder) for folder in _folders(place) if (size := _size(folder)))
            for folder in [*(folder for size, folder in sized if size >= self.image_size), place]:
                if images := sorted(_numbered(folder)):
                    return folder, images
            too_small += [folder for size, folder in sized if size < self.image_size]
        found = f" ({too_small[-1]} has smaller ones, which cannot be enlarged)" if too_small else ""
        raise DataError(
            f"{Path(self.root, 'ffhq')}: no images of {self.image_size} pixels or more{found}; "
            f"put 00000.png and so on there, or images1024x1024 from {_SITE}, "
            "or set data.root to the folder that has them"
        )


@cache
def _held_out() -> frozenset[int]:
    """Numbers of the images that the authors' code holds out."""
    numbers = list(range(_TOTAL))
    np.random.RandomState(2019).shuffle(numbers)
    return frozenset(numbers[int(_TOTAL * 0.9) :])


def _folders(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if path.is_dir()] if place.is_dir() else []


def _size(folder: Path) -> int | None:
    match = _SIZED.fullmatch(folder.name)
    return int(match[1]) if match and match[1] == match[2] else None


def _numbered(folder: Path) -> Iterator[tuple[int, Path]]:
    """The images in a folder and in its folders of a thousand, with their numbers."""
    thousands = [path for path in _folders(folder) if re.fullmatch(r"\d{5}", path.name)]
    for place in [folder, *thousands]:
        for path in place.iterdir() if place.is_dir() else ():
            match = _FILE.fullmatch(path.name)
            if match and int(match[1]) < _TOTAL:
                yield int(match[1]), path
