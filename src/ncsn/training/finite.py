"""A training that blows up is stopped, and its newest checkpoint is the last good one."""

import logging
from typing import Any, NamedTuple, cast

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from ncsn.errors import ConfigError, UserError

log = logging.getLogger(__name__)

_MOST_STEPS = 100  # between two looks


class NotFiniteError(UserError):
    """The loss, its gradient or the weights are no longer finite."""


class _Step(NamedTuple):
    """What is kept of a step until it is looked at; the tensors are on the device."""

    number: int
    learning_rate: float
    losses: Tensor
    level: Tensor
    gradient_norm: Tensor


class StopWhenNotFinite(Callback):
    """Ends a training at the first loss or gradient that is not finite.

    A step does not wait for the device: what it left is looked at whenever metrics are logged, every hundred steps at
    the least, and before anything is validated or saved.

    Args:
        skip: so many steps in a row are left out, with weights and optimiser as they were, before it ends. Each step
            then waits for the device.
    """

    def __init__(self, skip: int = 0) -> None:
        if skip < 0:
            raise ValueError(f"skip={skip}: must be at least 0")
        self.skip = skip

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.skip and trainer.accumulate_grad_batches > 1:  # part of a step may be logged before it turns bad
            raise ConfigError(f"callbacks.finite.skip={self.skip}: goes with trainer.accumulate_grad_batches=1 alone")
        self.steps: list[_Step] = []
        self.skips, self.skipped = False, 0  # the step at hand; steps in a row
        self.losses = torch.zeros((), device=pl_module.device)  # of the step at hand
        self.parameters = list(pl_module.parameters())
        self.norm, self.learning_rate = torch.zeros((), device=pl_module.device), 0.0

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if self.skip:
            self.losses = self.losses + loss.detach()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self.learning_rate = optimizer.param_groups[0]["lr"]
        if trainer.precision == "16-mixed":  # whose scaler looks for itself, and skips such steps
            return
        self.norm = get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        self.skips = self.skipped < self.skip and self._is_bad(trainer)
        self.skipped = self.skipped + 1 if self.skips else 0
        for parameter in self.parameters if self.skips else ():
            parameter.grad = None  # which optimisers leave alone, with all that they know of it

    def _is_bad(self, trainer: Trainer) -> bool:
        """Whether the step at hand is, for any of the processes."""
        bad, self.losses = not bool((self.norm + self.losses).isfinite()), torch.zeros_like(self.losses)
        return bad if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(bad, all=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step, interval = trainer.global_step, trainer.log_every_n_steps  # type: ignore[attr-defined]
        if self.skips:
            log.warning(f"step {step}: the loss or its gradient is not finite; skipped")
            outputs |= {key: outputs[key][:0] for key in ("losses", "level")}  # no part of what is logged
            self.skips = False
            return
        self.steps.append(_Step(step, self.learning_rate, outputs["losses"], outputs["level"], self.norm))
        if step % interval == 0 or len(self.steps) >= _MOST_STEPS:
            self._look(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._look(trainer, pl_module)
        if not torch.stack([p.isfinite().all() for p in pl_module.parameters()]).all():
            raise _error(trainer, f"step {trainer.global_step}: the weights are not finite", self.learning_rate)

    def _look(self, trainer: Trainer, pl_module: LightningModule) -> None:
        steps, self.steps = getattr(self, "steps", []), []
        if not steps:
            return
        finite = torch.stack([step.losses.isfinite().all() & step.gradient_norm.isfinite() for step in steps])
        for step, good in zip(steps, finite.tolist(), strict=True):
            if not good:
                losses = step.losses.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=torch.inf)
                sigma = cast(Tensor, pl_module.sigmas)[step.level[losses.argmax()]]
                what = "gradient" if step.losses.isfinite().all() else "loss"
                where = "largest loss at" if what == "gradient" else "at"
                raise _error(
                    trainer,
                    f"step {step.number}: the {what} is not finite ({where} σ = {sigma:.3g})",
                    step.learning_rate,
                )


def _error(trainer: Trainer, what: str, learning_rate: float) -> NotFiniteError:
    precise = trainer.precision == "32-true"
    return NotFiniteError(
        f"{what}, with a learning rate of {learning_rate:.3g}; the checkpoints before are good: go on from them with "
        f"trainer.gradient_clip_val=1{'' if precise else ' or trainer.precision=32-true'}, or leave out up to 3 such "
        "steps in a row with callbacks.finite.skip=3 "
        f"(resume={trainer.default_root_dir}), or start anew with a smaller optimizer.lr"
    )
