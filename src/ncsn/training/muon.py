"""Muon: steps of momentum that are made orthogonal (Jordan et al. 2024, kellerjordan.github.io/posts/muon)."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(Optimizer):
    """Muon for the weights of convolutions, Adam for all other parameters.

    A weight is a matrix M here, output channels by all else, and its step is that of Nesterov's momentum with all
    singular values brought near to 1: a direction that few gradients have shown counts as much as one that many have.

    Args:
        params: parameters; those of four axes are weights of convolutions.
        lr: of Adam.
        muon_lr: of Muon: about the spectral norm of a step of a weight of n × m, √(n/m) times as much where n > m.
        momentum: of Muon.
        betas, eps, weight_decay, fused: of Adam.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        *,
        muon_lr: float = 0.02,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        fused: bool | None = None,
    ) -> None:
        if not muon_lr >= 0:
            raise ValueError(f"muon_lr={muon_lr}: must be at least 0")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum}: must be at least 0 and below 1")
        given = list(params)
        convolutions = {"params": [p for p in given if p.ndim == 4], "lr": muon_lr, "momentum": momentum}
        others = {"params": [p for p in given if p.ndim != 4]}
        self.adam = Adam([others], lr, (betas[0], betas[1]), eps, weight_decay, fused=fused)
        super().__init__([*self.adam.param_groups, convolutions], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        others, convolutions = self.param_groups
        self.adam.param_groups, self.adam.state = [others], self.state  # which loading replaces
        self.adam.step()
        for weight in convolutions["params"]:
            if weight.grad is not None:
                self._step_of_muon(weight, convolutions["lr"], convolutions["momentum"])
        return loss

    def _step_of_muon(self, weight: nn.Parameter, lr: float, momentum: float) -> None:
        gradient, state = weight.grad, self.state[weight]
        assert gradient is not None
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        mean = state["momentum"].lerp_(gradient, 1 - momentum)
        matrix = gradient.lerp(mean, momentum).flatten(1)
        stretch = max(1, matrix.shape[0] / matrix.shape[1]) ** 0.5
        weight.sub_(orthogonal(matrix).view(weight.shape), alpha=lr * stretch)


def orthogonal(matrix: Tensor) -> Tensor:
    """U f(S) Vᵀ for a matrix U S Vᵀ, f(s) from 0.7 to 1.2 except where s is tiny beside the norm; of zeros, zeros.

    Five steps of X ← a X + (b X Xᵀ + c (X Xᵀ)²) X, of which none needs the singular values.

    Args:
        matrix: (n, m).
    """
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x
