"""Images that go on to the right, by a network that was trained on uncropping."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from ncsn.conditions import Condition
from ncsn.damage import Multitask, Uncrop
from ncsn.errors import ConfigError
from ncsn.random import Draws
from ncsn.restoration import Panorama as Panoramas
from ncsn.samplers import Sampler
from ncsn.sampling.tasks.restore import OfImages


@dataclass(kw_only=True, eq=False)
class Panorama(OfImages):
    """Panoramas by repeated uncropping; each is shown below the image that it goes on from.

    Args:
        times: halves of an image that are drawn to its right.
    """

    times: int = 4

    default_num_samples: ClassVar[int] = 1
    takes_damaged: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_uncrops(self.score.condition)
        super().__post_init__()
        self.whole = self._panoramas(self.original)

    @property
    def image_shape(self) -> tuple[int, ...]:
        return (*self.score.image_shape[:2], self.whole.width)

    @property
    def measured(self) -> Tensor:
        """The images, and grey where they are to go on."""
        return F.pad(self.original, (0, self.whole.width - self.original.shape[-1]), value=0.5)

    @property
    def beside(self) -> dict[str, Tensor]:
        return {"measured": self.measured}

    @property
    def num_steps(self) -> int:
        return self.whole.num_steps(len(self.score.sigmas))

    def sampler_of(self, chains: range, draws: Draws) -> Sampler:
        return self._panoramas(self.of_chains(self.original, chains, draws))

    def picture(self, samples: Tensor) -> tuple[Tensor, int]:
        return super().picture(samples)[0], 1

    def _panoramas(self, images: Tensor) -> Panoramas:
        return Panoramas(self.sampler, images, self.times)


def _check_uncrops(condition: Condition | None) -> None:
    """Raises ConfigError if a network was not trained on uncropping."""
    if not isinstance(condition, Uncrop) and not (isinstance(condition, Multitask) and "uncrop" in condition.each):
        raise ConfigError("task=panorama: the network was not trained on uncropping (condition=uncrop, or multitask)")
