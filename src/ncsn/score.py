"""What a score is to those who train it and to those who sample from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ncsn.known import Known, KnownPixels

Score = Callable[[Tensor, Tensor], Tensor]
"""score(x, sigma): (B, …), (B,) -> (B, …), the gradient of log q_σ at x."""

Normal = Callable[[Tensor], Tensor]
"""normal(x): standard normal values of the shape of x, as `torch.randn_like` gives them."""


Network = Callable[..., Tensor]
"""network(x, sigma, **condition): what `Score` is, for images that are drawn for something."""


def expand(rows: Tensor, x: Tensor) -> Tensor:
    """`rows` (B,), say σ, with as many trailing axes of length 1 as broadcasting against `x` (B, …) needs."""
    return rows.view(-1, *[1] * (x.ndim - 1))


@dataclass(frozen=True)
class Clipped:
    """A score whose denoised image x + σ² s(x, σ) is clipped to the range of pixels: s = (clamp(x + σ² s) − x)/σ².

    Attributes:
        score: s(x, σ) at σ > 0.
    """

    score: Score

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        square = expand(sigma, x) ** 2
        return ((x + square * self.score(x, sigma)).clamp(0, 1) - x) / square


@dataclass(frozen=True)
class Given:
    """The score of a network given what the images are drawn for: (x, σ) ↦ network(x, σ, **condition).

    Attributes:
        network: s(x, σ | condition).
        condition: tensors (B, …) by the names of the network's arguments, a row for each of x.
    """

    network: Network
    condition: Mapping[str, Tensor]

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.network(x, sigma, **self.condition)


@dataclass(frozen=True)
class Filling:
    """The score of images of which a part is known: that of P(x), say all but a hole, is exact; another has the rest.

    What is known to be P(y) has the density N(P(y), σ²) under noise, and so the score P(y − x)/σ². It has no
    parameters: what is known takes no part in training, and any sampler brings it back to P(y).

    Attributes:
        score: s(x, σ), of which only what it says of the rest counts.
        project: P, what is known.
        image: y (B, C, H, W), of which only P(y) counts.
    """

    score: Score
    project: Known
    image: Tensor

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        score = self.score(x, sigma)
        return score - self.project(score) + self.project((self.image - x) / expand(sigma, x) ** 2)


@dataclass(frozen=True)
class Shifted:
    """The score of images by that of their differences from others: s(x, σ) = k s_Δ(½ + k (x − centre), kσ).

    Where an image is much like another that is given, their difference is little, and has not to be learned from
    scratch (SRDiff, Li et al. 2022). Enlarged k times it varies as much as images do, which forms of networks such as
    `edm` count on; noise is enlarged with it.

    Attributes:
        score: s_Δ(x, σ) of enlarged differences around ½.
        centre: (B, C, H, W), what the images differ from.
        scale: k (B,).
    """

    score: Score
    centre: Tensor
    scale: Tensor

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        k = expand(self.scale, x)
        return k * self.score(0.5 + k * (x - self.centre), self.scale * sigma)


def score_given(network: Network, condition: Mapping[str, Tensor], known: Known | None = None) -> Score:
    """What objectives and samplers see of a network that is given something.

    Args:
        network: s(x, σ | condition); one with `residual` draws what images differ by from the damaged ones, so
            many times enlarged, unless these have a hole.
        condition: what `ncsn.conditions.Condition` returns; `hole` is not for the network, see `Filling`.
        known: what of the damaged images is known; None if that is what lies outside of a hole.
    """
    given = {name: value for name, value in condition.items() if name != "hole"}
    score: Score = Given(network, given) if given else network
    if "damaged" in condition and (residual := getattr(network, "residual", False)):
        score = Shifted(score, *_differences(condition, residual))
    if known is None and "hole" in condition:
        known = KnownPixels(~condition["hole"])
    return score if known is None else Filling(score, known, condition["damaged"])


def _differences(condition: Mapping[str, Tensor], residual: float) -> tuple[Tensor, Tensor]:
    """Centre and scale: of images of which a part is missing, and the rest is known, grey and 1."""
    damaged = condition["damaged"]
    hole = condition.get("hole", torch.ones_like(damaged[:, :1], dtype=torch.bool))
    whole = hole.all((1, 2, 3), keepdim=True)
    return torch.where(whole, damaged, 0.5), torch.where(whole, residual, 1.0).flatten().to(damaged)


@dataclass(frozen=True)
class Tiled:
    """A network on images larger than its own (MultiDiffusion, Bar-Tal et al. 2023).

    At every call the network sees overlapping tiles, and their scores are averaged with weights sin² that fall to
    almost zero at the edges of a tile. So samplers see one score of the whole image, and tiles leave no seams. What
    lies farther apart than a tile is not adapted to each other.

    Attributes:
        network: s(x, σ | condition) of images of size × size pixels.
        size: side of a tile.
        overlap: pixels that neighbouring tiles share at least.
        grid: tiles begin at multiples of it, as the blocks of JPEG do. What that takes beyond the image is reflected.
        batch: tiles that the network is given at once, at most.

    Raises:
        ValueError: a value out of range; when called, if the image is smaller than a tile.
    """

    network: Network
    size: int
    overlap: int
    grid: int = 1
    batch: int = 16

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.size:
            raise ValueError(f"overlap={self.overlap}: must be at least 0, and less than size={self.size}")
        if not 1 <= self.grid <= self.size - self.overlap:
            raise ValueError(f"grid={self.grid}: must be at least 1, and at most size − overlap")
        if self.batch < 1:
            raise ValueError(f"batch={self.batch}: must be at least 1")

    @property
    def residual(self) -> float | bool:
        """That of the network."""
        return getattr(self.network, "residual", False)

    def __call__(self, x: Tensor, sigma: Tensor, **condition: Tensor) -> Tensor:
        """The score at x (B, C, H, W). Of the condition, what has four axes is cut into tiles as x is."""
        height, width = x.shape[-2:]
        x, *_ = whole = [self._padded(v) if v.ndim == 4 else v for v in (x, *condition.values())]
        total, weight = torch.zeros_like(x), torch.zeros_like(x[:1, :1])
        edge = torch.arange(1, self.size + 1, device=x.device, dtype=x.dtype) / (self.size + 1)
        window = (torch.pi * edge).sin() ** 2
        window = window[:, None] * window
        corners = [(top, left) for top in self._places(x.shape[-2]) for left in self._places(x.shape[-1])]
        tiles = [(slice(top, top + self.size), slice(left, left + self.size)) for top, left in corners]
        for rows, columns in tiles:
            weight[..., rows, columns] += window
        cuts = [(row, *tile) for tile in tiles for row in range(len(x))]
        for first in range(0, len(cuts), self.batch):
            some = cuts[first : first + self.batch]
            numbers = torch.tensor([row for row, _, _ in some], device=x.device)
            images, *given = (
                torch.stack([v[row, :, rows, columns] for row, rows, columns in some]) if v.ndim == 4 else v[numbers]
                for v in whole
            )
            scores = self.network(images, sigma[numbers], **dict(zip(condition, given, strict=True)))
            for (row, rows, columns), score in zip(some, scores, strict=True):
                total[row, :, rows, columns] += window * score
        return (total / weight)[..., :height, :width]

    def _padded(self, images: Tensor) -> Tensor:
        """Up to where the last tile ends."""
        height, width = images.shape[-2:]
        if min(height, width) < self.size:
            raise ValueError(f"images of {width}×{height} pixels: smaller than a tile of {self.size}×{self.size}")
        down, right = ((self.size - side) % self.grid for side in (height, width))
        return F.pad(images, (0, right, 0, down), mode="reflect") if down or right else images

    def _places(self, side: int) -> list[int]:
        """Where tiles begin, evenly spread."""
        last, most = (side - self.size) // self.grid, (self.size - self.overlap) // self.grid
        gaps = -(-last // most)
        return [last * i // gaps * self.grid for i in range(gaps + 1)] if gaps else [0]


@dataclass(frozen=True)
class Guided:
    """Classifier-free guidance (Ho & Salimans 2022): s(x, σ | ∅) + g (s(x, σ | condition) − s(x, σ | ∅)).

    Both scores come from one call of the network with 2B rows. g = 1 is `Given`, g = 0 the score given nothing, and
    each takes B rows. The paper's w is g − 1.

    Attributes:
        network: s(x, σ | condition).
        condition: as `Given` has it.
        nothing: the same names, for images that are drawn for nothing.
        guidance: g.
    """

    network: Network
    condition: Mapping[str, Tensor]
    nothing: Mapping[str, Tensor]
    guidance: float

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        if self.guidance in (0, 1):
            return self.network(x, sigma, **(self.condition if self.guidance else self.nothing))
        both = {name: torch.cat([self.nothing[name], given]) for name, given in self.condition.items()}
        nothing, given = self.network(torch.cat([x, x]), torch.cat([sigma, sigma]), **both).chunk(2)
        return nothing + self.guidance * (given - nothing)
