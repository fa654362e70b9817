"""Images from damaged ones, by a network that was trained on both (Palette, Saharia et al. 2022)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ncsn.conditions import Condition
from ncsn.config import as_config_error
from ncsn.damage import Damage, Multitask, Pairs, name_of
from ncsn.data.transforms import to_unit_interval
from ncsn.errors import ConfigError
from ncsn.random import Draws
from ncsn.restoration import PutBack
from ncsn.samplers import Sampler
from ncsn.sampling.tasks.images import read_damaged
from ncsn.sampling.tasks.restore import OfImages
from ncsn.score import Score, score_given


@dataclass(kw_only=True, eq=False)
class Restore(OfImages):
    """Images that are damaged as they were in training, and restored; known pixels come back exactly.

    Args:
        damage: one of those that the network was trained on; None for what it was trained on.
        damage_seed: of the damage; what an image gets depends on its number alone.
    """

    damage: str | None = None
    damage_seed: int = 0

    takes_damaged: ClassVar[bool] = True

    def __post_init__(self) -> None:
        damage = chosen_damage(self.score.condition, self.damage)
        super().__post_init__()
        with as_config_error("task"):
            if isinstance(damage, Pairs):
                came = to_unit_interval(read_damaged(self.score, self.images, self.given))
                given = [damage(self.original, None, Draws(self.damage_seed, "damage"), damaged=came)]
            else:
                given = [
                    damage(image[None], None, Draws(self.damage_seed, "damage", number))
                    for number, image in enumerate(self.original)
                ]
        self.condition = {name: torch.cat([one[name] for one in given]) for name in given[0]}

    @property
    def measured(self) -> Tensor:
        """The damaged images; where some pixels are known, those that are missing are grey."""
        damaged, hole = self.condition["damaged"], self.condition.get("hole")
        if hole is None:
            return damaged
        return damaged.masked_fill(hole & ~hole.all((-1, -2), keepdim=True), 0.5)

    @property
    def num_steps(self) -> int:
        return super().num_steps + ("hole" in self.condition)

    def sampler_of(self, chains: range, draws: Draws) -> Sampler:
        given = self._given(chains, draws)
        return PutBack(self.sampler, given["damaged"], given["hole"]) if "hole" in given else self.sampler

    def score_of(self, chains: range, draws: Draws) -> Score:
        return score_given(self.score.network, self._given(chains, draws))

    def _given(self, chains: range, draws: Draws) -> dict[str, Tensor]:
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
