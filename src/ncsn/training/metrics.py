"""Losses and speed of a training, logged."""

import time
from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loops.evaluation_loop import RestartStage
from torch import Tensor

from ncsn.runs.csv_logger import CSVLogger


class Metrics(Callback):
    """Logs loss, loss per dimension, loss by noise level, learning rate and images per second.

    Each is the mean since it was logged last, over all devices. The loss of an image sums over its D
    values; divided by D it falls below ½ as soon as the network has learned anything, at any resolution.

    Args:
        max_groups: levels are reported in at most this many groups of neighbours, named by their largest σ.
    """

    def __init__(self, max_groups: int = 10) -> None:
        if max_groups < 1:
            raise ValueError(f"max_groups={max_groups}: must be at least 1")
        self.max_groups = max_groups

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in trainer.loggers if trainer.is_global_zero else []:
            if isinstance(logger, WandbLogger):  # whose summary is the last value otherwise
                logger.experiment.define_metric("val/loss", step_metric="trainer/global_step", summary="min")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step:
            self._complete(trainer)
        self._start("train", pl_module)
        self.images, self.since, self.logged_step = 0, time.perf_counter(), trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._add("train", outputs)
        self.images += len(batch.images) * trainer.world_size
        step = trainer.global_step
        if step % trainer.log_every_n_steps or step == self.logged_step:  # type: ignore[attr-defined]
            return
        metrics = self._means("train", trainer, pl_module, dimensions=batch.images[0].numel())
        now = time.perf_counter()
        metrics["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        metrics["images_per_second"] = self.images / (now - self.since)
        pl_module.log("loss", metrics["train/loss"], prog_bar=True, logger=False)
        pl_module.log_dict(metrics, logger=False)
        for logger in trainer.loggers:  # Lightning's way would repeat the last value of a group without images
            logger.log_metrics(metrics, step)
            logger.save()
        self._start("train", pl_module)
        self.images, self.since, self.logged_step = 0, now, step

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start("val", pl_module)
        self.validation_since = time.perf_counter()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._add("val", outputs)
        self.dimensions = batch.images[0].numel()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = self._means("val", trainer, pl_module, dimensions=self.dimensions)
        pl_module.log_dict(metrics | {"step": float(trainer.global_step)})
        if hasattr(self, "since"):  # validation is no part of the training speed
            self.since += time.perf_counter() - self.validation_since

    def _complete(self, trainer: Trainer) -> None:
        """Has metrics.csv hold no more than what was saved, and the validation of that step, if it is due."""
        csv = next((c for c in trainer.loggers if isinstance(c, CSVLogger)), None)
        if csv is not None and "val/loss" not in trainer.strategy.broadcast(csv.go_on_after(trainer.global_step)):
            validation = trainer.fit_loop.epoch_loop.val_loop
            validation.restarting = False
            validation._restart_stage = RestartStage.RESTARTED_MID_EVALUATION  # if it is due, it is begun anew

    def _start(self, stage: str, pl_module: LightningModule) -> None:
        setattr(self, stage, torch.zeros(2, len(_sigmas(pl_module)), device=pl_module.device))

    def _add(self, stage: str, outputs: dict[str, Tensor]) -> None:
        losses, level = outputs["losses"].float(), outputs["level"]
        total: Tensor = getattr(self, stage)
        total[0].index_add_(0, level, losses)
        total[1].index_add_(0, level, torch.ones_like(losses))

    def _means(self, stage: str, trainer: Trainer, pl_module: LightningModule, dimensions: int) -> dict[str, float]:
        total = trainer.strategy.reduce(getattr(self, stage), reduce_op="sum").cpu()
        loss = float(total[0].sum() / total[1].sum())
        metrics = {f"{stage}/loss": loss, f"{stage}/loss_per_dim": loss / dimensions}
        groups = torch.arange(total.shape[1]).tensor_split(min(self.max_groups, total.shape[1]))
        for group in groups:
            sum_, count = total[:, group].sum(1).tolist()
            if count:
                metrics[f"{stage}/loss_sigma_{_sigmas(pl_module)[group[0]]:.3g}"] = sum_ / count
        return metrics


def _sigmas(pl_module: LightningModule) -> Tensor:
    return cast(Tensor, pl_module.sigmas)
