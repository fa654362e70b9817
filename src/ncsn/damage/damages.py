"""What can be done to an image, in the words of Palette (Saharia et al. 2022, Sec. 4 and App. C).

damage              what the network is given
inpaint             a hole filled with noise: 60 % brush strokes, 40 % one to five rectangles
uncrop              half of the image missing, at one side or all around, filled with noise
colorize            the grey image, in each of three channels
jpeg                JPEG of quality 5 to 30, p(Q) ∝ e^{−Q/10}
super_resolution    the means of blocks of pixels (Saharia et al. 2021, SR3)
multitask           one of several, with equal chance
pairs               images that were damaged elsewhere, each with its original

The noise in a hole is N(0, 1) in pixels u = 2x − 1, as the network takes them; there is no channel for the mask.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from ncsn.damage import holes
from ncsn.damage.jpeg import jpeg
from ncsn.known import Known, KnownBlocks, KnownGrey, KnownPixels
from ncsn.random import Draws


class Damage(ABC):
    """A condition (`ncsn.conditions.Condition`) that gives a network its images damaged.

    Attributes:
        hidden_at: σ of the noise that hides what the damage takes from images, pixels in [0, 1]: the standard
            deviation of the largest principal component of the loss. Infinite where the whole image may change.
    """

    hidden_at: ClassVar[float] = math.inf

    @abstractmethod
    def __call__(self, images: Tensor, labels: Tensor | None, draws: Draws) -> dict[str, Tensor]:
        """What a network is given of images (B, C, H, W).

        Returns:
            `damaged` (B, C, H, W), pixels around [0, 1]; where pixels are missing, and all others are known, `hole`
            as well, bool (B, 1, H, W), true where they are missing.

        Raises:
            ValueError: these images cannot be damaged so.
        """

    def known(self, given: Mapping[str, Tensor]) -> Known | None:
        """What the damage has left of images as it was, of which `__call__` returned `given`; None if nothing.

        By default it is what lies outside of a hole.
        """
        return KnownPixels(~given["hole"]) if "hole" in given else None


@dataclass(frozen=True)
class Inpaint(Damage):
    """A hole: brush strokes or rectangles.

    Attributes:
        strokes: probability of strokes.

    Raises:
        ValueError: it is out of range.
    """

    strokes: float = 0.6

    def __post_init__(self) -> None:
        if not 0 <= self.strokes <= 1:
            raise ValueError(f"strokes={self.strokes}: must be from 0 to 1")

    def __call__(self, images: Tensor, labels: Tensor | None, draws: Draws) -> dict[str, Tensor]:
        batch, _, height, width = images.shape
        free = draws.uniform(batch, 1, 1, 1) < self.strokes
        strokes, rectangles = (draw(batch, height, width, draws) for draw in (holes.strokes, holes.rectangles))
        return filled(images, torch.where(free, strokes, rectangles), draws)


@dataclass(frozen=True)
class Uncrop(Damage):
    """Half of the image missing, at one of its sides or all around, with equal chance."""

    def __call__(self, images: Tensor, labels: Tensor | None, draws: Draws) -> dict[str, Tensor]:
        batch, _, height, width = images.shape
        return filled(images, holes.half(batch, height, width, draws), draws)


@dataclass(frozen=True)
class Colorize(Damage):
    """Grey, the mean of the channels."""

    def __call__(self, images: Tensor, labels: Tensor | None, draws: Draws) -> dict[str, Tensor]:
        if images.shape[1] == 1:
            raise ValueError("the images have one channel: there are no colours to draw")
        return {"damaged": KnownGrey()(images).contiguous()}

    def known(self, given: Mapping[str, Tensor]) -> Known:
        """The grey."""
        return KnownGrey()


@dataclass(frozen=True)
class Jpeg(Damage):
    """JPEG with its losses; see `ncsn.damage.jpeg`.

    Attributes:
        lowest, highest: quality Q, from 1 to 100; p(Q) ∝ e^{−Q/10}.

    Raises:
        ValueError: they are out of range.
    """

    lowest: int = 5
    highest: int = 30

    hidden_at: ClassVar[float] = 0.6  # of qualities 5 to 30: 0.51 on CIFAR-10, 0.59 on CelebA, 0.23 on MNIST

    def __post_init__(self) -> None:
        if not 1 <= self.lowest <= self.highest <= 100:
            raise ValueError(
                f"lowest={self.lowest}, highest={self.highest}: must be from 1 to 100, lowest not above highest"
            )

    def __call__(self, images: Tensor, labels: Tensor | None, draws: Draws) -> dict[str, Tensor]:
        return {"damaged": jpeg(images, self.qualities(len(images), draws))}

    def qualities(self, count: int, draws: Draws) -> Tensor:
        """Q of so many images, int64 (B,): what `__call__` draws, and all that it draws."""
        shares = (-torch.arange(self.lowest, self.highest + 1, device=draws.device) / 10).exp()
        upper = shares.cumsum(0)[:-1] / shares.sum()
        return self.lowest + (draws.uniform(count, 1) >= upper).sum(1)


@dataclass(frozen=True)
class SuperResolution(Damage):
    """A lower resolution: the mean of each block of pixels, in all of them.

    Attributes:
        factor: side of a block; it divides that of the image.

    Raises:
        ValueError: it is out of range.
    """

    factor: int = 4

    def __post_init__(self) -> None:
        KnownBlocks(self.factor)

    def __call__(self, images: Tensor, labels: Tensor | None, draws: Draws) -> dict[str, Tensor]:
        return {"damaged": KnownBlocks(self.factor)(images)}

    def known(self, given: Mapping[str, Tensor]) -> Known:
        """The means."""
        return KnownBlocks(self.factor)


DAMAGES: dict[str, type[Damage]] = {
    "colorize": Colorize,
    "inpaint": Inpaint,
    "uncrop": Uncrop,
    "jpeg": Jpeg,
    "super_resolution": SuperResolution,
}
"""By their names; `Multitask` draws among them."""


@dataclass(frozen=True)
class Multitask(Damage):
    """One damage among several for each image, with equal chance.

    Attributes:
        damages: two or more names in `DAMAGES`; by default the paper's four.

    Raises:
        ValueError: there is no such damage, or one only.
    """

    damages: Sequence[str] = ("colorize", "inpaint", "uncrop", "jpeg")
    each: dict[str, Damage] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in self.damages:
            if name not in DAMAGES:
                raise ValueError(f"damages={list(self.damages)}: {name} is none of {', '.join(DAMAGES)}")
        if len(set(self.damages)) != len(self.damages) or len(self.damages) < 2:
            raise ValueError(f"damages={list(self.damages)}: must be two or more different ones")
        object.__setattr__(self, "each", {name: DAMAGES[name]() for name in self.damages})

    def __call__(self, images: Tensor, labels: Tensor | None, draws: Draws) -> dict[str, Tensor]:
        chosen = draws.integers(len(self.each), len(images)).view(-1, 1, 1, 1)
        damaged, hole = images, torch.ones_like(images[:, :1], dtype=torch.bool)
        for number, (name, damage) in enumerate(self.each.items()):
            try:
                given = damage(images, labels, draws)
            except ValueError as error:
                raise ValueError(f"damages={list(self.damages)}: {name}: {error}") from error
            damaged = torch.where(chosen == number, given["damaged"], damaged)
            hole = torch.where(chosen == number, given["hole"], hole) if "hole" in given else hole
        return {"damaged": damaged, "hole": hole}


@dataclass(frozen=True)
class Pairs(Damage):
    """Whatever was done to images that come damaged (`data=pairs`)."""

    def __call__(
        self, images: Tensor, labels: Tensor | None, draws: Draws, damaged: Tensor | None = None
    ) -> dict[str, Tensor]:
        if damaged is None:
            raise ValueError("the images come without damaged ones, which data=pairs has")
        return {"damaged": damaged}


def name_of(damage: Damage) -> str:
    """As `condition=` has it: "inpaint"; of a class of a user's own, the name of the class."""
    names = {kind: name for name, kind in [*DAMAGES.items(), ("multitask", Multitask), ("pairs", Pairs)]}
    return names.get(type(damage), type(damage).__name__)


def filled(images: Tensor, hole: Tensor, draws: Draws) -> dict[str, Tensor]:
    """Images whose hole holds noise: N(0, 1) in 2x − 1."""
    return {"damaged": torch.where(hole, 0.5 + draws.normal(images) / 2, images), "hole": hole}
