"""`speed=auto`: a network is compiled where training is long enough to earn the minutes back that compiling takes."""

import logging
import math

from hydra.utils import get_object
from lightning import Trainer
from omegaconf import DictConfig

from ncsn.config import as_config_error, build, check
from ncsn.data import ImageDataModule
from ncsn.energy import EnergyScore
from ncsn.training import levels
from ncsn.training.budget import refuse_several_processes, seconds_per, training_step
from ncsn.training.build import DIFFERENTIATED_TWICE, build_model
from ncsn.training.classes import resolve_conditions
from ncsn.training.schedules import seconds_of

log = logging.getLogger(__name__)

AUTO = "auto"

LONG_ENOUGH, IN_FLOAT32 = 1800.0, 21600.0
"""Seconds of training, not compiled, from which compiling is earned back. In float32 that is late: compiled, a step
was 1.01 to 1.2 times as fast on a CPU, and nearly twice in bfloat16 (docs/performance.md)."""


def is_auto(config: DictConfig) -> bool:
    """Whether it is still to be decided if a network is compiled."""
    return bool(config.compile == AUTO)


def resolve_compile(config: DictConfig) -> DictConfig:
    """The configuration with true or false in place of `compile=auto`.

    Raises:
        UserError: the configuration or the data are not what they should be.
    """
    if not is_auto(config):
        return config
    refuse_several_processes("compile=auto")
    chosen = config.copy()
    chosen.compile = False
    checked = check(chosen)
    name = checked.objective["_target_"].rpartition(".")[2]
    if name in DIFFERENTIATED_TWICE or issubclass(get_object(checked.model["_target_"]), EnergyScore):
        log.info("compile=false: this network or objective cannot be compiled")
        return chosen
    chosen.compile = True
    enough = IN_FLOAT32 if str(chosen.trainer.precision).startswith("32") else LONG_ENOUGH
    seconds = _seconds_of_training(checked, enough)
    chosen.compile = seconds >= enough
    takes = "has no end" if math.isinf(seconds) else f"takes about {seconds / 60:,.0f} minutes"
    earned = "earns" if chosen.compile else "does not earn"
    log.info(f"compile={str(chosen.compile).lower()}: training {takes}, which {earned} back what compiling takes")
    return chosen


def _seconds_of_training(config: DictConfig, enough: float) -> float:
    """By `trainer.max_time`, and by steps that are timed where this alone does not say that it is short."""
    seconds = math.inf
    if config.trainer.get("max_time") is not None:
        with as_config_error("trainer"):
            seconds = seconds_of(config.trainer.max_time)
    steps = config.trainer.get("max_steps", -1)
    if steps < 1 or seconds < enough:
        return seconds
    config = resolve_conditions(levels.with_stand_ins(config) if levels.is_from_data(config) else config)
    trainer: Trainer = build(config.trainer, "trainer", logger=False, enable_checkpointing=False)
    data: ImageDataModule = build(config.data, "data")
    device = trainer.strategy.root_device
    share = max(1, data.batch_size // trainer.world_size)
    step = training_step(build_model(config).to(device), data, share, device)
    with trainer.precision_plugin.train_step_context():
        return min(seconds, steps * config.trainer.get("accumulate_grad_batches", 1) * seconds_per(step, device))
