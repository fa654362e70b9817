"""Exponential moving average of the weights (Song & Ermon 2020, technique 5)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


@torch.no_grad()
def ema_update(
    averages: Sequence[Tensor], weights: Sequence[Tensor], num_updates: int, *, rate: float, warmup: bool
) -> None:
    """averages ← m·averages + (1 − m)·weights, with m = rate or, warming up, min(rate, (1 + n)/(10 + n)).

    The first update, n = 0, takes the weights as they are.
    """
    n = num_updates
    m = 0.0 if n == 0 else min(rate, (1 + n) / (10 + n)) if warmup else rate
    torch._foreach_lerp_(list(averages), list(weights), 1 - m)


class _Average(AveragedModel):
    """PyTorch's, but the number of updates is known to the host: to ask a GPU for it at every step makes it idle."""

    def __init__(self, model: nn.Module, device: torch.device, rate: float, warmup: bool) -> None:
        super().__init__(model, device)
        self.rate, self.warmup = rate, warmup
        self.num_updates: int | None = None

    def update_parameters(self, model: nn.Module) -> None:
        if self.num_updates is None:  # the first since the start, or since a checkpoint was loaded
            self.num_updates = int(self.n_averaged)
        averages, weights = list(self.module.parameters()), list(model.parameters())
        ema_update(averages, weights, self.num_updates, rate=self.rate, warmup=self.warmup)
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
    """

    def __init__(self, rate: float = 0.999, warmup: bool = True) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"rate={rate}: must be in [0, 1)")
        super().__init__()
        self.rate, self.warmup = rate, warmup

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self._average_model = _Average(pl_module, pl_module.device, self.rate, self.warmup)

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


@contextmanager
def averaged_weights(trainer: Trainer, pl_module: LightningModule) -> Iterator[None]:
    """Within it, `pl_module` has the weights to sample with: averaged ones where there are any."""
    ema = next((c for c in trainer.callbacks if isinstance(c, EMA)), None)  # type: ignore[attr-defined]
    if ema is None:
        yield
    else:
        with ema.averaged(pl_module):
            yield
