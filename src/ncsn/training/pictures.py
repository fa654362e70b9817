"""Pictures drawn while a network trains."""

import logging
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

from ncsn.images import grid, save_png
from ncsn.samplers import DivergedError, Sampler
from ncsn.training.drawing import draw_while_training, task_while_training

log = logging.getLogger(__name__)

MOST_SAMPLES = 10_000  # of one picture

BATCH_SIZE = 16  # so that several devices have something to do


class SampleImages(Callback):
    """Draws images every so many steps, with the averaged weights, from the same noise every time.

    They go to `<folder>/step_0005000.png` and to the loggers that take pictures.

    Args:
        sampler: draws them.
        folder: of the pictures.
        every_n_steps: 0 for never.
        num_samples: per picture.
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
        if not 1 <= num_samples <= MOST_SAMPLES:
            raise ValueError(f"num_samples={num_samples}: must be at least 1 and at most {MOST_SAMPLES}")
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
            self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        options = {"num_samples": self.num_samples, "batch_size": BATCH_SIZE, "seed": self.seed}
        try:
            batches = draw_while_training(trainer, pl_module, self.sampler, lambda x: x.cpu(), **options)
        except DivergedError as error:  # a young network's; no reason to end its training
            if trainer.is_global_zero:
                log.warning(f"no picture at step {trainer.global_step}: {error}")
            return
        if not batches:  # not the first process
            return
        task = task_while_training(trainer, pl_module, self.sampler, self.num_samples)
        picture = grid(*task.picture(torch.cat(batches)))
        save_png(picture, self.folder / f"step_{trainer.global_step:07d}.png")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("samples", [picture], step=trainer.global_step)
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("samples", picture, trainer.global_step, dataformats="HWC")
