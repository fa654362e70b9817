"""The images that a task is given: of the data set the network was trained on, or the user's own."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from ncsn.checkpoint import TrainedScore
from ncsn.config import build, check
from ncsn.data.decoding import EXTENSIONS, DecodedFiles, fit
from ncsn.data.module import ImageDataModule
from ncsn.errors import DataError
from ncsn.files import digest, is_there

SPLITS = ("train", "val")


def read_images(
    score: TrainedScore,
    images: str,
    key: str = "images",
    limit: int | None = None,
    transform: Callable[[Image.Image], Image.Image] | None = None,
) -> Tensor:
    """Images as the network knows them, uint8 (N, C, H, W).

    Args:
        score: says which data set, and what size.
        images: "val" or "train", a split of that set; otherwise a file or a folder, see `image_files`.
        key: of the task's configuration, for errors.
        limit: so many of them, from the first; None for all.
        transform: of files; None resizes them, and crops them to the square in their middle.

    Raises:
        DataError: there are no such images, or they are not of one size.
    """
    if images in SPLITS:
        data = training_data(score)
        data.prepare_data()
        return data.images("train" if images == "train" else "val")[:limit]
    files = image_files(images, key)[:limit]
    channels, size, _ = score.image_shape
    decoded = DecodedFiles(files, channels, transform or (lambda image: fit(image, size)))
    arrays = [decoded[i] for i in range(len(decoded))]
    for file, array in zip(files, arrays, strict=True):
        if array.shape != arrays[0].shape:
            (_, height, width), (_, first_height, first_width) = array.shape, arrays[0].shape
            raise DataError(
                f"{file}: {width}×{height} pixels, and {files[0]} has {first_width}×{first_height}; images that are "
                "not resized must be of one size, so give those of each size on their own"
            )
    return torch.from_numpy(np.stack(arrays))


def image_files(images: str, key: str = "images") -> list[Path]:
    """A file, or the images in a folder in the order of their names.

    Raises:
        DataError: there are none.
    """
    path = Path(images).expanduser()
    if not is_there(path):
        raise DataError(f"task.{key}={images}: no such file or folder; val and train are the network's own data set")
    files = sorted(p for p in path.iterdir() if _is_image(p)) if path.is_dir() else [path]
    if not files:
        raise DataError(f"task.{key}={images}: no images in this folder ({', '.join(EXTENSIONS)})")
    return files


def read_damaged(score: TrainedScore, images: str, given: Tensor) -> Tensor:
    """What images of a split are damaged to, where the data set has them damaged (`data=pairs`), like `given`.

    Args:
        score, images: as `read_images` got them.
        given: what it returned.
    """
    damaged = training_data(score).damaged("train" if images == "train" else "val")
    if damaged is None:
        raise DataError(f"task.images={images}: the network's own data set has no damaged images")
    return damaged[: len(given)]


def training_data(score: TrainedScore) -> ImageDataModule:
    """The data module of the run that a network comes from."""
    return build(check(OmegaConf.create({"data": score.config["data"]})).data, "data")


def identity(score: TrainedScore, images: str, given: Tensor) -> str:
    """A digest of what the images are: for a split, of its data set and files; otherwise, of the images themselves.

    Args:
        score, images: as `read_images` got them.
        given: what it returned.
    """
    if images in SPLITS:
        return digest(training_data(score).identity("train" if images == "train" else "val"))
    return fingerprint(given)


def fingerprint(images: Tensor) -> str:
    """A digest of the images themselves."""
    return hashlib.sha256(images.numpy().tobytes()).hexdigest()[:16]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
