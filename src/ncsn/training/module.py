"""The LightningModule: a score network, an objective, and the step that trains the one on the other."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ncsn import noise
from ncsn.conditions import Condition
from ncsn.data import Batch
from ncsn.networks.dropout import Dropout
from ncsn.random import Draws, key_to_seed
from ncsn.score import Score, score_given
from ncsn.training.restored import check_restored

Objective = Callable[..., Tensor]
"""objective(score, x, sigma, normal=…) -> (B,); see `ncsn.objectives`."""


class ScoreModel(LightningModule):
    """Trains a score network over all noise levels (Song & Ermon 2019, eq. 6).

    Every random number of a step is a function of the seed and the number of the batch, so a run that is
    continued, or spread over more devices, draws the same ones. So it is with features that `networks.dropout` drops;
    those of `torch.nn.Dropout` are the same after a resume on as many devices.

    Args:
        network: s(x, σ), called with images (B, C, H, W) and σ (B,).
        levels: the noise levels (L,), drawn from uniformly, or a distribution of σ; its ladder, or they, are part of
            the checkpoint.
        objective: loss of each row.
        optimizer: makes the optimiser of the parameters it is given.
        scheduler: makes the schedule of its learning rate, per step.
        condition: what the network is given beside x and σ; None for nothing.
        seed: of the noise and the levels.
        config: the resolved configuration, plain containers only; stored in every checkpoint.
    """

    def __init__(
        self,
        network: nn.Module,
        levels: Tensor | noise.Distribution,
        objective: Objective,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler],
        *,
        condition: Condition | None = None,
        seed: int = 0,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(dict(config or {}))
        self.network = network
        self.sigmas: Tensor
        self.register_buffer("sigmas", noise.ladder(levels).clone())
        self.distribution = None if isinstance(levels, Tensor) else levels
        self.objective, self.condition = objective, condition
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.seed = seed
        self.dropouts = [module for module in network.modules() if isinstance(module, nn.Dropout) and module.p > 0]

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The score s(x, σ)."""
        return self.network(x, sigma)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._step(batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        return self._step(batch, "val")

    def _step(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        x, rank, world_size = batch.images, self.trainer.global_rank, self.trainer.world_size
        draws = Draws(self.seed, stage, batch.number, device=x.device, rank=rank, world_size=world_size)
        if stage == "train" and self.dropouts:
            torch.manual_seed(key_to_seed(self.seed, "dropout", batch.number))
            for module in self.dropouts:
                if isinstance(module, Dropout):
                    module.rank, module.world_size = rank, world_size
        level, sigma = self._levels(draws, len(x))
        loss = self.objective(self.score_for(batch, draws), x, sigma, normal=draws.normal)
        return {"loss": loss.mean(), "losses": loss.detach(), "level": level}

    def _levels(self, draws: Draws, batch: int) -> tuple[Tensor, Tensor]:
        """σ of each row, and the index of the level that it is, or that is nearest to it."""
        if self.distribution is None:
            level = draws.integers(len(self.sigmas), batch)
            return level, self.sigmas[level]
        sigma = self.distribution.draw(draws.uniform(batch))
        return noise.position(sigma, self.sigmas).round().long(), sigma

    def score_for(self, batch: Batch, draws: Draws) -> Score:
        """The score of these images: that of the network given what they are drawn for, and what was done to them."""
        came = {} if batch.damaged is None else {"damaged": batch.damaged}
        given = {} if self.condition is None else self.condition(batch.images, batch.labels, draws, **came)
        if batch.augmentation is not None:
            given = {**given, "augmentation": batch.augmentation}
        return score_given(self.network, given)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = self.make_optimizer(self.parameters())
        schedule: LRSchedulerConfigType = {"scheduler": self.make_scheduler(optimizer), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_train_start(self) -> None:
        """Gives what the optimiser remembers the memory layout of its parameters, whose order fused Adam goes by.

        A run that goes on with another `speed` has weights of another layout than its checkpoint.
        """
        for optimizer in self.trainer.optimizers:
            for parameter, state in optimizer.state.items():
                for name, value in state.items():
                    if (
                        torch.is_tensor(value)
                        and value.shape == parameter.shape
                        and value.stride() != parameter.stride()
                    ):
                        state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_restored(self.trainer, self, checkpoint)
        saved, mine = checkpoint["state_dict"]["sigmas"], self.sigmas.cpu()
        if saved.shape != mine.shape or not torch.allclose(saved.cpu(), mine):
            raise ValueError("the checkpoint was trained with other noise levels than the configuration's")
