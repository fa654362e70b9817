"""Any folder of images."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

from ncsn.data.decoding import EXTENSIONS, DecodedFiles, find_images, fit
from ncsn.data.module import ImageDataModule, Split
from ncsn.errors import DataError
from ncsn.random import key_to_seed


@dataclass(kw_only=True, eq=False)
class ImageFolder(ImageDataModule):
    """The images in a folder and its subfolders: shorter side resized to `image_size`, centre crop.

    Which images are held out depends on the seed and on their names, not on the order in which they are found.

    Args:
        val_fraction: fraction of the images that is held out; at least one image is.
    """

    name: str = "image_folder"
    root: str = field()
    image_size: int = field()
    channels: int = 3
    val_fraction: float = 0.1

    cache_keys: ClassVar[tuple[str, ...]] = (*ImageDataModule.cache_keys, "seed", "val_fraction")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("val_fraction", 0 < self.val_fraction < 1, "must lie between 0 and 1")

    def files(self, split: Split) -> list[Path]:
        root = Path(self.root)
        if not root.is_dir():
            raise DataError(f"{root}: not a folder; set data.root to the folder that has the images")
        names = [path.relative_to(root).as_posix() for path in find_images(root)]
        if len(names) < 2:
            raise DataError(f"{root}: expected at least two images ({', '.join(EXTENSIONS)}), found {len(names)}")
        names.sort(key=lambda name: key_to_seed(self.seed, "held out", name))
        held_out = min(max(round(len(names) * self.val_fraction), 1), len(names) - 1)
        chosen = names[:held_out] if split == "val" else names[held_out:]
        return [root / name for name in sorted(chosen)]

    def read(self, split: Split, files: list[Path]) -> tuple[DecodedFiles, None]:
        return DecodedFiles(files, self.channels, partial(fit, size=self.image_size)), None
