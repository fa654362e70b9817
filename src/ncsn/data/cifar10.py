"""CIFAR-10, from its Python version: pickled batches, in the archive or unpacked."""

import gzip
import math
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from ncsn.data.download import fetch
from ncsn.data.module import ImageDataModule, Split
from ncsn.errors import DataError, shown
from ncsn.pickles import PickleError, read_pickle

_FOLDER, _ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
_URL = f"https://www.cs.toronto.edu/~kriz/{_ARCHIVE}"
_MD5 = "c58f30108f718f92721af3b95e74349a"
_MOST_FILES = 100
_LARGEST = 2**28  # bytes of the archive once it is decompressed; the published one has 186 million
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
    """The images, uint8 (N, 3, 32, 32), and labels of a pickled batch. Nothing that it names is called or imported.

    Raises:
        ValueError: it is something else.
    """
    content = read_pickle(file, _NAMES, _call, _build)
    data, labels = (content.get(key) for key in ("data", "labels")) if isinstance(content, dict) else (None, None)
    if not isinstance(data, _Array) or data.values is None or data.values.shape[1:] != (3072,):
        raise ValueError("it has no images of 3072 bytes")
    if not isinstance(labels, list) or len(labels) != len(data.values):
        raise ValueError(f"it has no list of {len(data.values)} labels")
    if not all(type(label) is int and 0 <= label < len(_CLASSES) for label in labels):
        raise ValueError(f"its labels are not from 0 to {len(_CLASSES) - 1}")
    return data.values.reshape(-1, 3, 32, 32), np.array(labels)


class _Array:
    """Stands for an array of bytes, uint8, which has its values from the state that follows."""

    values: np.ndarray | None = None


class _Bytes:
    """Stands for the type of its values."""


_ARRAYS = {f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")}
_NAMES = {*_ARRAYS, "numpy.ndarray", "numpy.dtype"}


def _call(name: str, arguments: tuple[Any, ...]) -> _Array | _Bytes:
    if name in _ARRAYS:
        return _Array()
    if name == "numpy.dtype" and arguments[:1] == ("u1",):
        return _Bytes()
    raise PickleError(f"it asks {name} for something else than an array of bytes")


def _build(value: Any, state: Any) -> None:
    if isinstance(value, _Bytes):
        return
    if not isinstance(value, _Array) or not isinstance(state, tuple) or len(state) != 5:
        raise PickleError("it gives a state to what has none")
    _, shape, kind, fortran, content = state
    content = content.encode("latin1") if isinstance(content, str) else content  # as Python 2 wrote it
    if not (isinstance(kind, _Bytes) and isinstance(content, bytes) and fortran is False):
        raise PickleError("it has an array of something else than bytes")
    if not (isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)):
        raise PickleError("it has an array of no shape")
    if math.prod(shape) != len(content):
        raise ValueError("it has an array of another size than it says")
    value.values = np.frombuffer(content, np.uint8).reshape(shape)


def _read_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with path.open("rb") as file:
            return read_batch(file)
    except Exception as error:  # bytes that are no pickle fail in many ways
        raise DataError(
            f"{path}: expected a pickled batch of CIFAR-10, but it cannot be read ({_reason(error)}); replace it "
            f"from {_URL}"
        ) from error


def _read_archive(path: Path, names: list[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The batches of an archive, of which nothing is unpacked to the disk."""
    batches: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    try:
        with gzip.open(path) as content, tarfile.open(fileobj=_Bounded(content), mode="r|") as archive:  # type: ignore[call-overload]
            # In the archive's order: going back in it means unpacking it again from the start.
            for number, member in enumerate(archive):
                if number > _MOST_FILES:
                    raise ValueError(f"it holds over {_MOST_FILES} files")
                name = Path(member.name).name
                if name in names and member.isreg() and (file := archive.extractfile(member)):
                    batches[name] = read_batch(file)
        return [batches[name] for name in names]
    except Exception as error:
        raise DataError(
            f"{path}: expected the archive of CIFAR-10, but it cannot be read ({_reason(error)}); replace it with "
            f"{_URL}"
        ) from error


class _Bounded:
    """A file of which no more is read than the archive of CIFAR-10 is long."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self.file, self.left = file, _LARGEST

    def read(self, size: int) -> bytes:
        content = self.file.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise ValueError(f"it holds more than {_LARGEST:,} bytes")
        return content


def _reason(error: Exception) -> str:
    return shown(error) or type(error).__name__
