"""Images to be scored, from anywhere: a folder of PNG or JPEG files, or an npz."""

import math
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ncsn.data.cache import fingerprint
from ncsn.data.decoding import DecodedFiles
from ncsn.errors import DataError, shown
from ncsn.files import is_there
from ncsn.images import MOST_PIXELS, opened

EXTENSIONS = (".png", ".jpg", ".jpeg")


class ImageSet(ABC):
    """N images of one size on disk, read on demand; `len` is N.

    Attributes:
        path: the folder or file.
        files: what they are read from.
        shape: (C, H, W) of every image.
    """

    path: Path
    files: list[Path]
    shape: tuple[int, int, int]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batches(self, size: int) -> Iterator[Tensor]:
        """All images in order, uint8 (B, C, H, W), B = `size` or, at the end, less.

        Raises:
            DataError: a file is damaged, or an image is not like the first one.
        """

    def identity(self) -> dict[str, Any]:
        """What identifies the images: path, shape, and their files' names, sizes and modification times."""
        return {
            "path": str(self.path.resolve()),
            "files": fingerprint(self.files, self.path.parent),
            "shape": list(self.shape),
        }


def images_of(path: Path, channels: int | None = None) -> ImageSet:
    """The images in a folder (its PNG and JPEG files, by name) or in an npz (uint8 (N, H, W, C) or (N, H, W)).

    An npz has its images under the key `arr_0`, as ours do, or is of a single array. In a folder of samples that we
    drew (with `samples.npz` or `images/`), these are read, not the pictures beside them.

    Args:
        channels: 1 or 3: images of the other kind are converted. None: as they are.

    Raises:
        DataError: there are no images, or the file is something else.
    """
    path = path.expanduser()
    if not is_there(path):
        raise DataError(f"{path}: not there; give a folder of PNG or JPEG files, or an npz")
    for inside in ("samples.npz", "images"):
        if path.is_dir() and (path / inside).exists():
            path = path / inside
    return FolderOfImages(path, channels) if path.is_dir() else NpzOfImages(path, channels)


class FolderOfImages(ImageSet):
    """The PNG and JPEG files in a folder, not in its subfolders; see `images_of`."""

    def __init__(self, path: Path, channels: int | None) -> None:
        self.path, self.channels = path, channels
        self.files = sorted(f for f in path.iterdir() if f.suffix.lower() in EXTENSIONS and f.name[0] != ".")
        if not self.files:
            raise DataError(f"{path}: no images here; expected {', '.join(EXTENSIONS)} files, or give an npz")
        first = DecodedFiles(self.files[:1], channels or _channels(self.files[0]), lambda image: image)[0]
        self.shape = first.shape
        self.images = DecodedFiles(self.files, self.shape[0], self._checked)

    def __len__(self) -> int:
        return len(self.files)

    def batches(self, size: int) -> Iterator[Tensor]:
        for start in range(0, len(self), size):
            rows = range(start, min(start + size, len(self)))
            if self.channels is None:
                for row in rows:
                    self._check_channels(self.files[row])
            yield torch.from_numpy(np.stack([self.images[row] for row in rows]))

    def _checked(self, image: Image.Image) -> Image.Image:
        _, height, width = self.shape
        if image.size != (width, height):
            raise ValueError(f"{image.width}×{image.height} pixels, but {self.files[0].name} has {width}×{height}")
        return image

    def _check_channels(self, file: Path) -> None:
        if _channels(file) != self.shape[0]:
            kinds = ("grey", "RGB") if self.shape[0] == 3 else ("RGB", "grey")
            raise DataError(
                f"{file}: {kinds[0]}, but {self.files[0].name} is {kinds[1]}; convert one kind to the other"
            )


class NpzOfImages(ImageSet):
    """One array of an npz, read in pieces, so that memory does not grow with N; see `images_of`."""

    def __init__(self, path: Path, channels: int | None) -> None:
        self.path, self.files = path, [path]
        with self._opened() as (_, shape):
            self.count, height, width, own = shape
        self.shape = (channels or own, height, width)

    def __len__(self) -> int:
        return self.count

    def batches(self, size: int) -> Iterator[Tensor]:
        with self._opened() as (file, (count, height, width, channels)):
            for start in range(0, count, size):
                shape = (min(size, count - start), height, width, channels)
                try:
                    content = file.read(math.prod(shape))
                    images = np.frombuffer(content, np.uint8).reshape(shape)
                except Exception as error:  # archives that are damaged fail in many ways
                    raise self._damaged(error) from error
                yield torch.from_numpy(_converted(images, self.shape[0]).transpose(0, 3, 1, 2).copy())

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], tuple[int, int, int, int]]]:
        """The array's values, and its shape (N, H, W, C)."""
        with ExitStack() as stack:
            try:
                is_there(self.path)
                archive = stack.enter_context(zipfile.ZipFile(self.path))
                arrays = [name.removesuffix(".npy") for name in archive.namelist()]
                name = "arr_0" if "arr_0" in arrays or len(arrays) != 1 else arrays[0]
                if name not in arrays:
                    raise DataError(
                        f"{self.path}: expected an array named arr_0 in it, found {shown(', '.join(arrays))}"
                    )
                file = stack.enter_context(archive.open(f"{name}.npy"))
                shape, fortran, dtype = _header(file)
            except DataError:
                raise
            except Exception as error:
                raise self._damaged(error) from error
            self._check(shape, fortran, dtype)
            yield file, (shape[0], shape[1], shape[2], 1 if len(shape) == 3 else shape[3])

    def _check(self, shape: tuple[int, ...], fortran: bool, dtype: np.dtype) -> None:
        expected = "expected uint8 (N, height, width, 1 or 3) or (N, height, width)"
        if dtype != np.uint8:
            raise DataError(f"{self.path}: {expected}, found {dtype}; save round(255·x) of x in [0, 1] as uint8")
        if len(shape) not in (3, 4) or not all(n > 0 for n in shape) or shape[3:] not in ((), (1,), (3,)):
            raise DataError(f"{self.path}: {expected}, found an array of shape {shown(shape)}")
        if math.prod(shape[1:3]) > MOST_PIXELS // 8:
            raise DataError(f"{self.path}: images of {shape[2]}×{shape[1]} pixels, of at most {MOST_PIXELS // 8:,}")
        if fortran:
            raise DataError(f"{self.path}: its array is in Fortran order; save np.ascontiguousarray of it")

    def _damaged(self, error: Exception) -> DataError:
        return DataError(f"{self.path}: expected an npz, but it cannot be read ({shown(error)}); replace it")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of a .npy file; leaves the file at the first value."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _channels(file: Path) -> int:
    """1 if an image file is grey, 3 if it has colours."""
    is_there(file)
    try:
        with opened(file) as image:
            return 1 if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I") else 3
    except Exception as error:  # decoders fail in many ways on bytes that are not theirs
        raise DataError(f"{file}: not an image that can be used ({shown(error)}); replace or remove it") from error


def _converted(images: np.ndarray, channels: int) -> np.ndarray:
    """(N, H, W, C) with C = `channels`; RGB to grey as Pillow does it."""
    count, height, width, own = images.shape
    if own == channels:
        return images
    if own == 1:
        return images.repeat(3, axis=3)
    column = Image.fromarray(images.reshape(count * height, width, 3))
    return np.asarray(column.convert("L")).reshape(count, height, width, 1)
