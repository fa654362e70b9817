"""Images from noise, and the way from one of them to another."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ncsn.data.transforms import to_unit_interval
from ncsn.random import Draws
from ncsn.samplers import Interpolation, Sampler
from ncsn.sampling.tasks.images import identity, read_images
from ncsn.sampling.tasks.labels import rows_by_class
from ncsn.sampling.tasks.task import Task


@dataclass(kw_only=True, eq=False)
class Generate(Task):
    """New images, `num_samples` in all; with label="all" their classes take turns.

    Args:
        init: start of the chains; None is what the sampler asks for. "uniform" in [0, 1], Algorithm 1's; "gaussian",
            N(0, σ₁² I); or images, "train", "val", a file or a folder, to which N(0, σ₁² I) is added, as in the
            released code of Song & Ermon 2020.
    """

    init: str | None = None

    default_num_samples: ClassVar[int] = 64
    takes_all_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        noise_alone = self.init in (None, "uniform", "gaussian")
        self.given = None if noise_alone else read_images(self.score, str(self.init), key="init")

    @property
    def settings(self) -> dict[str, Any]:
        return {} if self.given is None else {"init_images": identity(self.score, str(self.init), self.given)}

    def start(self, chains: range, draws: Draws) -> Tensor:
        if self.init is None:
            return super().start(chains, draws)
        x = draws.uniform(len(chains), *self.score.image_shape)
        if self.init == "uniform":
            return x
        noise = self.score.sigmas[0].to(x.device) * draws.normal(x)
        if self.given is None:
            return noise
        return to_unit_interval(self.given[[chain % len(self.given) for chain in chains]]).to(x.device) + noise

    def picture(self, samples: Tensor) -> tuple[Tensor, int | None]:
        return rows_by_class(samples, len(self.labels)) if len(self.labels) > 1 else super().picture(samples)


@dataclass(kw_only=True, eq=False)
class Interpolate(Task):
    """Rows of images that go from one sample to another; `num_samples` is the number of rows, each of one class.

    Args:
        num_angles: images per row, at least 2.
    """

    num_angles: int = 8

    default_num_samples: ClassVar[int] = 8
    takes_all_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.interpolation = Interpolation(self.sampler, self.num_angles)

    @property
    def num_chains(self) -> int:
        return self.count * self.num_angles

    @property
    def together(self) -> int:
        return self.num_angles

    def start(self, chains: range, draws: Draws) -> Tensor:
        rows = chains[:: self.num_angles]
        p = super().start(rows, draws)
        if self.sampler.starts_from == "uniform":
            return p.repeat_interleave(self.num_angles, dim=0)
        # A sampler that starts from noise may draw none afterwards: the starts turn as well, around the grey image.
        q = super().start(rows, draws)
        phi = torch.linspace(0, math.pi / 2, self.num_angles, device=p.device).view(-1, 1, 1, 1)
        return (0.5 + (p[:, None] - 0.5) * phi.cos() + (q[:, None] - 0.5) * phi.sin()).flatten(0, 1)

    def sampler_of(self, chains: range, draws: Draws) -> Sampler:
        return self.interpolation

    def picture(self, samples: Tensor) -> tuple[Tensor, int]:
        return samples, self.num_angles
