"""Any folder of images."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ncsn.data.decoding import EXTENSIONS, DecodedFiles, find_images, fit
from ncsn.data.module import ImageDataModule, Split
from ncsn.errors import DataError
from ncsn.files import digest
from ncsn.random import key_to_seed


@dataclass(kw_only=True, eq=False)
class OwnImages(ImageDataModule):
    """Images of the user's own: shorter side resized to `image_size`, centre crop.

    Which are held out depends on the seed and on their names, not on the order in which they are found.

    Args:
        val_fraction: fraction of the images that is held out; at least one image is.
    """

    root: str = field()
    image_size: int = field()
    channels: int = 3
    val_fraction: float = 0.1

    cache_keys: ClassVar[tuple[str, ...]] = (*ImageDataModule.cache_keys, "seed", "val_fraction")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("val_fraction", 0 < self.val_fraction < 1, "must lie between 0 and 1")

    def in_split(self, split: Split, names: Iterable[str]) -> list[str]:
        """Those of two names or more that belong to a split, sorted."""
        order = sorted(names, key=lambda name: key_to_seed(self.seed, "held out", name))
        held_out = min(max(round(len(order) * self.val_fraction), 1), len(order) - 1)
        return sorted(order[:held_out] if split == "val" else order[held_out:])


@dataclass(kw_only=True, eq=False)
class ImageFolder(OwnImages):
    """The images in a folder and its subfolders.

    The class of an image is the subfolder of the folder that it lies in; the classes are in the order of their names.
    Where an image lies in the folder itself, or all lie in one subfolder, there are no labels.
    """

    name: str = "image_folder"

    def classes(self) -> tuple[str, ...] | None:
        names = self._names()
        folders = {name.partition("/")[0] for name in names}
        if len(folders) < 2 or not all("/" in name for name in names):
            return None
        for folder in folders:
            if "${" in folder:  # which no file of a run could hold
                raise DataError(f"{Path(self.root, folder)}: ${{ cannot be part of the name of a class; rename it")
        return tuple(sorted(folders))

    @property
    def labelled_name(self) -> str:
        return f"{self.name}-{digest(self.classes())}"

    def files(self, split: Split) -> list[Path]:
        return [Path(self.root, name) for name in self.in_split(split, self._names())]

    def read(self, split: Split, files: list[Path]) -> tuple[DecodedFiles, np.ndarray | None]:
        images, classes = DecodedFiles(files, self.channels, partial(fit, size=self.image_size)), self.classes()
        if classes is None:
            return images, None
        number = {name: number for number, name in enumerate(classes)}
        return images, np.array([number[file.relative_to(self.root).parts[0]] for file in files])

    def _names(self) -> list[str]:
        """The images in the folder, by their paths from there."""
        root = Path(self.root)
        if not root.is_dir():
            raise DataError(f"{root}: not a folder; set data.root to the folder that has the images")
        names = [path.relative_to(root).as_posix() for path in find_images(root)]
        if len(names) < 2:
            raise DataError(f"{root}: expected at least two images ({', '.join(EXTENSIONS)}), found {len(names)}")
        return names

    def _classes_on_disk(self) -> dict[str, Any]:
        classes = self.classes()
        return {} if classes is None else {"classes": list(classes)}
