"""`ncsn evaluate`: scores of a checkpoint, of a run, of restored images, or of images that are there."""

import logging
import os
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import Field
from torch import distributed

from ncsn.checkpoint import Weights, resolve
from ncsn.commands.hints import DEVICES, Compile, Count, Guidance, Name, Node, Seed
from ncsn.config import build, check
from ncsn.data import ImageDataModule
from ncsn.errors import ConfigError, DataError
from ncsn.evaluation.against import network_against
from ncsn.evaluation.controls import Control
from ncsn.evaluation.drawn import OwnSamples
from ncsn.evaluation.evaluator import Evaluator, Origin, curve_settings
from ncsn.evaluation.features import build_features
from ncsn.evaluation.image_sets import ImageSet, images_of
from ncsn.evaluation.methods import check_restoring, judged
from ncsn.evaluation.scores import ALL, FEWEST, Score
from ncsn.evaluation.scores_of_network import (
    OF_NETWORK,
    add_scores_of_network,
    scores_of_network,
    settings_of_network,
)
from ncsn.evaluation.table import table
from ncsn.files import read_record
from ncsn.likelihood import Projection
from ncsn.report import refresh_report
from ncsn.runs.curve import Curve
from ncsn.runs.folder import Run, is_good
from ncsn.runs.loggers import build_dashboards, finish_dashboards
from ncsn.samplers import num_evaluations
from ncsn.sampling.prepare import build_trainer
from ncsn.sampling.tasks.images import training_data

log = logging.getLogger(__name__)

SAMPLES, SAMPLES_OF_EACH = 50_000, 1_000  # as published; and as the paper chose its checkpoints

SETTINGS: dict[str, Any] = {
    **dict.fromkeys(("features", "data", "sampler", "task", "solver", "trainer", "logger", "bound", "authors"), Node),
    **DEVICES,
    "trainer.logger": bool | None,
    "ckpt": Name | None,
    "samples": Name | None,
    "against": Name | Annotated[list[Name], Field(min_length=1)] | None,
    "num_samples": Count | None,
    "controls": list[Control],
    "num_images": Count | None,
    "guidance": Guidance,
    "reference": Name,
    "scores": Annotated[list[Score | Literal["bits_per_dim", "elbo_bits_per_dim"]], Field(min_length=1)],
    "num_projections": Annotated[int, Field(ge=1, le=10_000)] | None,
    "projection": Projection,
    "batch_size": Count,
    "seed": Seed,
    "weights": Weights,
    "references": Name | None,
    "confirm": bool,
    "compile": Compile,
    "sweep": str | None,
    "trust": list[str],
    "out": Name | None,
}


def evaluate(config: DictConfig) -> dict[str, float]:
    """Scores what a composed configuration names, writes `evaluation.json` beside the samples, and prints a table.

    What was drawn or scored before with the same settings is not done again: `evaluation.json` is the evaluation
    asked for last, and every one is kept in `evaluations/<digest of its protocol>/`.

    Returns:
        The scores by their names, of a run those of its best checkpoint; nothing on processes but the first.

    Raises:
        UserError: the configuration, the checkpoint or the images are not what they should be.
    """
    config = check(config, SETTINGS)
    restores = _task(config) == "Restore"
    _check_combination(config, restores)
    if restores:
        return _of_restored(config)
    if config.samples is not None and config.ckpt is None:
        record = _of_images(config, Path(config.samples).expanduser())
        return {} if record is None else record["scores"]
    run = Run(Path(config.ckpt).expanduser())
    if config.samples is not None or not run.checkpoints():
        path = resolve(config.ckpt)
        record = _of_checkpoint(config, path, config.num_samples or SAMPLES)
        if record is None:
            return {}
        _publish(config, Run.of(path), [record] if config.samples is None else [])
        return record["scores"]
    return _of_run(config, run)


def _of_images(config: DictConfig, path: Path) -> dict[str, Any] | None:
    """The record of samples that are there, ours or somebody else's."""
    data = _data(config)
    images = images_of(path, None if data is None else data.channels)
    evaluator = _evaluator(config, data)
    settings = _drawn(images)
    evaluator.try_out(images.shape, len(images), (settings or {}).get("task"))
    if config.out is not None:
        folder = Path(config.out)
    elif settings is not None:
        folder = images.path.parent
    else:
        beside = Path(os.path.abspath(path))
        folder = beside.with_name(f"{beside.name if beside.is_dir() else beside.stem}_evaluation")
    return _printed(evaluator(images, folder, Origin(settings)), folder / "evaluation.json")


