"""What a score is to those who train it and to those who sample from it."""

from collections.abc import Callable

from torch import Tensor

Score = Callable[[Tensor, Tensor], Tensor]
"""score(x, sigma): (B, …), (B,) -> (B, …), the gradient of log q_σ at x."""

Normal = Callable[[Tensor], Tensor]
"""normal(x): standard normal values of the shape of x, as `torch.randn_like` gives them."""


def expand(rows: Tensor, x: Tensor) -> Tensor:
    """`rows` (B,), say σ, with as many trailing axes of length 1 as broadcasting against `x` (B, …) needs."""
    return rows.view(-1, *[1] * (x.ndim - 1))
