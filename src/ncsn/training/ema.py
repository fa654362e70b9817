"""Exponential moving average of the weights (Song & Ermon 2020, technique 5)."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


@torch.no_grad()
def ema_update(averages: Sequence[Tensor], weights: Sequence[Tensor], momentum: float) -> None:
    """averages ← m·averages + (1 − m)·weights, with m = momentum."""
    torch._foreach_lerp_(list(averages), list(weights), 1 - momentum)


class _Average(AveragedModel):
    """PyTorch's, but the number of updates is known to the host: to ask a GPU for it at every step makes it idle."""

    def __init__(self, model: nn.Module, device: torch.device, momentum: Callable[[int], float]) -> None:
        super().__init__(model, device)
        self.momentum = momentum
        self.num_updates: int | None = None

    def update_parameters(self, model: nn.Module) -> None:
        if self.num_updates is None:  # the first since the start, or since a checkpoint was loaded
            self.num_updates = int(self.n_averaged)
        averages, weights = list(self.module.parameters()), list(model.parameters())
        ema_update(averages, weights, self.momentum(self.num_updates) if self.num_updates else 0.0)
        self.num_updates += 1
        self.n_averaged += 1


class EMA(WeightAveraging):
    """Keeps the average in the checkpoints' `state_dict`; the raw weights are in `current_model_state`.

    Validation sees the average. Training never does, and unlike its base class this callback leaves the raw
    weights in the module when training ends, so that what is saved then can be continued.

    Args:
        rate: m, the weight of the past in every update, in [0, 1).
        warmup: start with a smaller rate, (1 + n)/(10 + n) after n updates; without it the average of a short
            run is mostly the initial weights.
        ramp: the half-life of the average is at most this share of the updates so far, 0.05 in Karras et al. 2022;
            None for no such bound.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(self, rate: float = 0.999, warmup: bool = True, ramp: float | None = None) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"rate={rate}: must be in [0, 1)")
        if ramp is not None and not 0 < ramp < math.inf:
            raise ValueError(f"ramp={ramp}: must be positive and finite")
        super().__init__()
        self.rate, self.warmup, self.ramp = rate, warmup, ramp

    def momentum(self, num_updates: int) -> float:
        """m of the next update after n ≥ 1; the first takes the weights as they are."""
        n, bounds = num_updates, [self.rate]
        if self.warmup:
            bounds.append((1 + n) / (10 + n))
        if self.ramp is not None:
            bounds.append(0.5 ** (1 / (self.ramp * n)))
        return min(bounds)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self._average_model = _Average(pl_module, pl_module.device, self.momentum)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pass

    @contextmanager
    def averaged(self, pl_module: LightningModule) -> Iterator[None]:
        """Within it, `pl_module` has the averaged weights."""
        self._swap_models(pl_module)
        try:
            yield
        finally:
            self._swap_models(pl_module)


class PowerFunctionEMA(EMA):
    """An average whose width is a share of the run so far, so that no rate has to fit the length of a run.

    After t updates the weights of step τ count as τ^γ (Karras et al. 2024, "Analyzing and Improving the Training
    Dynamics of Diffusion Models", Sec. 3.1): m = (1 − 1/t)^(γ + 1).

    Args:
        gamma: γ > 0. The width of the average, relative to the run, is 0.05 at 16.97, 0.1 at 6.94.
    """

    def __init__(self, gamma: float = 6.94) -> None:
        if not 0 < gamma < math.inf:
            raise ValueError(f"gamma={gamma}: must be positive and finite")
        super().__init__()
        self.gamma = gamma

    def momentum(self, num_updates: int) -> float:
        return (1 - 1 / (num_updates + 1)) ** (self.gamma + 1)


@contextmanager
def averaged_weights(trainer: Trainer, pl_module: LightningModule) -> Iterator[None]:
    """Within it, `pl_module` has the weights to sample with: averaged ones where there are any."""
    ema = next((c for c in trainer.callbacks if isinstance(c, EMA)), None)  # type: ignore[attr-defined]
    if ema is None:
        yield
    else:
        with ema.averaged(pl_module):
            yield
