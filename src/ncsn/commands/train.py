"""`ncsn train`: one run, or one job of a sweep."""

import logging
import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning import LightningDataModule, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from omegaconf import DictConfig, OmegaConf

from ncsn.checkpoint.reading import check_resumable
from ncsn.commands.arguments import OF_THE_CALL
from ncsn.commands.hints import TRAINER, Built, Name, Node, Seed
from ncsn.config import build, check, require
from ncsn.errors import ConfigError, DataError, Interrupted, UserError, shown
from ncsn.report import refresh_report
from ncsn.runs.folder import Run, global_rank
from ncsn.runs.loggers import build_loggers, finish_dashboards
from ncsn.runs.sweep import write_sweep_table
from ncsn.samplers import Sampler
from ncsn.training import budget, classes, earned, levels
from ncsn.training.budget import resolve_width
from ncsn.training.build import build_callbacks, build_model, plain, try_out
from ncsn.training.continuation import checkpoint_to_resume
from ncsn.training.finite import NotFiniteError

log = logging.getLogger(__name__)

SETTINGS: dict[str, Any] = {
    **dict.fromkeys(("data", "model", "noise", "objective", "optimizer", "scheduler", "sampler", "trainer"), Built),
    "condition": Built | None,
    "logger": Node,
    "callbacks": Node,
    "name": Name,
    "run_root": Name,
    "seed": Seed,
    "resume": bool | str | None,
    "sweep": str | None,
    "optimized_metric": str,
    "compile": bool,
    "trust": list[str],
    **TRAINER,
    "callbacks.checkpoint.filename": Literal["step_{step:07d}"],  # by which checkpoints are found
    "callbacks.checkpoint.auto_insert_metric_name": Literal[False],
}


def train(config: DictConfig) -> float | None:
    """Trains what a composed configuration says, in Hydra's output folder.

    A job of a sweep that finished before is not run again; one that fails is recorded, and the sweep goes on.

    Returns:
        The metric named by `optimized_metric`, which a hyperparameter search minimises.

    Raises:
        UserError: the configuration or the data are not what they should be.
    """
    job = Job.current()
    with nullcontext() if global_rank() else job.run.locked():
        try:
            config = _checked(job.with_compile(job.with_width(config)))
            metrics = job.finished_before(config)
            if metrics is None:
                metrics = _fit(config, job)
                job.report(status="finished", metrics=metrics)
                if global_rank() == 0:
                    log.info(f"finished: {job.run.path}")
                    refresh_report(job.run.path)
        except Exception as error:
            job.report_failure(error)
            raise
        except Interrupted as end:
            job.report_interruption(end)
            raise
        finally:
            finish_dashboards()
    return metrics.get(config.optimized_metric)


@dataclass(frozen=True)
class Job:
    """What Hydra says of this call.

    Attributes:
        run: whose folder is Hydra's output folder.
        in_sweep: it is one of several.
        overrides: of the command line, `key=value`.
        holds_a_run: it has checkpoints or a finished job already, so that what is refused leaves the folder alone.
    """

    run: Run
    in_sweep: bool
    overrides: list[str]
    holds_a_run: bool

    @classmethod
    def current(cls) -> "Job":
        hydra = HydraConfig.get()
        run, in_sweep = Run(Path(hydra.runtime.output_dir)), hydra.mode == RunMode.MULTIRUN
        holds_a_run = (run.result() or {}).get("status") == "finished" if in_sweep else bool(run.checkpoints())
        overrides = OmegaConf.to_container(hydra.overrides.task)  # as typed, with interpolations
        assert isinstance(overrides, list)
        return cls(run, in_sweep, overrides, holds_a_run)

    def with_width(self, config: DictConfig) -> DictConfig:
        """The configuration with a number in place of `model.num_filters=auto`: as found before, or found now.

        It becomes part of the command line, by which the other processes of a run go, and the run when it is resumed.
        """
        if not budget.is_auto(config):
            return resolve_width(config)
        recorded = self._recorded_width(config.resume)
        config = config.copy()
        config.model.num_filters = recorded or config.model.num_filters
        config = resolve_width(config)
        self._add_override(f"model.num_filters={config.model.num_filters}")
        return config

    def with_compile(self, config: DictConfig) -> DictConfig:
        """The configuration with true or false in place of `compile=auto`, which become part of the command line.

        So a run that goes on keeps it; a job of a sweep that was there before keeps what its folder says.
        """
        if not earned.is_auto(config):
            return config
        recorded = self.run.config().get("compile") if self.run.is_recorded else None
        if isinstance(recorded, bool):
            config = config.copy()
            config.compile = recorded
        config = earned.resolve_compile(config)
        self._add_override(f"compile={str(config.compile).lower()}")
        return config

    def _add_override(self, chosen: str) -> None:
        self.overrides.append(chosen)
        if not self.in_sweep:
            sys.argv.append(chosen)

    def _recorded_width(self, resume: bool | str | None) -> int | None:
        """What was found before, for the run that goes on or the job of a sweep that finished; None for a new run."""
        if isinstance(resume, str) and os.path.isfile(resume):
            of, model = resume, check_resumable(Path(resume)).get("model")
        elif self.run.is_recorded:
            of, model = f"{self.run.path}/config.yaml", self.run.config().get("model")
        else:
            return None
        width = model.get("num_filters") if isinstance(model, dict) else None
        if type(width) is not int:
            raise DataError(
                f"{of}: model.num_filters={shown(width)}: expected an integer; give it on the command line"
            )
        return width

    def finished_before(self, config: DictConfig) -> dict[str, float] | None:
        """Metrics of a job of a sweep that finished with this very configuration."""
        result = self.run.result() if self.in_sweep else None
        if result is None or result.get("status") != "finished":
            return None
        if _comparable(self.run.config()) != _comparable(plain(config)):
            raise ConfigError(
                f"{self.run.path} holds a finished job of another configuration; name this sweep: sweep=…"
            )
        log.info(f"finished before, not run again: {self.run.path}")
        return result["metrics"]

    def report(self, **result: Any) -> None:
        """Writes how it ended, and renews the table of its sweep."""
        if global_rank():
            return
        given = dict(o.lstrip("+~").split("=", 1) for o in self.overrides if "=" in o)
        self.run.write_result(overrides={k: v for k, v in given.items() if k not in OF_THE_CALL}, **result)
        if self.in_sweep:
            write_sweep_table(self.run.path.parent)

    def report_interruption(self, end: Interrupted) -> None:
        """Records that a signal ended it, and says how to go on."""
        if self.run.result() is None:
            self.report(status="interrupted", error=end.message)
        newest = self.run.newest_checkpoint()
        if newest is not None:
            end.message += f"; {newest.name} is there to go on from: resume={self.run.path}"

    def report_failure(self, error: Exception) -> None:
        refused = isinstance(error, UserError) and not isinstance(error, NotFiniteError)
        if not (self.holds_a_run and refused):
            self.report(status="failed", error=str(error) if isinstance(error, UserError) else repr(error))


