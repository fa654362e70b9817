"""Images whose likelihoods are asked for: held out, somebody's, or controls, of which a network should think less."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ncsn.data import ImageDataModule
from ncsn.data.decoding import fit
from ncsn.errors import DataError
from ncsn.evaluation.image_sets import FolderOfImages, images_of
from ncsn.evaluation.per_image import Images, Loaded
from ncsn.random import Draws

Control = Literal["shuffled", "noise", "samples"]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class NamedImages:
    """Images, and what is known of them.

    Attributes:
        images: uint8.
        name: what the record calls them.
        identity: of their files, plain values.
        labels, classes: int64 (N,), and the names of the classes; None for images of no class.
        files: their names, if each has a file of its own.
    """

    images: Images
    name: str
    identity: dict[str, Any]
    labels: Tensor | None = None
    classes: tuple[str, ...] | None = None
    files: list[str] | None = None


class Changed:
    """Images of another set, changed.

    Args:
        images: the other set.
        change: change(images, first) for uint8 (B, C, H, W), the first of which has the number `first`.
    """

    def __init__(self, images: Images, change: Callable[[Tensor, int], Tensor]) -> None:
        self.images, self.change = images, change

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, size: int) -> Iterator[Tensor]:
        first = 0
        for batch in self.images.batches(size):
            yield self.change(batch, first)
            first += len(batch)


def held_out_images(data: ImageDataModule, shape: Shape, limit: int | None) -> NamedImages:
    """The held-out images of a data set, brought to a network's size and channels.

    Args:
        data: prepared.
        shape: (C, H, W) of the network's images.
        limit: so many of them, from the first; None for all.
    """
    images: Images = Loaded(data.images("val")[:limit])
    identity, own = data.identity("val"), (data.channels, data.image_size, data.image_size)
    name = "{name} {split}".format(**identity)
    if own != shape:
        images = Changed(images, lambda batch, first: converted(batch, shape))
        identity |= {"converted": list(shape)}
        name += f", as {'×'.join(map(str, (*shape[1:], shape[0])))}"
    labels = data.labels("val")
    return NamedImages(images, name, identity, None if labels is None else labels[: len(images)], data.classes())


def given_images(path: Path, shape: Shape) -> NamedImages:
    """Somebody's images, a folder or an npz, of a network's size; grey ones and those in colour are converted.

    Raises:
        DataError: there are none, or they are of another size.
    """
    images = images_of(path, channels=shape[0])
    if images.shape != shape:
        height, width = images.shape[1:]
        raise DataError(
            f"samples={path}: {width}×{height} pixels, and the network has {shape[2]}×{shape[1]}; resize them, as "
            f"data=image_folder data.root={path} data.image_size={shape[1]} data.channels={shape[0]} does with a "
            "part of them that it holds out"
        )
    files = [file.name for file in images.files] if isinstance(images, FolderOfImages) else None
    return NamedImages(images, path.name, images.identity(), files=files)


def control_of(main: NamedImages, control: Literal["shuffled", "noise"], seed: int) -> NamedImages:
    """As many images that look like nothing: pixels of `main` in another order, or uniform noise."""
    identity = {"control": control, "control_seed": seed}
    if control == "noise":
        return NamedImages(Changed(main.images, lambda x, first: noise(x, first, seed)), "uniform noise", identity)
    images = Changed(main.images, lambda x, first: shuffled(x, first, seed))
    return NamedImages(images, f"{main.name}, shuffled", main.identity | identity)


def shuffled(images: Tensor, first: int, seed: int) -> Tensor:
    """The pixels of each image in an order of its own, a function of the seed and its number."""
    places = images[0, 0].numel()
    order = torch.cat([Draws(seed, "shuffled", first + row).uniform(1, places) for row in range(len(images))])
    flat = images.flatten(2)
    return flat.gather(2, order.argsort(1)[:, None].expand_as(flat)).view_as(images)


def noise(images: Tensor, first: int, seed: int) -> Tensor:
    """Every value uniform in {0, …, 255}, a function of the seed and the image's number."""
    draws = [Draws(seed, "noise", first + row).integers(256, images[0].numel()) for row in range(len(images))]
    return torch.stack(draws).to(torch.uint8).view_as(images)


def converted(images: Tensor, shape: Shape) -> Tensor:
    """Images of another size and kind as data sets make them: the shorter side resized, the middle, grey or RGB."""
    mode, found = "L" if shape[0] == 1 else "RGB", []
    for image in images.permute(0, 2, 3, 1).numpy():
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert(mode)
        found.append(np.asarray(fit(picture, shape[1])).reshape(*shape[1:], shape[0]))
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)
