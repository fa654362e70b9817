"""Images from damaged ones, by a network that was trained on both (Palette, Saharia et al. 2022)."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from PIL import Image
from torch import Tensor

from ncsn.conditions import Condition
from ncsn.config import as_config_error
from ncsn.damage import Colorize, Damage, Jpeg, Multitask, Pairs, SuperResolution, filled, name_of
from ncsn.data.decoding import fit
from ncsn.data.transforms import to_unit_interval
from ncsn.errors import ConfigError, DataError
from ncsn.files import is_there
from ncsn.random import Draws
from ncsn.restoration import Later, PutBack
from ncsn.samplers import Sampler
from ncsn.sampling.tasks.images import SPLITS, fingerprint, image_files, read_damaged, read_images
from ncsn.sampling.tasks.masks import by_name, mask_of, read_mask
from ncsn.sampling.tasks.restore import OfImages
from ncsn.score import Score, Tiled, score_given

Size = Literal["network", "original"]


@dataclass(kw_only=True, eq=False)
class Restore(OfImages):
    """Images that are damaged as they were in training, or already, and restored; what is known comes back exactly.

    Args:
        damage: one of those that the network was trained on; None for what it was trained on.
        damage_seed: of the damage; what an image gets depends on its number alone.
        damaged: the images are damaged already: grey, small, with JPEG's losses, or with a hole that `mask` says.
        mask: what is missing, as `Inpaint` has it, or a folder with a mask of the name of each image; None for holes
            as in training.
        fraction, mask_seed: see `Inpaint`.
        size: "network" resizes images to the network's size and crops them to the square in their middle; "original"
            leaves them as they are, and larger ones are restored by overlapping tiles.
    """

    damage: str | None = None
    damage_seed: int = 0
    damaged: bool = False
    mask: str | None = None
    fraction: float = 0.5
    mask_seed: int = 0
    size: Size = "network"

    takes_damaged: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.kind = chosen_damage(self.score.condition, self.damage)
        self.damaged |= isinstance(self.kind, Pairs) and self.images not in SPLITS  # who else could damage them?
        self._check()
        super().__post_init__()
        if isinstance(self.kind, Pairs) and not self.damaged:
            self.came = to_unit_interval(read_damaged(self.score, self.images, self.given))
        with as_config_error("task"):
            holes = None if self.mask is None else self.holes(self.mask)
            given = [self._given(number, image[None], holes) for number, image in enumerate(self.original)]
        self.condition = {name: torch.cat([one[name] for one in given]) for name in given[0]}

    def read(self) -> Tensor:
        size, factor = self.score.image_shape[-1], 1
        if self.damaged and isinstance(self.kind, SuperResolution):
            factor = self.kind.factor
        blocks = self.damaged and isinstance(self.kind, Jpeg)  # which resizing would blur
        resized = self.size == "network" and not blocks
        transform = partial(fit, size=size // factor) if resized else _as_it_is
        images = read_images(self.score, self.images, limit=self.num_images, transform=transform)
        height, width = images.shape[-2:]
        if min(height, width) < size // factor:
            raise DataError(
                f"task.images={self.images}: {width}×{height} pixels, and the network restores images of "
                f"{size // factor}×{size // factor} and more; enlarge them, or leave them out"
            )
        if self.size == "network" and (height, width) != (size // factor, size // factor):
            raise DataError(
                f"task.images={self.images}: {width}×{height} pixels, not the network's {size}×{size}, and resizing "
                "would blur what JPEG has left in them; task.size=original restores them as they are"
            )
        return images.repeat_interleave(factor, -1).repeat_interleave(factor, -2) if factor > 1 else images

    @property
    def image_shape(self) -> tuple[int, ...]:
        return tuple(self.given.shape[1:])

    @property
    def settings(self) -> dict[str, Any]:
        holes = {} if self.mask is None else {"missing_pixels": fingerprint(self.condition["hole"])}
        later = {"first_level": self.first_level} if self.first_level else {}
        return super().settings | holes | later

    @property
    def measured(self) -> Tensor:
        """The damaged images; where some pixels are known, those that are missing are grey."""
        damaged, hole = self.condition["damaged"], self.condition.get("hole")
        if hole is None:
            return damaged
        return damaged.masked_fill(hole & ~hole.all((-1, -2), keepdim=True), 0.5)

    @property
    def beside(self) -> dict[str, Tensor]:
        return {"measured": self.measured} if self.damaged else super().beside

    @property
    def num_steps(self) -> int:
        return self._sampler_given(self.condition).num_steps(len(self.score.sigmas))

    def sampler_of(self, chains: range, draws: Draws) -> Sampler:
        return self._sampler_given(self._of_chains(chains, draws))

    def start(self, chains: range, draws: Draws) -> Tensor:
        if not self.first_level:
            return super().start(chains, draws)
        damaged = self._of_chains(chains, draws)["damaged"]
        return damaged + float(self.score.sigmas[self.first_level]) * draws.normal(damaged)

    def _sampler_given(self, given: dict[str, Tensor]) -> Sampler:
        sampler = Later(self.sampler, self.first_level) if self.first_level else self.sampler
        known = self.kind.known(given)
        return sampler if known is None else PutBack(sampler, known, given["damaged"])

    @property
    def first_level(self) -> int:
        """The level that chains start at: one that hides what the damage took."""
        first = int((self.score.sigmas > self.kind.hidden_at).sum())
        return first if first < len(self.score.sigmas) - 1 else 0  # no ladder is of one level but that of regression

    def score_of(self, chains: range, draws: Draws) -> Score:
        size = self.score.image_shape[-1]
        network: Score = self.score.network
        if self.image_shape[1:] != (size, size):
            grid = min(_grid(self.kind, size), size)
            network = Tiled(network, size, overlap=min(size // 2, size - grid), grid=grid)
        given = self._of_chains(chains, draws)
        return score_given(network, given, self.kind.known(given))

    def _check(self) -> None:
        """Refuses what does not go together, before anything is read."""
        asked = ["task.damaged=true"] * self.damaged + ["task.size=original"] * (self.size == "original")
        asked += [] if self.mask is None else [f"task.mask={self.mask}"]
        if isinstance(self.kind, Multitask) and asked:
            raise ConfigError(
                f"{asked[0]}: the network was trained on several damages; say which one it is, "
                f"task.damage={'|'.join(self.kind.each)}"
            )
        if self.damaged and self.images in SPLITS:
            raise ConfigError(f"task.damaged=true: task.images={self.images} is not damaged; give images of your own")

    def _given(self, number: int, image: Tensor, holes: Tensor | None) -> dict[str, Tensor]:
        """What the network is given of an image (1, C, H, W), its hole in `holes` (N, 1, H, W) if that is known."""
        draws = Draws(self.damage_seed, "damage", number)
        if isinstance(self.kind, Pairs):
            given = self.kind(image, None, draws, damaged=image if self.damaged else self.came[number, None])
        else:
            given = self.kind(image, None, draws)
        if "hole" not in given:
            if holes is not None:
                raise ConfigError(f"task.mask={self.mask}: {name_of(self.kind)} misses no pixels; leave it out")
            return {"damaged": image} if self.damaged and not isinstance(self.kind, Colorize) else given
        if holes is not None:
            return filled(image, holes[number, None], draws)
        if self.damaged:
            raise ConfigError("task.damaged=true: give what is missing as task.mask, a picture that is white there")
        if self.size == "original" and self.image_shape != self.score.image_shape:
            raise ConfigError(
                f"task.size=original: {name_of(self.kind)} makes holes that are too large for tiles; give task.mask"
            )
        return given

    def holes(self, mask: str) -> Tensor:
        """What is missing of each image, bool (N, 1, H, W)."""
        count, _, height, width = self.given.shape
        missing = by_name(mask, self.fraction, self.mask_seed, height, width)
        if missing is not None:
            if missing.all():
                raise ConfigError(f"task.fraction={self.fraction}: nothing is left of {width}×{height} pixels")
            return missing.expand(count, 1, height, width)
        path, size = Path(mask).expanduser(), height if self.size == "network" else None
        if not is_there(path):
            raise ConfigError(
                f"task.mask={mask}: must be left, right, top, bottom, center or random; or a picture, or a folder "
                "of them, of which there is none by this name"
            )
        if self.images in SPLITS:
            if path.is_dir():
                raise ConfigError(f"task.mask={mask}: a folder of masks goes with a folder of images of your own")
            return read_mask(path, height).expand(count, 1, height, width)
        files = image_files(self.images)[:count]
        masks = [mask_of(file, path) if path.is_dir() else path for file in files]
        return torch.stack([read_mask(of, size, file) for of, file in zip(masks, files, strict=True)])[:, None]

    def _of_chains(self, chains: range, draws: Draws) -> dict[str, Tensor]:
        return {name: self.of_chains(rows, chains, draws) for name, rows in self.condition.items()}


def chosen_damage(condition: Condition | None, name: str | None) -> Damage:
    """What a network restores, or of several damages the one by this name.

    Raises:
        ConfigError: it was not trained on that.
    """
    if not isinstance(condition, Damage):
        raise ConfigError(
            "task=restore: the network was given no damaged images in training (condition=inpaint and others); "
            "task=inpaint, uncrop, colorize and super_resolution restore with any network"
        )
    each = condition.each if isinstance(condition, Multitask) else {name_of(condition): condition}
    if name is None:
        return condition
    if name not in each:
        raise ConfigError(f"task.damage={name}: the network was trained on {', '.join(each)}")
    return each[name]


def _as_it_is(image: Image.Image) -> Image.Image:
    return image


def _grid(damage: Damage, size: int) -> int:
    """Where tiles may begin, so that blocks lie in them as in training."""
    if isinstance(damage, SuperResolution):
        return damage.factor
    if isinstance(damage, Jpeg):
        return 16 if size >= 32 else 8  # colours have half the resolution
    return 1
