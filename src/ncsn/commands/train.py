"""One training run: data, network, callbacks, loggers, trainer, fit."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import torch
import wandb
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning import LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, LambdaCallback
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from ncsn.checkpoint.reading import check_resumable
from ncsn.config import build, check, told_to_the_user
from ncsn.errors import ConfigError, UserError
from ncsn.files import write_text
from ncsn.networks.compiled import compile_in_place
from ncsn.report import refresh_report
from ncsn.runs.folder import (
    global_rank,
    newest_checkpoint,
    read_result,
    write_result,
)
from ncsn.runs.loggers import build_loggers
from ncsn.runs.sweep import write_sweep_table
from ncsn.samplers import Sampler
from ncsn.samplers.metropolis import energy_of
from ncsn.training import levels
from ncsn.training.module import ScoreModel

log = logging.getLogger(__name__)


def train(config: DictConfig) -> float | None:
    """Trains what a composed configuration says, in Hydra's output folder.

    A job of a sweep that finished before is not run again; one that fails is recorded, and the sweep goes on.

    Returns:
        The metric named by `optimized_metric`, which a hyperparameter search minimises.

    Raises:
        UserError: the configuration or the data are not what they should be.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    overrides = dict(o.lstrip("+~").split("=", 1) for o in HydraConfig.get().overrides.task if "=" in o)
    report = partial(_report, folder, in_sweep, {k: v for k, v in overrides.items() if k not in ("sweep", "resume")})
    holds_a_run = not in_sweep and newest_checkpoint(folder) is not None  # what is refused leaves it alone
    try:
        check(config)
        if levels.is_from_data(config):
            _try_out(levels.with_stand_ins(config))  # what is refused is refused before the data is read
        config = levels.in_numbers(config, str(config.trainer.accelerator))
        resolved = check(config)
    except UserError as error:
        if not holds_a_run:
            report(status="failed", error=str(error))
        raise
    if in_sweep and (metrics := _finished_before(folder, resolved)) is not None:
        log.info(f"finished before, not run again: {folder}")
        return metrics.get(config.optimized_metric)
    try:
        metrics = _train(config, resolved, folder, in_sweep)
    except Exception as error:
        if not (holds_a_run and isinstance(error, ConfigError)):
            report(status="failed", error=str(error) if isinstance(error, UserError) else repr(error))
        raise
    finally:
        wandb.finish()  # or the next job of a sweep would write into this one's run
    report(status="finished", metrics=metrics)
    if global_rank() == 0:
        log.info(f"finished: {folder}")
        refresh_report(folder)
    return metrics.get(config.optimized_metric)


def _train(config: DictConfig, resolved: dict[str, Any], folder: Path, in_sweep: bool) -> dict[str, float]:
    seed_everything(config.seed, workers=True, verbose=False)
    checkpoint = _checkpoint_to_resume(config.resume, folder, in_sweep)
    if checkpoint is not None:
        _check_same_model(folder / "config.yaml", resolved)

    model, data, sampler = _try_out(config)
    record = partial(_record, folder, resolved, list(HydraConfig.get().overrides.task))
    callbacks = [*build_callbacks(config, folder, sampler), LambdaCallback(on_fit_start=record)]
    loggers = build_loggers(config, folder)
    trainer: Trainer = build(config.trainer, "trainer", callbacks=callbacks, logger=loggers)
    if in_sweep:
        _refuse_subprocesses(trainer)

    if trainer.is_global_zero:
        log.info(f"run folder: {folder}" + (f"\nresuming from {checkpoint}" if checkpoint else ""))
    trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
    metrics = dict(trainer.callback_metrics)
    last = newest_checkpoint(folder)
    if last is not None and not _validated_at_the_end(trainer):
        trainer.validate(model, data, ckpt_path=last, verbose=False, weights_only=True)
        metrics |= trainer.callback_metrics
    return {name: float(value) for name, value in metrics.items() if name not in ("loss", "step")}


def _try_out(config: DictConfig) -> tuple[ScoreModel, LightningDataModule, Sampler]:
    """What is built without data, and what the objective refuses of such images, or the sampler of this network."""
    model = build_model(config, check(config))
    data: LightningDataModule = build(config.data, "data")
    sampler: Sampler = build(config.sampler, "sampler")
    if config.compile not in (True, False):
        raise ConfigError(f"compile={config.compile}: must be true or false")
    if config.compile:
        if config.objective["_target_"].rpartition(".")[2] in ("SlicedScoreMatching", "exact_score_matching"):
            raise ConfigError(
                "compile=true: what is compiled is not differentiated twice; take objective=dsm, or compile=false"
            )
        with told_to_the_user("compile=true"):
            compile_in_place(model.network)
    image = torch.zeros(1, config.data.channels, config.data.image_size, config.data.image_size)
    with told_to_the_user("objective"):
        model.objective(_StandIn(model.network), image, model.sigmas[:1], normal=torch.zeros_like)
    with told_to_the_user("sampler"):
        if getattr(sampler, "needs_energy", False):
            energy_of(model.network, sampler)
    return model, data, sampler


