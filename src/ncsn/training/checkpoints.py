"""Checkpoints that a run can go on from."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from ncsn.errors import Interrupted
from ncsn.files import link, save_tensors

_STEPS_PER_VOTE = 10


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all: Lightning's go through another folder, and may be cut short."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        save_tensors(checkpoint, Path(path))


class Checkpoints(ModelCheckpoint):
    """Saves every so many steps, and at the last step of the run wherever that falls.

    The last one has to be saved inside the step: after `fit` the loops have moved on, and what is saved then does
    not continue. So where SIGTERM or SIGINT asks the run to end, the step at hand is its last. A second signal ends
    it at once.
    """

    signal: int | None = None  # that asked this process to end
    ends = False

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As Lightning, which deletes what these paths name: those of a checkpoint count in this folder alone."""
        super().load_state_dict(state_dict)
        self.best_k_models = {path: score for path, score in self.best_k_models.items() if self._is_beside(path)}
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            if not self._is_beside(getattr(self, name)):
                setattr(self, name, "")

    def _is_beside(self, path: Any) -> bool:
        folder = os.path.realpath(self.dirpath or ".")
        if not isinstance(path, str) or not path.endswith(".ckpt"):
            return False
        return path == os.path.join(folder, os.path.basename(path))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeFiles()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._last_global_step_saved = trainer.global_step
        if threading.current_thread() is threading.main_thread():  # Lightning puts back what was there before
            for number in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, self._note)

    def _note(self, number: int, _: Any) -> None:
        self.signal = number
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self.ends:  # and all of the last step is done, its metrics and validation included
            raise Interrupted(self.signal or signal.SIGTERM)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self.ends = self._is_asked_to_end(trainer)
        if (self.ends or _is_last_step(trainer)) and not self._should_skip_saving_checkpoint(trainer):
            candidates = self._monitor_candidates(trainer)
            self._save_topk_checkpoint(trainer, candidates)
            self._save_last_checkpoint(trainer, candidates)

    def _is_asked_to_end(self, trainer: Trainer) -> bool:
        """Whether any process is, as all of them agree; several ask each other now and then."""
        asked = self.signal is not None
        if trainer.world_size == 1:
            return asked
        return trainer.global_step % _STEPS_PER_VOTE == 0 and trainer.strategy.reduce_boolean_decision(
            asked, all=False
        )

    @staticmethod
    def _link_checkpoint(trainer: Trainer, filepath: str, linkpath: str) -> None:
        if trainer.is_global_zero:
            link(Path(linkpath), os.path.basename(filepath))
        trainer.strategy.barrier()

    def _monitor_candidates(self, trainer: Trainer) -> dict[str, Tensor]:
        """The name of a file is its own step, not the one that was logged last."""
        return super()._monitor_candidates(trainer) | {"step": torch.tensor(trainer.global_step)}


def _is_last_step(trainer: Trainer) -> bool:
    steps_done = 0 <= (trainer.max_steps or -1) <= trainer.global_step
    last_epoch = trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs
    return steps_done or trainer.should_stop or (last_epoch and trainer.is_last_batch)
