"""What a score is to those who train it and to those who sample from it."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Score = Callable[[Tensor, Tensor], Tensor]
"""score(x, sigma): (B, …), (B,) -> (B, …), the gradient of log q_σ at x."""

Normal = Callable[[Tensor], Tensor]
"""normal(x): standard normal values of the shape of x, as `torch.randn_like` gives them."""


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