class _StandIn:
    """A score that costs nothing, with what an objective may refuse of the network it stands for."""

    def __init__(self, network: nn.Module) -> None:
        self.checkpointing = getattr(network, "checkpointing", False)

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return -x


def _record(
    folder: Path, resolved: dict[str, Any], overrides: list[str], trainer: Trainer, _: LightningModule
) -> None:
    """Writes the configuration, when the data is there and nothing is left to be refused."""
    if trainer.is_global_zero:
        write_text(folder / "config.yaml", yaml.safe_dump(resolved, sort_keys=False))
        write_text(folder / "overrides.yaml", yaml.safe_dump(overrides))


def _validated_at_the_end(trainer: Trainer) -> bool:
    batches = trainer.fit_loop.total_batch_idx + 1  # 0 where other processes did the work
    return batches > 0 and batches % (trainer.val_check_batch or 1) == 0


def build_model(config: DictConfig, resolved: dict[str, Any]) -> ScoreModel:
    """Noise levels, network, objective and optimiser of a configuration, as one module that carries it."""
    sigmas = build(config.noise, "noise")
    # Lightning asks for these after the data; here they are built once for their ranges.
    now = {key: OmegaConf.create(resolved[key] | {"_partial_": False}) for key in ("optimizer", "scheduler")}
    build(now["scheduler"], "scheduler", optimizer=build(now["optimizer"], "optimizer", params=[torch.zeros(1)]))
    return ScoreModel(
        network=build(config.model, "model", sigmas=sigmas),
        sigmas=sigmas,
        objective=build(config.objective, "objective"),
        optimizer=build(config.optimizer, "optimizer"),
        scheduler=build(config.scheduler, "scheduler"),
        seed=config.seed,
        config=resolved,
    )


def build_callbacks(config: DictConfig, folder: Path, sampler: Sampler) -> list[Callback]:
    """The callbacks of a configuration; one set to null is left out, and the bar where the trainer shows none."""
    callbacks = []
    for name, node in config.callbacks.items():
        if node is None or (name == "progress" and not config.trainer.get("enable_progress_bar", True)):
            continue
        arguments: dict[str, Any] = {}
        if name == "checkpoint":
            arguments["dirpath"] = str(folder / "checkpoints")
        elif name == "samples":
            arguments = {"sampler": sampler, "folder": folder / "pictures"}
        elif name == "selection":
            arguments = {"sampler": sampler, "folder": folder}
        callbacks.append(build(node, f"callbacks.{name}", **arguments))
    return callbacks


def _finished_before(folder: Path, resolved: dict[str, Any]) -> dict[str, float] | None:
    """Metrics of a job that finished with this very configuration."""
    result = read_result(folder)
    if result is None or result["status"] != "finished":
        return None
    if yaml.safe_load((folder / "config.yaml").read_text()) | {"resume": None} != resolved | {"resume": None}:
        raise ConfigError(f"{folder} holds a finished job of another configuration; name this sweep: sweep=…")
    return result["metrics"]


def _report(folder: Path, in_sweep: bool, overrides: dict[str, str], **result: Any) -> None:
    if global_rank() == 0:
        write_result(folder, overrides=overrides, **result)
        if in_sweep:
            write_sweep_table(folder.parent)


def _checkpoint_to_resume(resume: bool | str | None, folder: Path, in_sweep: bool) -> Path | None:
    if isinstance(resume, str) and Path(resume).is_file():
        check_resumable(Path(resume))
        return Path(resume)
    checkpoint = newest_checkpoint(folder)
    if not resume and checkpoint is not None and not in_sweep:
        raise ConfigError(f"hydra.run.dir={folder}: holds a run already; go on with it (resume=true) or name another")
    if checkpoint is None and isinstance(resume, str):
        raise ConfigError(f"resume={resume}: holds no checkpoint (checkpoints/step_*.ckpt); start it again without")
    return checkpoint


def _check_same_model(path: Path, resolved: dict[str, Any]) -> None:
    """A checkpoint continues only with the network and the noise levels it was trained with."""
    if not path.is_file():
        return
    before = yaml.safe_load(path.read_text())
    for group in ("model", "noise"):
        for key in before[group].keys() | resolved[group].keys():
            old, new = before[group].get(key), resolved[group].get(key)
            if old != new:
                raise ConfigError(f"{group}.{key}={new}: the run to resume has {old}; leave it, or start a new run")


def _refuse_subprocesses(trainer: Trainer) -> None:
    """Lightning's default for several devices starts this command again for each: the whole sweep, on every rank."""
    if isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher) and trainer.num_devices > 1:
        raise ConfigError(
            f"trainer.devices={trainer.num_devices}: the jobs of a multirun cannot start one process a device; "
            "give each job one device (trainer.devices=1), or trainer.strategy=ddp_spawn, or run them one by one"
        )
