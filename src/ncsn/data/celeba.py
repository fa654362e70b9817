"""CelebA, aligned and cropped, from its folder of JPEG files."""

import re
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from ncsn.config import closest
from ncsn.data.decoding import DecodedFiles
from ncsn.data.module import ImageDataModule, Split
from ncsn.errors import ConfigError, DataError

_TRAIN, _VALIDATION, _TEST = 0, 1, 2  # as list_eval_partition.txt has them
_LAST_TRAIN, _LAST_VALIDATION = 162_770, 182_637  # the last files by number
_SIZE = (178, 218)  # width, height
_PARTITION, _ATTRIBUTES = "list_eval_partition.txt", "list_attr_celeba.txt"
_SITE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"


@dataclass(kw_only=True, eq=False)
class CelebA(ImageDataModule):
    """Faces, 162,770 to train on and 19,867 held out: centre crop of 140×140, resized to `image_size`.

    The files are `000001.jpg`, …, all or some of them, in `<root>/celeba/img_align_celeba`, in
    `<root>/img_align_celeba` or in `<root>`. The official split is read from `list_eval_partition.txt`
    beside them, or else follows from the files' numbers. If there are no validation images, the test images are
    held out.

    Args:
        attribute: what images are labelled by, a column of `list_attr_celeba.txt` beside them, say "Smiling": 1 where
            it holds, 0 where it does not. None for no labels.
    """

    name: str = "celeba"
    image_size: int = 32
    channels: int = 3
    flip: bool = True
    attribute: str | None = None

    only_channels: ClassVar[int | None] = 3

    def classes(self) -> tuple[str, ...] | None:
        return None if self.attribute is None else (f"not_{self.attribute}", self.attribute)

    @property
    def labelled_name(self) -> str:
        return self.name if self.attribute is None else f"{self.name}-{self.attribute}"

    def files(self, split: Split) -> list[Path]:
        folder = self._folder()
        part = _partition(folder)
        images: dict[int, list[Path]] = {_TRAIN: [], _VALIDATION: [], _TEST: []}
        for path in _images(folder):
            images[part(path.name)].append(path)
        chosen = images[_TRAIN] if split == "train" else images[_VALIDATION] or images[_TEST]
        if not chosen:
            numbers = f"up to {_LAST_TRAIN}" if split == "train" else f"above {_LAST_TRAIN}"
            raise DataError(f"{folder}: no {split} images, which are those numbered {numbers}; get them from {_SITE}")
        return chosen if self.attribute is None else [*chosen, _beside(folder, _ATTRIBUTES, needed=True)]

    def read(self, split: Split, files: list[Path]) -> tuple[DecodedFiles, np.ndarray | None]:
        if self.attribute is None:
            return DecodedFiles(files, self.channels, self._transform), None
        *images, table = files
        return DecodedFiles(images, self.channels, self._transform), _read_attribute(table, self.attribute, images)

    def _cache_parameters(self) -> dict[str, Any]:
        labels = {} if self.attribute is None else {"attribute": self.attribute}
        return super()._cache_parameters() | labels

    def _transform(self, image: Image.Image) -> Image.Image:
        from torchvision.transforms.functional import center_crop, resize

        if image.size != _SIZE:
            raise ValueError(f"expected {_SIZE[0]}×{_SIZE[1]} pixels, found {image.width}×{image.height}")
        return resize(center_crop(image, [140, 140]), [self.image_size, self.image_size])

    def _folder(self) -> Path:
        root = Path(self.root)
        folders = [root / "celeba" / "img_align_celeba", root / "img_align_celeba", root]
        for folder in folders:
            if folder.is_dir() and _images(folder):
                return folder
        raise DataError(
            f"{folders[0]}: no images of CelebA here; unpack img_align_celeba.zip from {_SITE} so that "
            "000001.jpg and so on lie in it, or set data.root to the folder that has them"
        )


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if re.fullmatch(r"\d{6}\.jpg", path.name))


def _beside(folder: Path, name: str, needed: bool = False) -> Path:
    """Where a list is: with the images, or beside their folder.

    Raises:
        DataError: it is needed and not there.
    """
    places = (folder / name, folder.parent / name)
    found = next((path for path in places if path.is_file()), None)
    if found is None and needed:
        raise DataError(f"{places[1]}: missing, data.attribute is read from it; get it from {_SITE}")
    return found or places[0]


def _partition(folder: Path) -> Callable[[str], int]:
    """A function from a file's name to the part of the set that it belongs to."""
    path = _beside(folder, _PARTITION)
    if path.is_file():
        return _read_partition(path)
    return lambda name: bisect_left((_LAST_TRAIN, _LAST_VALIDATION), int(name.removesuffix(".jpg")))


def _read_partition(path: Path) -> Callable[[str], int]:
    lines = re.findall(r"^(\d{6}\.jpg) +([012])\s*$", path.read_text(errors="replace"), re.MULTILINE)
    parts = {name: int(part) for name, part in lines}

    def part(name: str) -> int:
        if name not in parts:
            raise DataError(f"{path}: expected a line '{name} 0' (or 1, or 2); replace or remove this file")
        return parts[name]

    return part


def _read_attribute(path: Path, attribute: str, images: list[Path]) -> np.ndarray:
    """The labels of images, 0 or 1 (N,): the second line of the file names its columns, whose values are −1 or 1."""
    _, header, *lines = [*path.read_text(errors="replace").splitlines(), "", ""]
    names = header.split()
    if attribute not in names:
        raise ConfigError(f"data.attribute={attribute}: no column of {path}{closest(attribute, names)}")
    column, values = names.index(attribute) + 1, {}
    for line in lines:
        row = line.split()
        if len(row) == len(names) + 1 and row[column] in ("-1", "1"):
            values[row[0]] = int(row[column] == "1")
    missing = next((image.name for image in images if image.name not in values), None)
    if missing is not None:
        raise DataError(f"{path}: expected a line '{missing}' with {len(names)} values, −1 or 1; replace this file")
    return np.array([values[image.name] for image in images])