def _checked(config: DictConfig) -> DictConfig:
    """The configuration with values as validated, what the data says of the network, and noise levels in numbers."""
    config = classes.resolve_conditions(check(config, SETTINGS))
    _refuse_endless(config.trainer)
    if levels.is_from_data(config):  # what is refused is refused before the data is read
        stand_in = build_model(levels.with_stand_ins(config))
        try_out(stand_in, build(config.sampler, "sampler"), _shape(config), levels_known=False)
    return check(levels.resolve_levels(config, str(config.trainer.accelerator)), SETTINGS)


def _refuse_endless(trainer: DictConfig) -> None:
    limits = ("max_steps", "max_epochs", "max_time", "fast_dev_run")
    if all(trainer.get(name) in (-1, None, False) for name in limits):
        raise ConfigError(
            f"trainer.max_steps={trainer.max_steps}: nothing ends this training; give trainer.max_steps=…, "
            "trainer.max_epochs=… or trainer.max_time=…"
        )


def _fit(config: DictConfig, job: Job) -> dict[str, float]:
    """Builds everything, trains, and validates at the end.

    Returns:
        The last of all metrics.
    """
    seed_everything(config.seed, workers=True, verbose=False)
    checkpoint = checkpoint_to_resume(job.run, config.resume, plain(config), in_sweep=job.in_sweep)
    model = build_model(config)
    data = require(LightningDataModule, build(config.data, "data"), "data")
    sampler: Sampler = build(config.sampler, "sampler")
    try_out(model, sampler, _shape(config))

    record = LambdaCallback(on_fit_start=partial(_record, config, job))
    callbacks = [*build_callbacks(config, job.run, sampler), record]
    loggers = build_loggers(config.logger, job.run)
    # On a cluster, Lightning goes on with any hpc_ckpt_*.ckpt in this folder, which other processes may not know.
    root = os.devnull if global_rank() else str(job.run.path)
    options: dict[str, Any] = {"callbacks": callbacks, "logger": loggers, "default_root_dir": root}
    trainer = require(Trainer, build(config.trainer, "trainer", **options), "trainer")
    if job.in_sweep:
        _refuse_subprocesses(trainer)

    if trainer.is_global_zero:
        log.info(f"run folder: {job.run.path}" + (f"\nresuming from {checkpoint}" if checkpoint else ""))
    trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
    metrics = dict(trainer.callback_metrics)
    last: Path = trainer.strategy.broadcast(job.run.checkpoint(trainer.global_step))
    if last.is_file() and not _validated_at_the_end(trainer):
        trainer.validate(model, data, ckpt_path=last, verbose=False, weights_only=True)
        metrics |= trainer.callback_metrics
    return {name: float(value) for name, value in metrics.items() if name not in ("loss", "step")}


def _record(config: DictConfig, job: Job, trainer: Trainer, _: LightningModule) -> None:
    """Writes the configuration, when the data is there and nothing is left to be refused."""
    if trainer.is_global_zero:
        job.run.record()
        job.run.record_config(plain(config), job.overrides)


def _shape(config: DictConfig) -> tuple[int, int, int]:
    return config.data.channels, config.data.image_size, config.data.image_size


def _comparable(config: dict[str, Any]) -> dict[str, Any]:
    """What makes a job of a sweep another one: not where its callbacks' classes lie, nor what concerns the call."""
    callbacks = {
        name: node and node | {"_target_": str(node.get("_target_")).rpartition(".")[2]}
        for name, node in config.get("callbacks", {}).items()
    }
    return {k: v for k, v in config.items() if k not in OF_THE_CALL} | {"callbacks": callbacks}


def _validated_at_the_end(trainer: Trainer) -> bool:
    batches = trainer.fit_loop.total_batch_idx + 1  # 0 where other processes did the work
    due = batches > 0 and batches % (trainer.val_check_batch or 1) == 0
    return due and "val/loss" in trainer.callback_metrics  # or a process before this one took the last step


def _refuse_subprocesses(trainer: Trainer) -> None:
    """Lightning's default for several devices starts this command again for each: the whole sweep, on every rank."""
    if isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher) and trainer.num_devices > 1:
        raise ConfigError(
            f"trainer.devices={trainer.num_devices}: the jobs of a multirun cannot start one process per device; "
            "give each job one device (trainer.devices=1), or trainer.strategy=ddp_spawn, or run them one by one"
        )
