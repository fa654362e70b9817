"""MNIST, from its four published files in IDX format."""

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ncsn.data.download import fetch
from ncsn.data.module import ImageDataModule, Split
from ncsn.errors import DataError

_PREFIX: dict[Split, str] = {"train": "train", "val": "t10k"}
_MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")
_MD5 = {  # as torchvision publishes them
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
_LARGEST = 2**26  # bytes of a file once it is decompressed; MNIST's are of 47 million


@dataclass(kw_only=True, eq=False)
class MNIST(ImageDataModule):
    """60,000 training images of 28×28×1; the 10,000 of the test set are held out.

    The files are `<root>/MNIST/raw/train-images-idx3-ubyte.gz` and its three siblings, compressed or not, as
    torchvision leaves them.

    Args:
        download: get the files that are missing.
    """

    name: str = "mnist"
    image_size: int = 28
    channels: int = 1
    download: bool = True

    only_size: ClassVar[int | None] = 28
    only_channels: ClassVar[int | None] = 1

    def classes(self) -> tuple[str, ...]:
        return tuple("0123456789")

    def files(self, split: Split) -> list[Path]:
        prefix = _PREFIX[split]
        return [self._file(f"{prefix}-images-idx3-ubyte"), self._file(f"{prefix}-labels-idx1-ubyte")]

    def read(self, split: Split, files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
        images, labels = read_idx(files[0], 3), read_idx(files[1], 1)
        if images.shape[1:] != (28, 28) or not len(images):
            raise DataError(f"{files[0]}: expected images of 28×28, found an array of shape {images.shape}")
        if len(images) != len(labels):
            raise DataError(f"{files[1]}: expected {len(images)} labels, one per image, found {len(labels)}")
        return images[:, None], labels

    def _file(self, name: str) -> Path:
        folder = Path(self.root, "MNIST", "raw")
        compressed, plain = folder / f"{name}.gz", folder / name
        if not compressed.is_file() and plain.is_file():
            return plain
        if not compressed.is_file():
            urls = [mirror + compressed.name for mirror in _MIRRORS]
            way_out = f"put {urls[0]} there, or set data.root to the folder that has MNIST/raw"
            if not self.download:
                raise DataError(f"{compressed}: missing; {way_out}, or set data.download=true")
            fetch(urls, compressed, f"md5:{_MD5[compressed.name]}", way_out)
        return compressed


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The uint8 array in an IDX file, compressed or not.

    The format: two zero bytes, 8 for "unsigned byte", the number of dimensions, each dimension as a
    big-endian 32-bit number, the values (http://yann.lecun.com/exdb/mnist).

    Raises:
        DataError: the file is not in this format, has other dimensions, or is truncated.
    """
    expected = f"an IDX file of bytes in {dimensions} dimension{'s' * (dimensions > 1)}"
    way_out = f"replace it with {_MIRRORS[0]}{path.name.removesuffix('.gz')}.gz"
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: expected {expected}, but it cannot be read ({error}); {way_out}") from error
    if len(content) > _LARGEST:
        raise DataError(f"{path}: expected {expected}, found one of over {_LARGEST:,} bytes; {way_out}")
    if len(content) < 4 + 4 * dimensions or content[:4] != bytes([0, 0, 8, dimensions]):
        raise DataError(f"{path}: expected {expected}, found something else; {way_out}")
    shape = tuple(np.frombuffer(content, ">u4", dimensions, offset=4).tolist())
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    if len(values) != math.prod(shape):
        raise DataError(f"{path}: expected {math.prod(shape)} values, found {len(values)}; {way_out}")
    return values.reshape(shape)
