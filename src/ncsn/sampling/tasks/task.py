"""What every task has to say."""

from abc import ABC
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import Tensor

from ncsn.checkpoint import TrainedScore
from ncsn.random import Draws
from ncsn.samplers import Sampler, start


@dataclass(kw_only=True, eq=False)
class Task(ABC):
    """What a call draws, chain by chain; batches of it are shared out over devices.

    Args:
        score: the trained network.
        sampler: drives the chains.
        num_samples: as the task counts them; None for its own default.
    """

    score: TrainedScore
    sampler: Sampler
    num_samples: int | None = None

    default_num_samples: ClassVar[int]
    uses_sampler: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.count: int = self.default_num_samples if self.num_samples is None else self.num_samples
        if self.count < 1:
            raise ValueError(f"num_samples={self.count}: must be at least 1")

    @property
    def num_chains(self) -> int:
        """Chains in all."""
        return self.count

    @property
    def together(self) -> int:
        """Chains that must be in one batch; it divides the number of chains."""
        return 1

    @property
    def num_steps(self) -> int:
        """Steps of every chain."""
        return self.sampler.num_steps(len(self.score.sigmas))

    def start(self, chains: range, draws: Draws) -> Tensor:
        """Where the chains of these numbers start, (B, C, H, W), on the device of `draws`."""
        return start(self.sampler, (len(chains), *self.score.image_shape), self.score.sigmas, draws)

    def sampler_of(self, chains: range, draws: Draws) -> Sampler:
        """What drives the chains of these numbers."""
        return self.sampler

    @property
    def settings(self) -> dict[str, Any]:
        """What the samples depend on beside the arguments of the task, plain values."""
        return {}

    @property
    def identity(self) -> dict[str, Any]:
        """All that the samples depend on beside the network and the sampler, plain values."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("score", "sampler")}
        target = f"ncsn.sampling.tasks.{type(self).__name__}"
        return {"_target_": target} | given | {"num_samples": self.count} | self.settings

    @property
    def beside(self) -> dict[str, Tensor]:
        """Images that are kept beside the samples, by their names: (N, C, H, W) around [0, 1]."""
        return {}

    def picture(self, samples: Tensor) -> tuple[Tensor, int | None]:
        """Images that show the samples (…, C, H, W), and the columns to lay them out in; None for a square."""
        return samples, None
