"""Which pixels of an image are missing, as a user says it: by a word, by a picture, or by a folder of pictures."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ncsn.data.decoding import EXTENSIONS, fit, open_image
from ncsn.errors import ConfigError, DataError
from ncsn.files import is_there
from ncsn.random import Draws


def by_name(mask: str, fraction: float, seed: int, height: int, width: int) -> Tensor | None:
    """What a word says is missing, bool (H, W); None for a word that says nothing of the kind.

    Args:
        mask: "left", "right", "top", "bottom", "center" or "random".
        fraction: how much of it, of the width, of the height, of the side of the box, or of the pixels.
        seed: of the random pixels.

    Raises:
        ValueError: `fraction` is out of range.
    """
    check_fraction(fraction)
    missing = torch.zeros(height, width, dtype=torch.bool)
    rows, columns = max(1, round(fraction * height)), max(1, round(fraction * width))
    match mask:
        case "left":
            missing[:, :columns] = True
        case "right":
            missing[:, width - columns :] = True
        case "top":
            missing[:rows] = True
        case "bottom":
            missing[height - rows :] = True
        case "center":
            missing = box(fraction, height, width)
        case "random":
            order = Draws(seed, "mask").uniform(height * width).argsort()
            missing.view(-1)[order[: max(1, round(fraction * height * width))]] = True
        case _:
            return None
    return missing


def box(fraction: float, height: int, width: int) -> Tensor:
    """True in a box in the middle, bool (H, W)."""
    rows, columns = max(1, round(fraction * height)), max(1, round(fraction * width))
    top, left = (height - rows) // 2, (width - columns) // 2
    inside = torch.zeros(height, width, dtype=torch.bool)
    inside[top : top + rows, left : left + columns] = True
    return inside


def check_fraction(fraction: float) -> None:
    """Raises ValueError if there is nothing, or nothing else, of such a share."""
    if not 0 < fraction < 1:
        raise ValueError(f"fraction={fraction}: must lie between 0 and 1")


def read_mask(path: Path, size: int | None, image: Path | None = None) -> Tensor:
    """A mask, bool (H, W): missing where the picture is white, known where it is black.

    Args:
        path: the picture.
        size: height and width that it is resized and cropped to, as images are; None leaves it as it is.
        image: a file whose mask it is, and whose height and width it must have; None for any.

    Raises:
        ConfigError: all of it is black, or all of it white.
        DataError: it cannot be read, or it is not of the size of its image.
    """
    is_there(path)
    try:
        picture = open_image(path, 1)
        fitted: Image.Image = picture if size is None else fit(picture, size, "nearest")
    except Exception as error:  # decoders fail in many ways on bytes that are not theirs
        raise DataError(f"task.mask={path}: not an image that can be used ({error})") from error
    width, height = picture.size if image is None else open_image(image, 1).size
    if picture.size != (width, height):
        raise DataError(
            f"task.mask={path}: {picture.width}×{picture.height} pixels, and {image} has {width}×{height}; "
            "a mask must be of the size of its image"
        )
    missing = torch.from_numpy(np.asarray(fitted) >= 128)
    if missing.all() or not missing.any():
        raise ConfigError(f"task.mask={path}: must be white where pixels are missing, black elsewhere; it is all one")
    return missing


def mask_of(image: Path, masks: Path) -> Path:
    """The picture in a folder that has the name of an image, whatever its extension.

    Raises:
        DataError: there is none, or more than one.
    """
    found = sorted(p for p in masks.iterdir() if p.stem == image.stem and p.suffix.lower() in EXTENSIONS)
    if len(found) != 1:
        wrong = f"has {', '.join(p.name for p in found)}" if found else "has no mask"
        raise DataError(f"task.mask={masks}: {wrong} for {image}; masks are matched by name, one for each image")
    return found[0]