def _of_checkpoint(config: DictConfig, path: Path, num_samples: int) -> dict[str, Any] | None:
    """The record of samples of a checkpoint, drawn unless they are there, and of the likelihoods that it gives."""
    if OF_NETWORK.keys() >= set(config.scores):
        record, files = scores_of_network(config, path)
        return _printed(record, *files)
    own = OwnSamples.of(config, path, num_samples, config.out)
    score, sampler = own.prepared.score, own.prepared.sampler
    against = None if config.against is None else network_against(config, score)
    evaluator = _evaluator(config, _data(config) or training_data(score))
    evaluator.try_out(score.image_shape, num_samples, own.task.identity)
    start = time.perf_counter()
    images, folder = own.draw(), own.folder
    seconds = {"sampling": time.perf_counter() - start}
    # Evaluations of an energy come on top, and are not counted.
    levels, has_energy = len(score.sigmas), getattr(sampler, "needs_energy", False)
    twice = 1 if config.guidance in (0, 1) else 2  # given the label, and given nothing
    evaluations = None if has_energy else twice * num_evaluations(sampler, levels)
    record = evaluator(images, folder.path, Origin(_drawn(images), score, evaluations), against, seconds)
    record = add_scores_of_network(record, config, path, folder.path)
    return _printed(record, folder.path / "evaluation.json")


def _of_restored(config: DictConfig) -> dict[str, float]:
    """Images that the newest checkpoint has restored, beside those of other methods."""
    path = resolve(config.ckpt)
    record, folder = judged(config, path)
    if record is None:
        return {}
    _printed(record, folder / "evaluation.json")
    _publish(config, Run.of(path), [record])
    return record["scores"]


def _of_run(config: DictConfig, run: Run) -> dict[str, float]:
    """Every checkpoint of a run: the curve of their scores, and a link to the best."""
    curve = Curve.read(run)
    records: list[dict[str, Any]] = []
    diverged: ConfigError | None = None
    good = [path for path in run.checkpoints() if is_good(path)]
    for path in run.checkpoints():
        if path not in good:
            log.warning(f"{path}: damaged, its checksum is of other content; it has no scores")
            continue
        try:
            record = _of_checkpoint(config, path, config.num_samples or SAMPLES_OF_EACH)
        except ConfigError as error:
            if not isinstance(error.__cause__, ArithmeticError) or distributed.is_initialized():
                raise
            diverged = error
            log.warning(f"{path.name}: no scores; {error}")  # a young network's; no reason to leave out the others
            continue
        if record is not None:
            records.append(record)
            settings = settings_of_network if OF_NETWORK.keys() >= set(config.scores) else curve_settings
            curve.add(path, record["scores"], settings(record["protocol"]))
    if not records and diverged is not None:
        raise ConfigError(f"{run.path}: no checkpoint has scores; {diverged}") from diverged
    if not good:
        raise DataError(f"{run.path}: every checkpoint is damaged; restore one, or train again")
    if not records:  # not the first process
        return {}
    print(f"\n{curve}")
    _publish(config, run, records)
    return curve.best["scores"]


def _data(config: DictConfig) -> ImageDataModule | None:
    """The data set named; None for that of the checkpoint, or none at all."""
    if config.data.get("_target_") is not None:
        data: ImageDataModule = build(config.data, "data")
        return data
    if config.samples is not None and config.reference in ("train", "val"):
        raise ConfigError(
            "data: samples=… are compared with a data set, say data=cifar10; or give reference=<folder or npz>"
        )
    return None


def _evaluator(config: DictConfig, data: ImageDataModule | None) -> Evaluator:
    # Samples are drawn as precisely as the user says, features always computed in full precision.
    trainer = build_trainer(config.trainer, precision="32-true")
    if data is not None:
        data.prepare_data()
    network = build_features(config.features, data)
    root = (config.data.get("root") or "data") if data is None else data.root
    kept = Path(config.references or Path(root, "references")).expanduser()
    options: dict[str, Any] = {"batch_size": config.batch_size, "seed": config.seed}
    scores = [score for score in config.scores if score not in OF_NETWORK]
    return Evaluator(trainer, network, config.reference, scores, data=data, kept=kept, **options)


