"""The images that a task is given: of the data set the network was trained on, or the user's own."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from ncsn.checkpoint import TrainedScore
from ncsn.config import build, check
from ncsn.data.decoding import EXTENSIONS, DecodedFiles, fit, open_image
from ncsn.data.module import ImageDataModule
from ncsn.errors import ConfigError, DataError
from ncsn.files import digest


def read_images(score: TrainedScore, images: str, key: str = "images", limit: int | None = None) -> Tensor:
    """Images as the network knows them, uint8 (N, C, H, W).

    Args:
        score: says which data set, and what size.
        images: "val" or "train", a split of that set; otherwise a file or a folder, whose images are taken in the
            order of their names, resized and cropped to the square in their middle.
        key: of the task's configuration, for errors.
        limit: so many of them, from the first; None for all.

    Raises:
        DataError: there are no such images.
    """
    if images in ("train", "val"):
        data = training_data(score)
        data.prepare_data()
        return data.images("train" if images == "train" else "val")[:limit]
    path = Path(images).expanduser()
    if not path.exists():
        raise DataError(f"task.{key}={images}: no such file or folder; val and train are the network's own data set")
    files = sorted(p for p in path.iterdir() if _is_image(p)) if path.is_dir() else [path]
    if not files:
        raise DataError(f"task.{key}={images}: no images in this folder ({', '.join(EXTENSIONS)})")
    channels, size, _ = score.image_shape
    decoded = DecodedFiles(files[:limit], channels, lambda image: fit(image, size))
    return torch.from_numpy(np.stack([decoded[i] for i in range(len(decoded))]))


def read_damaged(score: TrainedScore, images: str, given: Tensor) -> Tensor:
    """What images are damaged to, where the data set has them damaged (`data=pairs`), like `given`.

    Args:
        score, images: as `read_images` got them. Images of a file or a folder are damaged already.
        given: what it returned.
    """
    if images not in ("train", "val"):
        return given
    damaged = training_data(score).damaged("train" if images == "train" else "val")
    if damaged is None:
        raise DataError(f"task.images={images}: the network's own data set has no damaged images")
    return damaged[: len(given)]


def training_data(score: TrainedScore) -> ImageDataModule:
    """The data module of the run that a network comes from."""
    return build(check(OmegaConf.create({"data": score.config["data"]})).data, "data")


def read_mask(path: Path, size: int) -> Tensor:
    """A mask, (size, size): 1 where the picture is black, 0, missing, where it is white.

    Raises:
        ConfigError: all of it is black, or all of it white.
        DataError: it cannot be read.
    """
    try:
        picture: Image.Image = fit(open_image(path, 1), size, "nearest")
    except Exception as error:  # decoders fail in many ways on bytes that are not theirs
        raise DataError(f"task.mask={path}: not an image that can be used ({error})") from error
    missing = torch.from_numpy(np.asarray(picture) >= 128)
    if missing.all() or not missing.any():
        raise ConfigError(f"task.mask={path}: must be white where pixels are missing, black elsewhere; it is all one")
    return (~missing).float()


def identity(score: TrainedScore, images: str, given: Tensor) -> str:
    """A digest of what the images are: for a split, of its data set and files; otherwise, of the images themselves.

    Args:
        score, images: as `read_images` got them.
        given: what it returned.
    """
    if images in ("train", "val"):
        return digest(training_data(score).identity("train" if images == "train" else "val"))
    return fingerprint(given)


def fingerprint(images: Tensor) -> str:
    """A digest of the images themselves."""
    return hashlib.sha256(images.numpy().tobytes()).hexdigest()[:16]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
