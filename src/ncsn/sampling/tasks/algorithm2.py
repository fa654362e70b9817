"""Damaged images, restored by a network that was trained on no damage (Song & Ermon 2019, Algorithm 2)."""

from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from typing import Any, cast

from torch import Tensor

from ncsn.config import as_config_error
from ncsn.damage import Damage, name_of
from ncsn.random import Draws
from ncsn.restoration import Known, Restoration, check_can_be_held
from ncsn.samplers import Sampler
from ncsn.samplers.state import Holdable
from ncsn.sampling.tasks.damaged import Restore, chosen_damage
from ncsn.sampling.tasks.images import fingerprint
from ncsn.sampling.tasks.restore import OfImages


@dataclass(kw_only=True, eq=False)
class Algorithm2(OfImages):
    """The very damaged images of another task, each with its own hole; chains are held to what is known of them.

    Args:
        restored: that task, of the same images.
    """

    restored: InitVar[Restore]

    def __post_init__(self, restored: Restore) -> None:
        with as_config_error("sampler"):
            check_can_be_held(self.sampler)
        super().__post_init__()
        self.condition, self.measured_images = restored.condition, restored.measured
        self.damage = chosen_damage(restored.score.condition, restored.damage)
        known_of(self.damage, self.condition)

    @property
    def measured(self) -> Tensor:
        return self.measured_images

    @property
    def settings(self) -> dict[str, Any]:
        return super().settings | {name: fingerprint(given) for name, given in self.condition.items()}

    @property
    def num_steps(self) -> int:
        return self._held(self.condition).num_steps(len(self.score.sigmas))

    def sampler_of(self, chains: range, draws: Draws) -> Sampler:
        return self._held({name: self.of_chains(rows, chains, draws) for name, rows in self.condition.items()})

    def _held(self, condition: Mapping[str, Tensor]) -> Restoration:
        known = known_of(self.damage, condition)
        return Restoration(cast(Holdable, self.sampler), known, condition["damaged"])


def known_of(damage: Damage, given: Mapping[str, Tensor]) -> Known:
    """What is known of images that were damaged, each with its own hole.

    Args:
        damage: what was done to them.
        given: what it returned.

    Raises:
        ValueError: nothing is, at least of one of them.
    """
    known, hole = damage.known(given), given.get("hole")
    if known is None or (hole is not None and hole.flatten(1).all(1).any()):
        raise ValueError(
            f"Algorithm 2 restores holes, colours and details (inpaint, uncrop, colorize, super_resolution), not "
            f"{name_of(damage)}"
        )
    return known
