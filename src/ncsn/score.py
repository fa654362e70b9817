"""What a score is to those who train it and to those who sample from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

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
    """The score of images that are known but for a hole: another score in the hole, the exact one outside.

    A pixel known to be y has the density N(y, σ²) under noise, and so the score (y − x)/σ². It has no parameters:
    what is known takes no part in training, and any sampler brings it back to y.

    Attributes:
        score: s(x, σ), of which only what it says of the hole counts.
        known: y (B, C, H, W), of which only what lies outside the hole counts.
        hole: bool (B, 1, H, W), true where pixels are missing.
    """

    score: Score
    known: Tensor
    hole: Tensor

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return torch.where(self.hole, self.score(x, sigma), (self.known - x) / expand(sigma, x) ** 2)


def score_given(network: Network, condition: Mapping[str, Tensor]) -> Score:
    """What objectives and samplers see of a network that is given something.

    Args:
        network: s(x, σ | condition).
        condition: what `ncsn.conditions.Condition` returns; `hole` is not for the network, see `Filling`.
    """
    given = {name: value for name, value in condition.items() if name != "hole"}
    score: Score = Given(network, given) if given else network
    return Filling(score, condition["damaged"], condition["hole"]) if "hole" in condition else score


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
