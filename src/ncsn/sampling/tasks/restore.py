"""Images of which a part is known: inpainting, uncropping, colours, details; and images with noise on them."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor

from ncsn.config import as_config_error
from ncsn.data.transforms import to_unit_interval
from ncsn.errors import ConfigError
from ncsn.random import Draws
from ncsn.restoration import Known, KnownBlocks, KnownGrey, KnownPixels, Restoration, Tweedie, check_can_be_held
from ncsn.samplers import Sampler
from ncsn.samplers.state import Holdable
from ncsn.sampling.tasks.images import fingerprint, read_images
from ncsn.sampling.tasks.masks import box, by_name, check_fraction, read_mask
from ncsn.sampling.tasks.task import Task

SHOWN = 16  # images with their samples, in a picture


@dataclass(kw_only=True, eq=False)
class OfImages(Task):
    """A task that is given images; `num_samples` are drawn for each, shown between what is known and the original.

    Args:
        images: "val" or "train" of the network's own data set, or a file or a folder.
        num_images: so many of them, from the first; None for all.
    """

    images: str = "val"
    num_images: int | None = 8

    default_num_samples: ClassVar[int] = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_images is not None and self.num_images < 1:
            raise ValueError(f"num_images={self.num_images}: must be at least 1, or null for all")
        self.given = self.read().clone()
        self.original = to_unit_interval(self.given)

    def read(self) -> Tensor:
        """The images, uint8 (N, C, H, W)."""
        return read_images(self.score, self.images, limit=self.num_images)

    @property
    def num_chains(self) -> int:
        return len(self.given) * self.count

    @property
    def settings(self) -> dict[str, Any]:
        return {"given_images": fingerprint(self.given)}

    @property
    @abstractmethod
    def measured(self) -> Tensor:
        """The images (N, C, H, W) as far as they are known, to be shown."""

    @property
    def beside(self) -> dict[str, Tensor]:
        return {"measured": self.measured, "original": self.original}

    def picture(self, samples: Tensor) -> tuple[Tensor, int]:
        count = min(self.count, len(samples))
        rows = samples[: min(len(samples) // count, SHOWN) * count].unflatten(0, (-1, count))
        measured, *original = (images[: len(rows), None] for images in self.beside.values())
        columns = [measured, rows, *original]
        return torch.cat(columns, dim=1).flatten(0, 1), count + len(self.beside)

    def of_chains(self, images: Tensor, chains: range, draws: Draws) -> Tensor:
        """The image that each chain belongs to, (B, C, H, W)."""
        return images[[chain // self.count for chain in chains]].to(draws.device)


@dataclass(kw_only=True, eq=False)
class Held(OfImages):
    """A task of any network: its chains are held to what is known of an image (Algorithm 2)."""

    def __post_init__(self) -> None:
        with as_config_error("sampler"):
            check_can_be_held(self.sampler)
        super().__post_init__()
        self.known = self.make_known(*self.score.image_shape)
        self.known(self.original[:1])  # is it the size that can be measured so?
        if isinstance(self.known, KnownPixels) and len(self.known.mask.unique()) == 1:
            raise ValueError("of the pixels of an image, some must be known and some missing; change fraction")

    @abstractmethod
    def make_known(self, channels: int, height: int, width: int) -> Known:
        """What is known of an image of this shape."""

    @property
    def measured(self) -> Tensor:
        """P(x); pixels that are missing are grey."""
        grey = (1 - self.known.mask) / 2 if isinstance(self.known, KnownPixels) else 0
        return self.known(self.original) + grey

    @property
    def num_steps(self) -> int:
        return self._held(self.original).num_steps(len(self.score.sigmas))

    def sampler_of(self, chains: range, draws: Draws) -> Sampler:
        return self._held(self.of_chains(self.original, chains, draws))

    def _held(self, images: Tensor) -> Restoration:
        return Restoration(cast(Holdable, self.sampler), self.known, images)


@dataclass(kw_only=True, eq=False)
class Inpaint(Held):
    """Pixels that are missing (Song & Ermon 2019, Fig. 6).

    Args:
        mask: what is missing: "left", "right", "top", "bottom", "center", "random"; or a picture that is white there.
        fraction: how much of it, of the width, of the height, of the side of the box, or of the pixels.
        mask_seed: of the random pixels, which are the same for all images.
    """

    mask: str = "left"
    fraction: float = 0.5
    mask_seed: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        assert isinstance(self.known, KnownPixels)
        return super().settings | {"missing_pixels": fingerprint(self.known.mask)}

    def make_known(self, channels: int, height: int, width: int) -> KnownPixels:
        missing = by_name(self.mask, self.fraction, self.mask_seed, height, width)
        if missing is None:
            path = Path(self.mask).expanduser()
            if not path.is_file():
                raise ValueError(
                    f"mask={self.mask}: must be left, right, top, bottom, center or random; or a picture, of which "
                    "there is none by this name"
                )
            missing = read_mask(path, height)
        return KnownPixels((~missing).float())


@dataclass(kw_only=True, eq=False)
class Uncrop(Held):
    """The surroundings of a box in the middle.

    Args:
        fraction: of the image's side, the box's.
    """

    fraction: float = 0.5

    def make_known(self, channels: int, height: int, width: int) -> KnownPixels:
        check_fraction(self.fraction)
        return KnownPixels(box(self.fraction, height, width).float())


@dataclass(kw_only=True, eq=False)
class Colorize(Held):
    """Colours for grey images, (R + G + B)/3."""

    def make_known(self, channels: int, height: int, width: int) -> KnownGrey:
        if channels == 1:
            raise ConfigError("task: the network's images have one channel: there are no colours to draw")
        return KnownGrey()


@dataclass(kw_only=True, eq=False)
class SuperResolution(Held):
    """Details for images of a lower resolution.

    Args:
        factor: side of the blocks of pixels whose mean is known; it divides the image's.
    """

    factor: int = 4

    def make_known(self, channels: int, height: int, width: int) -> KnownBlocks:
        return KnownBlocks(self.factor)


@dataclass(kw_only=True, eq=False)
class Denoise(OfImages):
    """Tweedie's estimate for images with noise on them, in one step; there is one for each image.

    Args:
        sigma: standard deviation of the noise, > 0, between or beyond the network's levels too.
        noisy: the images have that noise already; otherwise it is added.
        noise_seed: of the noise that is added.
    """

    sigma: float = 0.2
    noisy: bool = False
    noise_seed: int = 0

    default_num_samples: ClassVar[int] = 1
    driver: ClassVar[Literal["task"]] = "task"

    def __post_init__(self) -> None:
        self.sampler = Tweedie(self.sigma)
        super().__post_init__()
        if self.count != 1:
            raise ConfigError(f"num_samples={self.count}: Tweedie's estimate of an image is one; leave it out")
        noise = 0 if self.noisy else self.sigma * Draws(self.noise_seed, "noise").normal(self.original)
        self.start_images = self.original + noise

    @property
    def measured(self) -> Tensor:
        return self.start_images

    def start(self, chains: range, draws: Draws) -> Tensor:
        return self.of_chains(self.start_images, chains, draws)
