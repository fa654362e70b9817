"""LSUN scenes, from their published LMDB folders or from folders of image files."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, overload

import numpy as np

from ncsn.data.decoding import DecodedFiles, Source, find_images, fit
from ncsn.data.lmdb import entries
from ncsn.data.module import ImageDataModule, Split
from ncsn.errors import DataError

_SITE = "http://dl.yf.io/lsun/scenes"


@dataclass(kw_only=True, eq=False)
class LSUN(ImageDataModule):
    """Scenes of one category, of which 300 are held out: shorter side resized to `image_size`, centre crop.

    The images are in `<category>_train_lmdb` and `<category>_val_lmdb`, as published (folders with
    `data.mdb`), or else in `<category>_train` and `<category>_val`, folders of image files, nested
    or not, as LSUN's own script exports them; all in `<root>/lsun` or in `<root>`.

    The cache holds all images decoded: the 3,033,042 of LSUN bedroom take 149 GB at 128 pixels.

    Args:
        category: `church_outdoor`, `bedroom`, `tower` or any other of LSUN's.
    """

    name: str = "lsun"
    image_size: int = 128
    channels: int = 3
    flip: bool = True
    category: str = "bedroom"

    only_channels: ClassVar[int | None] = 3
    cache_keys: ClassVar[tuple[str, ...]] = (*ImageDataModule.cache_keys, "category")

    def files(self, split: Split) -> list[Path]:
        name = f"{self.category}_{split}"
        places = [Path(self.root, "lsun"), Path(self.root)]
        for place in places:
            database = place / f"{name}_lmdb" / "data.mdb"
            if database.is_file():
                return [database]
        for place in places:
            images = sorted(find_images(place / name))
            if images:
                return images
        raise DataError(
            f"{places[0] / name}_lmdb: missing; unpack {_SITE}/{name}_lmdb.zip there, put image files into "
            f"{places[0] / name}, or set data.root to the folder that has one of them"
        )

    def read(self, split: Split, files: list[Path]) -> tuple[DecodedFiles, None]:
        sources: Sequence[Source] = Database(files[0].parent) if files[0].name == "data.mdb" else files
        if not len(sources):
            raise DataError(f"{files[0]}: holds no image; unpack {_SITE}/{self.category}_{split}_lmdb.zip again")
        return DecodedFiles(sources, self.channels, partial(fit, size=self.image_size)), None


class Database(Sequence["Value"]):
    """The values of an LMDB folder in the order of their keys; each is read when it is opened, from any thread.

    Args:
        folder: has `data.mdb`. It need not be writable.

    Raises:
        DataError: the database cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "data.mdb"
        keys, places = [], array("q")  # of three million images
        try:
            for key, offset, length in entries(self.path):
                keys.append(key)
                places.extend((offset, length))
        except (OSError, ValueError) as error:
            raise DataError(f"{folder}: not an LMDB that can be read ({error}); unpack it again") from error
        self.keys = np.array(keys, dtype=np.bytes_)
        self.places = np.frombuffer(places, np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, i: int) -> "Value": ...
    @overload
    def __getitem__(self, i: slice) -> Sequence["Value"]: ...
    def __getitem__(self, i: int | slice) -> Any:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        offset, length = self.places[i].tolist()
        return Value(self.path, bytes(self.keys[i]), offset, length)


@dataclass(frozen=True)
class Value:
    """One value of a database, which opens like a file."""

    path: Path
    key: bytes
    offset: int
    length: int

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        with self.path.open(mode) as file:
            file.seek(self.offset)
            return BytesIO(file.read(self.length))

    def __str__(self) -> str:
        return f"{self.path.parent}[{self.key.decode(errors='replace')}]"
