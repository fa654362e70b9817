"""What every task has to say."""

from abc import ABC
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ncsn.checkpoint import TrainedScore
from ncsn.conditions import Label
from ncsn.damage import Damage, name_of
from ncsn.errors import ConfigError
from ncsn.flow import Solver
from ncsn.random import Draws
from ncsn.samplers import Sampler, start
from ncsn.sampling.tasks.labels import chosen_labels
from ncsn.score import Guided, Score


@dataclass(kw_only=True, eq=False)
class Task(ABC):
    """What a call draws, chain by chain; batches of it are shared out over devices.

    Args:
        score: the trained network.
        sampler: drives the chains.
        solver: of the probability flow, where chains follow it; None for `DormandPrince`.
        num_samples: as the task counts them; None for its own default.
        label: the class that images are drawn for, by number or name; "all" for all of them in turn; None for none.
        guidance: g of `Guided`; 1 for the plain score given the label.

    Raises:
        ConfigError: the network has no such label, or the task has no use for all of them; or it restores damaged
            images, and the task has none.
    """

    score: TrainedScore
    sampler: Sampler
    num_samples: int | None = None
    label: int | str | None = None
    guidance: float = 1.0
    solver: Solver | None = None

    default_num_samples: ClassVar[int]
    driver: ClassVar[Literal["sampler", "solver", "task"]] = "sampler"  # the key that says what drives the chains
    takes_all_labels: ClassVar[bool] = False
    takes_damaged: ClassVar[bool] = False

    def __post_init__(self) -> None:
        condition = self.score.condition
        if isinstance(condition, Damage) and not self.takes_damaged:
            raise ConfigError(
                f"task: the network restores images (condition={name_of(condition)}) and draws none without a "
                "damaged one; ncsn sample task=restore draws what it was trained for"
            )
        self.labels = chosen_labels(self.score.condition, self.label, self.guidance, many=self.takes_all_labels)
        rows = max(len(self.labels), 1)  # by default of one length
        default = -(-self.default_num_samples // rows) * rows
        self.count: int = default if self.num_samples is None else self.num_samples
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

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W) of what is drawn."""
        return self.score.image_shape

    def start(self, chains: range, draws: Draws) -> Tensor:
        """Where the chains of these numbers start, (B, C, H, W), on the device of `draws`."""
        return start(self.sampler, (len(chains), *self.image_shape), self.score.sigmas, draws)

    def sampler_of(self, chains: range, draws: Draws) -> Sampler:
        """What drives the chains of these numbers."""
        return self.sampler

    def score_of(self, chains: range, draws: Draws) -> Score:
        """What drives the chains of these numbers is given: the score of the network, for what they are drawn for."""
        if not self.labels:
            return self.score.network
        numbers = [self.labels[chain // self.together % len(self.labels)] for chain in chains]
        labels, label = torch.tensor(numbers, device=draws.device), self.score.condition
        assert isinstance(label, Label)
        return Guided(self.score.network, label.of(labels), label.nothing(labels), self.guidance)

    @property
    def settings(self) -> dict[str, Any]:
        """What the samples depend on beside the arguments of the task, plain values."""
        return {}

    @property
    def identity(self) -> dict[str, Any]:
        """All that the samples depend on beside the network and the sampler, plain values."""
        others = ("score", "sampler", "solver", "label", "guidance")
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in others}
        target = f"ncsn.sampling.tasks.{type(self).__name__}"
        labels: dict[str, Any] = {}
        if self.labels:
            labels = {"labels": self.labels, "guidance": float(self.guidance)}
            names = self.score.condition.names if isinstance(self.score.condition, Label) else ()
            labels |= {"classes": [names[label] for label in self.labels]} if names else {}
        return {"_target_": target} | given | {"num_samples": self.count} | labels | self.settings

    @property
    def beside(self) -> dict[str, Tensor]:
        """Images that are kept beside the samples, by their names: (N, C, H, W) around [0, 1]."""
        return {}

    def picture(self, samples: Tensor) -> tuple[Tensor, int | None]:
        """Images that show the samples (…, C, H, W), and the columns to lay them out in; None for a square."""
        return samples, None
