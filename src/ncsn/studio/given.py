"""The tasks of `ncsn.sampling.tasks` on an image in memory, which a visitor has given or painted on."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from ncsn.config import as_config_error
from ncsn.damage import Damage, Multitask, Pairs, name_of
from ncsn.damage import Inpaint as InpaintDamage
from ncsn.damage import Uncrop as UncropDamage
from ncsn.errors import ConfigError
from ncsn.restoration import KnownPixels
from ncsn.sampling.tasks import Colorize, Denoise, Inpaint, Restore, SuperResolution
from ncsn.sampling.tasks.restore import OfImages
from ncsn.studio.networks import Network
from ncsn.studio.settings import Settings

HOLES = (InpaintDamage, UncropDamage)
FACTORS = (2, 4, 8)
NOISES = (0.1, 0.3, 0.6)
PAINT = "Draw the painted part anew"
DAMAGES = {
    "colorize": "Find colours for the grey image",
    "jpeg": "Mend what JPEG has spoilt",
    "super_resolution": "Find details for a coarse image",
}
"""In words, of those that need no hole."""


@dataclass(kw_only=True, eq=False)
class Given(OfImages):
    """Of the images `pixels`, uint8 (N, C, H, W), in place of those that a path names."""

    pixels: Tensor

    def read(self) -> Tensor:
        return self.pixels


@dataclass(kw_only=True, eq=False)
class PaintedHole(Given, Inpaint):
    """Inpainting where `hole`, bool (H, W), is true."""

    hole: Tensor

    def make_known(self, channels: int, height: int, width: int) -> KnownPixels:
        return KnownPixels((~self.hole).float())


@dataclass(kw_only=True, eq=False)
class Colours(Given, Colorize):
    pass


@dataclass(kw_only=True, eq=False)
class Details(Given, SuperResolution):
    pass


@dataclass(kw_only=True, eq=False)
class Noisy(Given, Denoise):
    pass


@dataclass(kw_only=True, eq=False)
class AsTrained(Given, Restore):
    """What the network was trained for; the hole, bool (H, W), where there is one."""

    hole: Tensor | None = None

    def __post_init__(self) -> None:
        self.mask = None if self.hole is None else "painted"
        super().__post_init__()

    def holes(self, mask: str) -> Tensor:
        assert self.hole is not None
        return self.hole.expand(len(self.given), 1, *self.hole.shape)


class Choice(NamedTuple):
    """Something that can be done to an image.

    Attributes:
        task: what does it.
        settings: of that task.
        paints: whether a hole is painted for it.
        samples: whether several completions can be drawn.
    """

    task: type[Given]
    settings: dict[str, Any]
    paints: bool = False
    samples: bool = True


def choices(network: Network) -> dict[str, Choice]:
    """What can be done to an image with this network, by the words for it."""
    condition, samples = network.score.condition, not network.estimates
    if isinstance(condition, Pairs):
        as_given = {"images": "given", "damaged": True}
        return {"Restore it as in training": Choice(AsTrained, as_given, samples=samples)}
    if isinstance(condition, Damage):
        several = isinstance(condition, Multitask)
        each = condition.each if isinstance(condition, Multitask) else {name_of(condition): condition}
        found: dict[str, Choice] = {}
        for name, damage in each.items():
            with_hole = isinstance(damage, HOLES)
            words = PAINT if with_hole else DAMAGES.get(name, name)
            settings = {"damage": name} if several else {}
            found.setdefault(words, Choice(AsTrained, settings, paints=with_hole, samples=samples))
        return found
    channels, size, _ = network.score.image_shape
    found = {PAINT: Choice(PaintedHole, {}, paints=True)}
    if channels == 3:
        found[DAMAGES["colorize"]] = Choice(Colours, {})
    for factor in FACTORS:
        if size % factor == 0:
            found[f"{DAMAGES['super_resolution']}, {factor} times as fine"] = Choice(Details, {"factor": factor})
    for sigma in NOISES:
        found[f"Take away noise of σ = {sigma}, in one step"] = Choice(Noisy, {"sigma": sigma}, samples=False)
    return found


def task_of(network: Network, choice: Choice, pixels: Tensor, hole: Tensor, settings: Settings) -> Given:
    """The task that a choice means.

    Args:
        choice: one of `choices`.
        pixels: the image, uint8 (1, C, H, W).
        hole: bool (H, W); it counts if one is to be painted.
        settings: of the completions.

    Raises:
        ConfigError: nothing is painted, or all of it; or the sampler cannot do it.
    """
    given = {**settings.of_task(network), **choice.settings, "score": network.score, "pixels": pixels}
    if not choice.samples:
        given["num_samples"] = 1
    if choice.paints:
        if hole.all() or not hole.any():
            what = "All of the image is painted; nothing is left to go by." if hole.any() else "Nothing is painted."
            raise ConfigError(f"{what} Paint over the part of the image that is to be drawn anew.")
        given["hole"] = hole
    with as_config_error("task"):
        return choice.task(**given)
