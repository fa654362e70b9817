"""What is watched while a network trains: losses and speed, progress, pictures, checkpoints."""

import logging
import time
from pathlib import Path
from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from ncsn.images import grid, save_png
from ncsn.objectives import Score
from ncsn.random import Draws
from ncsn.samplers import DivergedError, Sampler
from ncsn.training.ema import averaged_weights

log = logging.getLogger(__name__)


class Metrics(Callback):
    """Logs loss, loss per dimension, loss by noise level, learning rate and images per second.

    Each is the mean since it was logged last, over all devices. A row's loss sums over its D values; divided by
    D it falls below ½ as soon as the network has learned anything, at any resolution.

    Args:
        max_groups: levels are reported in at most this many groups of neighbours, named by their largest σ.
    """

    def __init__(self, max_groups: int = 10) -> None:
        if max_groups < 1:
            raise ValueError(f"max_groups={max_groups}: must be at least 1")
        self.max_groups = max_groups

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
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
        metrics["step"] = float(step)
        pl_module.log("loss", metrics["train/loss"], prog_bar=True, logger=False)
        pl_module.log_dict(metrics)
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


class ProgressBar(TQDMProgressBar):
    """One bar over the whole run, in optimiser steps, with the time left; it starts where a resumed run does."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        bar = self.train_progress_bar
        total = trainer.estimated_stepping_batches
        bar.total = None if total == float("inf") else int(total)
        bar.initial = bar.n = trainer.global_step
        bar.unit = "step"
        bar.set_description("Training")

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        pass

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        bar = self.train_progress_bar
        if self._should_update(trainer.global_step, int(bar.total or 0)):
            bar.n = trainer.global_step
            bar.set_postfix(self.get_metrics(trainer, pl_module))

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


class SampleImages(Callback):
    """Draws images every so many steps, with the averaged weights, from the same noise every time.

    They go to `<folder>/step_0005000.png` and to the loggers that take pictures.

    Args:
        sampler: draws them.
        folder: of the pictures.
        every_n_steps: 0 for never.
        num_samples: in the picture.
        seed: of the chains.
    """

    def __init__(
        self,
        sampler: Sampler,
        folder: str | Path,
        *,
        every_n_steps: int = 5000,
        num_samples: int = 64,
        seed: int = 0,
    ) -> None:
        if every_n_steps < 0:
            raise ValueError(f"every_n_steps={every_n_steps}: must not be negative (0: never)")
        if num_samples < 1:
            raise ValueError(f"num_samples={num_samples}: must be at least 1")
        self.sampler, self.folder, self.seed = sampler, Path(folder), seed
        self.every_n_steps, self.num_samples = every_n_steps, num_samples
        self.drawn_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.drawn_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if self.every_n_steps and step % self.every_n_steps == 0 and step != self.drawn_step:
            self.drawn_step = step
            self._draw(trainer, pl_module, batch.images.shape[1:])

    @rank_zero_only
    def _draw(self, trainer: Trainer, pl_module: LightningModule, shape: torch.Size) -> None:
        draws = Draws(self.seed, "sample", 0, device=pl_module.device)
        x = draws.uniform(self.num_samples, *shape)
        pl_module.eval()
        try:
            with averaged_weights(trainer, pl_module):
                for state in self.sampler(_network(pl_module), x, _sigmas(pl_module), normal=draws.normal):
                    x = state.x
        except DivergedError as error:  # a young network's; no reason to end its training
            log.warning(f"no picture at step {trainer.global_step}: {error}")
            return
        finally:
            pl_module.train()

        picture = grid(x)
        save_png(picture, self.folder / f"step_{trainer.global_step:07d}.png")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("samples", [picture], step=trainer.global_step)
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("samples", picture, trainer.global_step, dataformats="HWC")


class Checkpoints(ModelCheckpoint):
    """Saves every so many steps, and at the last step of the run wherever that falls.

    The last one has to be saved inside the step: after `fit` the loops have moved on, and what is saved then does
    not continue.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._last_global_step_saved = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if _is_last_step(trainer) and not self._should_skip_saving_checkpoint(trainer):
            candidates = self._monitor_candidates(trainer)
            self._save_topk_checkpoint(trainer, candidates)
            self._save_last_checkpoint(trainer, candidates)

    def _monitor_candidates(self, trainer: Trainer) -> dict[str, Tensor]:
        """The name of a file is its own step, not the one that was logged last."""
        return super()._monitor_candidates(trainer) | {"step": torch.tensor(trainer.global_step)}


def _network(pl_module: LightningModule) -> Score:
    return cast(Score, pl_module.network)


def _sigmas(pl_module: LightningModule) -> Tensor:
    return cast(Tensor, pl_module.sigmas)


def _is_last_step(trainer: Trainer) -> bool:
    steps_done = 0 <= (trainer.max_steps or -1) <= trainer.global_step
    last_epoch = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
    return steps_done or trainer.should_stop or (last_epoch and trainer.is_last_batch)
