"""A folder of images that are damaged already, each beside its original."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from ncsn.data.decoding import EXTENSIONS, DecodedFiles, find_images, fit
from ncsn.data.image_folder import OwnImages
from ncsn.data.module import Split
from ncsn.errors import DataError


class DecodedPairs(DecodedFiles):
    """Pairs of image files that are decoded on access: item i is the original and the damaged one, uint8 (2C, H, W).

    Args:
        originals, damaged: as many files, in the same order.
        channels: C.
        size: of both, in pixels; no side of theirs is shorter.

    Raises:
        DataError: on access, if one cannot be used, or the two differ in size.
    """

    def __init__(self, originals: list[Path], damaged: list[Path], channels: int, size: int) -> None:
        super().__init__(originals, channels, self._fitted)
        self.damaged, self.size = damaged, size

    def __getitem__(self, i: int) -> np.ndarray:
        sizes: list[tuple[int, int]] = []

        def fitted(image: Image.Image) -> Image.Image:
            sizes.append(image.size)
            return self._fitted(image)

        both = [DecodedFiles([file], self.channels, fitted)[0] for file in (self.files[i], self.damaged[i])]
        if sizes[0] != sizes[1]:
            (width, height), (other_width, other_height) = sizes
            raise DataError(
                f"{self.damaged[i]}: {other_width}×{other_height} pixels, but its original {self.files[i]} has "
                f"{width}×{height}; the two images of a pair must be of one size"
            )
        return np.concatenate(both)

    def _fitted(self, image: Image.Image) -> Image.Image:
        if min(image.size) < self.size:
            width, height = image.size
            raise ValueError(f"it is too small: {width}×{height} pixels, and data.image_size is {self.size}")
        return fit(image, self.size)


@dataclass(kw_only=True, eq=False)
class Pairs(OwnImages):
    """The images in the folder `original`, and the same images damaged, by the same names, in `damaged`.

    Names may differ in their endings, and subfolders are searched too.

    Args:
        root: the folder that has the two.
    """

    name: str = "pairs"

    paired: ClassVar[bool] = True

    def files(self, split: Split) -> list[Path]:
        """The originals of a split, then as many damaged images, in the same order."""
        originals, damaged = (self._by_name(folder) for folder in ("original", "damaged"))
        for here, there, folder in ((originals, damaged, "damaged"), (damaged, originals, "original")):
            for name in sorted(here.keys() - there.keys()):
                raise DataError(f"{here[name]}: has no partner; expected an image {Path(self.root, folder, name)}.*")
        if len(originals) < 2:
            raise DataError(f"{self.root}: expected at least two pairs of images, found {len(originals)}")
        names = self.in_split(split, originals)
        return [images[name] for images in (originals, damaged) for name in names]

    def read(self, split: Split, files: list[Path]) -> tuple[DecodedPairs, None]:
        half = len(files) // 2
        return DecodedPairs(files[:half], files[half:], self.channels, self.image_size), None

    def _by_name(self, name: str) -> dict[str, Path]:
        """The images in a folder, by their paths from there without the ending."""
        folder = Path(self.root, name)
        if not folder.is_dir():
            raise DataError(f"{folder}: not a folder; data.root must have two of them, original and damaged")
        found: dict[str, Path] = {}
        for path in sorted(find_images(folder)):
            stem = path.relative_to(folder).with_suffix("").as_posix()
            if stem in found:
                raise DataError(f"{path}: has the name of {found[stem]}; a pair is two images of one name")
            found[stem] = path
        if not found:
            raise DataError(f"{folder}: holds no images ({', '.join(EXTENSIONS)})")
        return found
