"""CIFAR-10, from its Python version: pickled batches, in the archive or unpacked."""

import pickle
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from ncsn.data.download import fetch
from ncsn.data.module import ImageDataModule, Split
from ncsn.errors import DataError

_FOLDER, _ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
_URL = f"https://www.cs.toronto.edu/~kriz/{_ARCHIVE}"
_MD5 = "c58f30108f718f92721af3b95e74349a"
_BATCHES: dict[Split, list[str]] = {
    "train": [f"data_batch_{number}" for number in range(1, 6)],
    "val": ["test_batch"],
}

_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(kw_only=True, eq=False)
class CIFAR10(ImageDataModule):
    """50,000 training images of 32×32×3; the 10,000 of the test set are held out.

    The files are `<root>/cifar-10-batches-py/data_batch_1` and so on, or, if one of them is not there, the
    archive `<root>/cifar-10-python.tar.gz`, which is read as it is.

    Args:
        download: get the archive if both are missing.
    """

    name: str = "cifar10"
    image_size: int = 32
    channels: int = 3
    flip: bool = True
    download: bool = True

    only_size: ClassVar[int | None] = 32
    only_channels: ClassVar[int | None] = 3

    def classes(self) -> tuple[str, ...]:
        return _CLASSES

    def files(self, split: Split) -> list[Path]:
        batches = [Path(self.root, _FOLDER, name) for name in _BATCHES[split]]
        missing = [batch for batch in batches if not batch.is_file()]
        if not missing:
            return batches
        archive = Path(self.root, _ARCHIVE)
        if not archive.is_file():
            way_out = (
                f"put {_URL} into {self.root}, unpacked or not, or set data.root to the folder that has {_FOLDER}"
            )
            if not self.download:
                raise DataError(f"{missing[0]}: missing; {way_out}, or set data.download=true")
            fetch([_URL], archive, f"md5:{_MD5}", way_out)
        return [archive]

    def read(self, split: Split, files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
        packed = files[0].name == _ARCHIVE
        batches = _read_archive(files[0], _BATCHES[split]) if packed else [_read_file(file) for file in files]
        images, labels = zip(*batches, strict=True)
        return np.concatenate(images), np.concatenate(labels)


def read_batch(file: IO[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """The images, uint8 (N, 3, 32, 32), and labels of a pickled batch. Nothing in the pickle is executed."""
    content = _ArraysOnly(file, encoding="latin1").load()
    images = np.asarray(content["data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
    labels = np.asarray(content["labels"], dtype=np.int64)
    if len(images) != len(labels):
        raise ValueError(f"{len(images)} images but {len(labels)} labels")
    return images, labels


class _ArraysOnly(pickle.Unpickler):
    """Loads plain containers and NumPy arrays, and refuses every other name a pickle may ask for."""

    _allowed: ClassVar[dict[str, Any]] = {
        "_reconstruct": np.empty(0).__reduce__()[0],
        "ndarray": np.ndarray,
        "dtype": np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in self._allowed:
            return self._allowed[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _read_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with path.open("rb") as file:
            return read_batch(file)
    except Exception as error:  # bytes that are no pickle can ask the unpickler for anything
        raise DataError(
            f"{path}: expected a pickled batch of CIFAR-10, but it cannot be read ({error!r}); replace it from {_URL}"
        ) from error


def _read_archive(path: Path, names: list[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    try:
        with tarfile.open(path) as archive:
            # In the archive's order: going back in it means unpacking it again from the start.
            batches = {
                name: read_batch(file)
                for member in archive
                if (name := Path(member.name).name) in names and (file := archive.extractfile(member))
            }
        return [batches[name] for name in names]
    except Exception as error:
        raise DataError(
            f"{path}: expected the archive of CIFAR-10, but it cannot be read ({error!r}); replace it with {_URL}"
        ) from error
