"""CelebA, aligned and cropped, from its folder of JPEG files."""

import re
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from PIL import Image

from ncsn.data.decoding import DecodedFiles
from ncsn.data.module import ImageDataModule, Split
from ncsn.errors import DataError

_TRAIN, _VALIDATION, _TEST = 0, 1, 2  # as list_eval_partition.txt has them
_LAST_TRAIN, _LAST_VALIDATION = 162_770, 182_637  # the last files by number
_SIZE = (178, 218)  # width, height
_SITE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"


@dataclass(kw_only=True, eq=False)
class CelebA(ImageDataModule):
    """Faces, 162,770 to train on and 19,867 held out: centre crop of 140×140, resized to `image_size`.

    The files are `000001.jpg`, …, all or some of them, in `<root>/celeba/img_align_celeba`, in
    `<root>/img_align_celeba` or in `<root>`. The official split is read from `list_eval_partition.txt`
    beside them, or else follows from the files' numbers. If there are no validation images, the test images are
    held out.
    """

    name: str = "celeba"
    image_size: int = 32
    channels: int = 3
    flip: bool = True

    only_channels: ClassVar[int | None] = 3

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
        return chosen

    def read(self, split: Split, files: list[Path]) -> tuple[DecodedFiles, None]:
        return DecodedFiles(files, self.channels, self._transform), None

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


def _partition(folder: Path) -> Callable[[str], int]:
    """A function from a file's name to the part of the set that it belongs to."""
    for path in (folder / "list_eval_partition.txt", folder.parent / "list_eval_partition.txt"):
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
