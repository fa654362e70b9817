"""The bar that shows how far a training is."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Timer, TQDMProgressBar


class ProgressBar(TQDMProgressBar):
    """One bar over the whole run, with the time left; it starts where a resumed run does.

    It counts optimiser steps, or seconds where `trainer.max_time` alone ends the run.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        bar = self.train_progress_bar
        bar.set_description("Training")
        self.timer = _timer(trainer)
        if self.timer is None:
            total = trainer.estimated_stepping_batches
            bar.total = None if total == float("inf") else int(total)
            bar.initial = bar.n = trainer.global_step
            bar.unit = "step"
        else:
            elapsed = self.timer.time_elapsed()
            bar.total = elapsed + (self.timer.time_remaining() or 0)
            bar.initial = bar.n = elapsed
            bar.bar_format = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        pass

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        bar = self.train_progress_bar
        if self._should_update(trainer.global_step, int(bar.total or 0)):
            bar.n = trainer.global_step if self.timer is None else min(self.timer.time_elapsed(), bar.total or 0.0)
            bar.set_postfix(self.get_metrics(trainer, pl_module))

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics if self.timer is None else {"step": trainer.global_step, **metrics}


def _timer(trainer: Trainer) -> Timer | None:
    """What ends a run that counts no steps."""
    timers = (c for c in trainer.callbacks if isinstance(c, Timer))  # type: ignore[attr-defined]
    timer = next(timers, None)
    return timer if timer is not None and trainer.max_steps < 1 and timer.time_remaining() is not None else None