def _publish(config: DictConfig, run: Run | None, records: list[dict[str, Any]]) -> None:
    """Sends scores of a run's checkpoints to its dashboards, and renews its report."""
    if run is None or not run.is_recorded:
        if config.logger:
            log.warning("logger: the checkpoint lies in no folder of a run; the scores go to no dashboard")
        return
    try:
        for logger in build_dashboards(config.logger, run, evaluation=True):
            for record in records:
                step = record["checkpoint"]["step"]
                logger.log_metrics({f"eval/{name}": value for name, value in record["scores"].items()}, step)
            logger.finalize("success")
    finally:
        finish_dashboards()
    refresh_report(run.path)


def _task(config: DictConfig) -> str:
    """Generate or Restore."""
    name = str(config.task["_target_"]).rpartition(".")[2]
    if name not in ("Generate", "Restore"):
        raise ConfigError(f"task: {name} has no scores; those with scores are task=generate and task=restore")
    return name


def _check_combination(config: DictConfig, restores: bool) -> None:
    """Refuses settings that do not go together."""
    if restores:
        check_restoring(config)
        return
    if config.features.get("_target_") is None:
        raise ConfigError("features=none: goes with task=restore; samples are scored by their features alone")
    of_network = [score for score in config.scores if score in OF_NETWORK]
    alone = of_network == list(config.scores)
    if (config.ckpt is None) == (config.samples is None) and not (alone and config.ckpt):
        raise ConfigError("ckpt, samples: give one of them, ckpt=<checkpoint or run's folder> or samples=<images>")
    usual = {"num_samples": None, "against": None, "label": None, "guidance": 1.0}
    for key, value in usual.items() if config.ckpt is None else ():
        if config[key] != value:
            raise ConfigError(f"{key}={config[key]}: goes with ckpt=…; of samples=… all are scored")
    if config.ckpt is None and of_network:
        raise ConfigError(
            f"scores={list(config.scores)}: {of_network[0]} is of a network; give ckpt=… beside samples=…, and "
            f"scores=[{','.join(of_network)}] alone"
        )
    for key in ("data._target_", "num_images") if config.ckpt is not None and config.samples is not None else ():
        if OmegaConf.select(config, key) is not None:
            raise ConfigError(f"{key.partition('.')[0]}: does not go with samples=…, of which all are scored")
    if alone and config.against is not None:
        raise ConfigError(f"against={config.against}: compares held-out losses; {of_network[0]} has none")
    known = " or ".join(f"scores=[{score}]" for score in OF_NETWORK)
    if config.controls and not of_network:
        raise ConfigError(f"controls={list(config.controls)}: goes with {known}")
    if config.num_images is not None and not of_network:
        raise ConfigError(f"num_images={config.num_images}: goes with task=restore and {known}")
    if config.num_samples is not None and config.num_samples < FEWEST:
        raise ConfigError(f"num_samples={config.num_samples}: must be at least {FEWEST}")
    if config.against is not None and not isinstance(config.against, str):
        raise ConfigError(f"against={list(config.against)}: give one checkpoint; several go with task=restore")
    if config.ckpt is not None and Run(Path(config.ckpt).expanduser()).checkpoints():
        if config.out is not None:
            raise ConfigError(
                f"out={config.out}: each checkpoint of a run has a folder of its own; leave it out, or give one "
                "checkpoint"
            )
        if "frechet" not in config.scores and not alone:
            raise ConfigError(
                f"scores={list(config.scores)}: the best checkpoint is chosen by frechet, which is missing "
                f"(of {', '.join(ALL)}), or by {' or '.join(OF_NETWORK)} on its own"
            )


def _drawn(images: ImageSet) -> dict[str, Any] | None:
    """How samples of ours were drawn; None of others."""
    if images.path.name not in ("samples.npz", "images"):
        return None
    settings = read_record(images.path.parent / "settings.json")
    needed = {"checkpoint", "sha256", "weights", "seed", "batch_size", "precision", "sampler"}
    return settings if settings is not None and needed <= settings.keys() else None


def _printed(record: dict[str, Any] | None, *files: Path) -> dict[str, Any] | None:
    if record is not None:
        print(table(record, *files))
    return record
