"""Images to latents by the probability flow and back, from one image to another, and cooler (Song et al. 2021)."""

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ncsn.checkpoint import TrainedScore
from ncsn.data.transforms import to_unit_interval
from ncsn.errors import ConfigError
from ncsn.flow import DormandPrince, ProbabilityFlow, Solver, encode
from ncsn.random import Draws
from ncsn.samplers import Sampler, spherical
from ncsn.sampling.tasks.generate import Interpolate
from ncsn.sampling.tasks.images import fingerprint, identity, training_data
from ncsn.sampling.tasks.latents import read_latents
from ncsn.sampling.tasks.restore import OfImages
from ncsn.sampling.tasks.task import Task

MEAN_IMAGES = 16_384  # of the training images at most, of which the mean is taken


@dataclass(kw_only=True, eq=False)
class FollowsFlow(Task):
    """A task whose chains start at latents and follow the flow to their images; nothing is drawn."""

    default_num_samples: ClassVar[int] = 1
    driver: ClassVar[Literal["solver"]] = "solver"

    def __post_init__(self) -> None:
        self.flow = self.sampler = ProbabilityFlow(self.solver or DormandPrince())
        super().__post_init__()
        if self.count != 1:
            raise ConfigError(
                f"num_samples={self.count}: the flow draws nothing, and to a latent belongs one image; leave it out"
            )

    @property
    def settings(self) -> dict[str, Any]:
        solver, kind = self.flow.solver, type(self.flow.solver)
        node = {"_target_": f"{kind.__module__}.{kind.__name__}"} | asdict(solver)  # type: ignore[call-overload]
        return super().settings | {"solver": node}


@dataclass(kw_only=True, eq=False)
class OfLatents(FollowsFlow, OfImages):
    """Such a task of images, which are encoded first; nothing is hidden of them."""

    @property
    def measured(self) -> Tensor:
        return self.original

    @property
    def beside(self) -> dict[str, Tensor]:
        return {"original": self.original}

    def encoded(self, images: Tensor, draws: Draws) -> Tensor:
        """The latents of images (B, C, H, W)."""
        score = self.score_of(range(len(images)), draws)
        sigmas = self.score.sigmas.to(draws.device)
        return encode(score, images.to(draws.device), sigmas, solver=self.flow.solver)


@dataclass(kw_only=True, eq=False)
class Encode(OfLatents):
    """Images to their latents at σ₁ and back; both are kept as they are, in float32."""

    def start(self, chains: range, draws: Draws) -> Tensor:
        return self.encoded(self.of_chains(self.original, chains, draws), draws)

    def shown(self, latents: Tensor) -> Tensor:
        """Latents as pictures: grey, and 3σ₁ on both sides of it."""
        return 0.5 + (latents - 0.5) / (6 * float(self.score.sigmas[0]))

    def rows(self, latents: Tensor, samples: Tensor) -> tuple[Tensor, int]:
        """What `picture` is, of latents that are shown beside: original, latent, what comes back."""
        columns = [self.original[: len(samples)], latents, samples]
        return torch.stack(columns, dim=1).flatten(0, 1), len(columns)


@dataclass(kw_only=True, eq=False)
class Decode(FollowsFlow):
    """Latents to their images.

    Args:
        latents: a file that `Encode` has left.
        temperature: T, that multiplies the standard deviation of the latents: mean + T (latent − mean), the mean that
            of the training images. 1 leaves them as they are and asks for no data.
    """

    latents: str
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature={self.temperature}: must be positive and finite")
        super().__post_init__()
        self.given = read_latents(self.latents, self.score)
        self.cooled = self.given
        if self.temperature != 1:
            mean = mean_image(self.score)
            self.cooled = mean + self.temperature * (self.given - mean)

    @property
    def num_chains(self) -> int:
        return len(self.given)

    @property
    def settings(self) -> dict[str, Any]:
        mean = {} if self.temperature == 1 else {"mean": identity(self.score, "train", self.given)}
        return super().settings | {"given_latents": fingerprint(self.given)} | mean

    def start(self, chains: range, draws: Draws) -> Tensor:
        return self.cooled[chains.start : chains.stop].to(draws.device)


@dataclass(kw_only=True, eq=False)
class InterpolateImages(OfLatents):
    """Rows that go from each image given to the next; their ends are the images up to the error of the solver.

    Args:
        num_angles: images per row, at least 2.
    """

    num_angles: int = 8

    def __post_init__(self) -> None:
        if self.num_angles < 2:
            raise ValueError(f"num_angles={self.num_angles}: must be at least 2")
        super().__post_init__()
        if len(self.given) < 2:
            raise ConfigError(f"task.images={self.images}: one image; from one to another takes two")

    @property
    def num_chains(self) -> int:
        return (len(self.given) - 1) * self.num_angles

    @property
    def together(self) -> int:
        return self.num_angles

    def start(self, chains: range, draws: Draws) -> Tensor:
        first, last = chains.start // self.num_angles, chains.stop // self.num_angles
        latents = self.encoded(self.original[first : last + 1], draws) - 0.5  # turned around grey, as noise is
        return 0.5 + spherical(latents[:-1], latents[1:], self.num_angles).flatten(0, 1)

    def picture(self, samples: Tensor) -> tuple[Tensor, int]:
        rows = samples[: len(samples) // self.num_angles * self.num_angles].unflatten(0, (-1, self.num_angles))
        ends = self.original[: len(rows) + 1, None]
        return torch.cat([ends[:-1], rows, ends[1:]], dim=1).flatten(0, 1), self.num_angles + 2


def interpolate(
    *,
    score: TrainedScore,
    sampler: Sampler,
    num_samples: int | None = None,
    label: int | str | None = None,
    guidance: float = 1.0,
    solver: Solver | None = None,
    images: str | None = None,
    num_images: int | None = 8,
    num_angles: int = 8,
) -> Task:
    """`task=interpolate`: between samples, or between the images that are given."""
    given: dict[str, Any] = {"score": score, "sampler": sampler, "solver": solver, "num_samples": num_samples}
    given |= {"label": label, "guidance": guidance, "num_angles": num_angles}
    if images is None:
        return Interpolate(**given)
    return InterpolateImages(**given, images=images, num_images=num_images)


def mean_image(score: TrainedScore) -> Tensor:
    """The mean of the training images of a network, (C, H, W) in [0, 1]."""
    data = training_data(score)
    data.prepare_data()
    images = data.images("train")
    some = images[:: -(-len(images) // MEAN_IMAGES)]
    total = torch.stack([to_unit_interval(batch).double().sum(0) for batch in some.split(256)]).sum(0)
    return (total / len(some)).float()
