"""Samples of a network while it trains: of its averaged weights, shared out over all processes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, cast

from lightning import LightningModule, Trainer
from torch import Tensor, distributed, nn

from ncsn.checkpoint import TrainedScore
from ncsn.conditions import Condition, Label
from ncsn.damage import Damage
from ncsn.samplers import DivergedError, Sampler
from ncsn.sampling.drawing import batches_of, draw
from ncsn.sampling.tasks import Generate, Restore, Task
from ncsn.training.ema import EMA, averaged_weights

T = TypeVar("T")


def draw_while_training(
    trainer: Trainer,
    pl_module: LightningModule,
    sampler: Sampler,
    keep: Callable[[Tensor], T],
    *,
    num_samples: int,
    batch_size: int,
    seed: int,
) -> list[T]:
    """Draws new images; every process has to call this.

    Args:
        keep: what is wanted of a batch (B, C, H, W), values around [0, 1]; it must not lie on a device.
        num_samples, batch_size, seed: as `sample.py` has them, which draws the same images.

    Returns:
        What `keep` gave for every batch, in order; on the first process, elsewhere nothing.

    Raises:
        DivergedError: chains diverged, on any process; raised on all of them.
    """
    task = task_while_training(trainer, pl_module, sampler, num_samples)
    mine = range(len(batches_of(task, batch_size)))[trainer.global_rank :: trainer.world_size]
    kept: dict[int, T] = {}
    diverged: DivergedError | None = None
    training = pl_module.training
    pl_module.eval()
    try:
        with averaged_weights(trainer, pl_module):
            for number, x in draw(task, batch_size=batch_size, seed=seed, device=pl_module.device, numbers=mine):
                kept[number] = keep(x)
    except DivergedError as error:
        diverged = error
    finally:
        pl_module.train(training)
    everyone = gather(trainer, (kept, diverged))
    failures = [failure for _, failure in everyone if failure is not None]
    if failures:
        raise failures[0]
    if not trainer.is_global_zero:
        return []
    return [batch for _, batch in sorted(item for part, _ in everyone for item in part.items())]


def task_while_training(trainer: Trainer, pl_module: LightningModule, sampler: Sampler, num_samples: int) -> Task:
    """New images of a network in training, of all classes in turn, if it has some; or held-out images restored."""
    score = _score(trainer, pl_module)
    if isinstance(score.condition, Damage):
        of_each = min(Restore.default_num_samples, num_samples)
        return Restore(score=score, sampler=sampler, num_images=num_samples // of_each, num_samples=of_each)
    label = "all" if isinstance(score.condition, Label) else None
    return Generate(score=score, sampler=sampler, num_samples=num_samples, label=label)


def gather(trainer: Trainer, mine: T) -> list[T]:
    """What each process has, on all of them; they wait for each other for as long as it takes.

    Lightning's own groups give up after half an hour, and samples of a large network take longer.
    """
    if trainer.world_size == 1:
        return [mine]
    everyone: list[Any] = [None] * trainer.world_size
    group: Any = distributed.new_group(backend="gloo", timeout=timedelta(days=30))
    distributed.all_gather_object(everyone, mine, group=group)
    distributed.destroy_process_group(group)
    return everyone


def _score(trainer: Trainer, pl_module: LightningModule) -> TrainedScore:
    """The network in training as one that can be sampled from."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    averaged = any(isinstance(c, EMA) for c in trainer.callbacks)  # type: ignore[attr-defined]
    return TrainedScore(
        network=cast(nn.Module, pl_module.network),
        sigmas=cast(Tensor, pl_module.sigmas),
        image_shape=(data.channels, data.image_size, data.image_size),
        config=dict(pl_module.hparams),
        weights="ema" if averaged else "raw",
        step=trainer.global_step,
        condition=cast(Condition | None, getattr(pl_module, "condition", None)),
    )
