"""Choosing a checkpoint while training, as the paper did: by the Fréchet distance of a few samples of each."""

import logging
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ncsn.damage import Damage
from ncsn.data import ImageDataModule
from ncsn.errors import ConfigError
from ncsn.evaluation.by_class import drawn_for
from ncsn.evaluation.classifier import Classifier
from ncsn.evaluation.efficientnet import EfficientNet
from ncsn.evaluation.features import FeatureNetwork, Features, extract
from ncsn.evaluation.inception import Inception
from ncsn.evaluation.reference import Reference
from ncsn.evaluation.scores import compute_scores
from ncsn.images import to_uint8
from ncsn.runs.curve import Curve
from ncsn.runs.folder import Run
from ncsn.samplers import DivergedError, Sampler
from ncsn.training.checkpoints import Checkpoints
from ncsn.training.drawing import draw_while_training, gather, task_while_training
from ncsn.training.ema import EMA

log = logging.getLogger(__name__)


class SelectBest(Callback):
    """Scores every checkpoint on samples of the averaged weights, and keeps `checkpoints/best.ckpt` at the best.

    The samples are drawn before the next step and shared out over devices; which they are does not depend on the
    number of devices. They are compared with the training images; the curve is in `<run>/evaluation/curve.json`.
    `evaluate.py` scores the same way afterwards, and draws the same samples with the same seed and batch size.

    Args:
        sampler: draws.
        folder: of the run.
        features: "inception", for the FID, "efficientnet", or "classifier", for a data set with labels.
        weights_path: of Inception's weights.
        num_samples: scored at each checkpoint; the paper's 1,000.
        batch_size: drawn at a time on a device; part of what decides the samples.
        seed: of the chains.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        sampler: Sampler,
        folder: str | Path,
        *,
        features: Literal["inception", "efficientnet", "classifier"] = "inception",
        weights_path: str | None = None,
        num_samples: int = 1000,
        batch_size: int = 256,
        seed: int = 0,
    ) -> None:
        for key, value, least in (("num_samples", num_samples, 20), ("batch_size", batch_size, 1)):
            if value < least:
                raise ValueError(f"{key}={value}: must be at least {least}")
        if features not in ("inception", "efficientnet", "classifier"):
            raise ValueError(f"features={features}: must be inception, efficientnet or classifier")
        self.sampler, self.run, self.features, self.weights_path = sampler, Run(Path(folder)), features, weights_path
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed
        self.due: int | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Makes what is needed, before any training is spent on what cannot be scored."""
        if isinstance(getattr(pl_module, "condition", None), Damage):
            raise ConfigError("callbacks.selection: scores new images, and this network restores damaged ones")
        # Where there is none Lightning has one of its own, whose files are named otherwise.
        if not isinstance(trainer.checkpoint_callback, Checkpoints):
            raise ConfigError("callbacks.selection: chooses among checkpoints, and callbacks.checkpoint is null")
        if trainer.precision not in ("32-true", "16-mixed", "bf16-mixed"):
            raise ConfigError(
                f"callbacks.selection: draws in float32, not with trainer.precision={trainer.precision}"
            )
        data: ImageDataModule = trainer.datamodule  # type: ignore[attr-defined]
        first = trainer.is_global_zero
        if not first:
            gather(trainer, None)  # the first process makes what the others read
        try:
            self.network = self._features(data, pl_module.device)
            if first:
                kept = Path(data.root, "references")
                self.reference = Reference.of(data, "train", self.network, kept, device=pl_module.device)
        finally:
            if first:
                gather(trainer, None)

    def _features(self, data: ImageDataModule, device: torch.device) -> FeatureNetwork:
        if self.features == "inception":
            return Inception(self.weights_path)
        if self.features == "efficientnet":
            return EfficientNet()
        return Classifier.for_data(data, device=device)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.resumed = step = trainer.global_step
        scored = [c["step"] for c in Curve.read(self.run).checkpoints]
        if step not in scored and self.run.checkpoint(step).is_file():  # the run ended before it was scored
            self.due = step

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.due = trainer.global_step  # the file is not there yet

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._score(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._score(trainer, pl_module)

    def _score(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.due is None:
            return
        step, self.due = self.due, None

        def features(x: Tensor) -> Features:
            return extract(self.network, [torch.from_numpy(to_uint8(x)).permute(0, 3, 1, 2)], pl_module.device)

        options = {"num_samples": self.num_samples, "batch_size": self.batch_size, "seed": self.seed}
        try:
            batches = draw_while_training(trainer, pl_module, self.sampler, features, **options)
        except DivergedError as error:  # a young network's; no reason to end its training
            if trainer.is_global_zero:
                log.warning(f"no score at step {step}: {error}")
            return
        finally:
            self.network.cpu()
        if batches:  # the first process
            samples = Features(torch.cat([b.features for b in batches]), torch.cat([b.logits for b in batches]))
            self._record(step, samples, trainer, pl_module)

    def _record(self, step: int, samples: Features, trainer: Trainer, pl_module: LightningModule) -> None:
        scores = compute_scores(samples, self.reference, which=["frechet"], device=pl_module.device)
        best = Curve.read(self.run).add(self.run.checkpoint(step), scores, self._settings(trainer, pl_module))
        # Of what a resumed run logs, the first step is taken for the first that is repeated.
        for logger in trainer.loggers if step != self.resumed else []:
            logger.log_metrics({f"eval/{name}": value for name, value in scores.items()} | {"step": step}, step)
        (name, value), *_ = scores.items()
        log.info(f"step {step}: {name} {value:.5g}{', the best so far' if best else ''}")

    def _settings(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What the scores depend on beside the checkpoint, as `evaluate.py` says it."""
        averaged = any(isinstance(c, EMA) for c in trainer.callbacks)  # type: ignore[attr-defined]
        task = task_while_training(trainer, pl_module, self.sampler, self.num_samples)
        return drawn_for(task.identity) | {
            "weights": "ema" if averaged else "raw",
            "seed": self.seed,
            "batch_size": min(self.batch_size, self.num_samples),
            "precision": "32-true",
            "sampler": pl_module.hparams["sampler"],
            "features": self.network.checksum,
            "reference": self.reference.key["images"],
        }
