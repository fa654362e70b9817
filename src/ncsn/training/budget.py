"""`model.num_filters=auto`: a network as wide as `trainer.max_time` allows on this machine.

A wider network learns more from an image and sees fewer of them in the same time. The width chosen is the
largest with which training still sees enough images, counted from steps that were timed on this machine.
"""

import logging
import os
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from lightning import Trainer
from omegaconf import DictConfig

from ncsn.config import as_config_error, build, check
from ncsn.data import Batch, ImageDataModule
from ncsn.errors import ConfigError
from ncsn.random import Draws
from ncsn.runs.folder import global_rank
from ncsn.training.build import build_model
from ncsn.training.classes import resolve_conditions
from ncsn.training.module import ScoreModel
from ncsn.training.schedules import seconds_of

log = logging.getLogger(__name__)

AUTO = "auto"
WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Filters that are tried, from the fewest."""

IMAGES_PER_PARAMETER = 0.15
"""What training sees at least: a choice, by which twenty minutes of a slow core on MNIST get 16 filters."""


class Timing(NamedTuple):
    """A width, and what came of timing it.

    Attributes:
        num_filters: the width.
        parameters: of the network.
        images: that training sees in its time, over all devices.
    """

    num_filters: int
    parameters: int
    images: float

    @property
    def suffices(self) -> bool:
        """Whether training sees enough images."""
        return self.images >= IMAGES_PER_PARAMETER * self.parameters


def is_auto(config: DictConfig) -> bool:
    """Whether the width of a configuration's network is still to be chosen."""
    return bool(config.model.get("num_filters") == AUTO)


def resolve_width(config: DictConfig) -> DictConfig:
    """The configuration with numbers in place of `model.num_filters=auto` and `model.multipliers=auto`.

    Raises:
        UserError: the configuration or the data are not what they should be.
    """
    chosen = config.copy()
    if chosen.model.get("multipliers") == AUTO:
        size = chosen.data.image_size  # which `check` refuses by name where it is no size
        chosen.model.multipliers = multipliers_for(size) if isinstance(size, int) else [1]
    if not is_auto(chosen):
        return chosen
    refuse_several_processes("model.num_filters=auto")
    chosen.model.num_filters = WIDTHS[0]
    checked = resolve_conditions(check(chosen))
    with as_config_error("model.num_filters=auto"):
        seconds = seconds_of(checked.trainer.max_time)
    chosen.model.num_filters = _widest(checked, seconds).num_filters
    return chosen


def refuse_several_processes(key: str) -> None:
    """Raises ConfigError where a launcher has started all processes of a run, who would not agree on a choice."""
    if global_rank() or int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1) > 1:
        raise ConfigError(
            f"{key}: is found out by one process, before it starts the others; start this without torchrun or "
            "SLURM's tasks, or give a value"
        )


def multipliers_for(image_size: int) -> list[int]:
    """Channels by resolution: three halvings at most, down to 4 pixels at least."""
    halvings, size = 0, image_size
    while halvings < 3 and size % 2 == 0 and size >= 8:
        halvings, size = halvings + 1, size // 2
    return [1, 2, 4, 4][: halvings + 1]


def _widest(config: DictConfig, seconds: float) -> Timing:
    """The widest network that sees enough images, or else the narrowest; compiled it sees more of them."""
    config.compile = False  # which would take minutes for each width
    trainer: Trainer = build(config.trainer, "trainer", logger=False, enable_checkpointing=False)
    devices, device = trainer.world_size, trainer.strategy.root_device
    data: ImageDataModule = build(config.data, "data")
    data.prepare_data()
    data.setup()
    share = max(1, data.batch_size // devices)
    log.info(f"model.num_filters=auto: timing steps of {share} images on {device}")
    best: Timing | None = None
    for width in WIDTHS:
        config.model.num_filters = width
        try:
            model = build_model(config).to(device)
            step = training_step(model, data, share, device)
            with trainer.precision_plugin.train_step_context():
                images = seconds / seconds_per(step, device) * share * devices
        except torch.OutOfMemoryError:
            break
        found = Timing(width, sum(p.numel() for p in model.network.parameters()), images)
        log.info(f"  {width:3} filters, {found.parameters:11,} parameters: {images:13,.0f} images")
        if best is not None and not found.suffices:
            break
        best = found
    if best is None:
        raise ConfigError(f"data.batch_size={data.batch_size}: too many for the memory of {device}")
    log.info(f"model.num_filters={best.num_filters}: the widest with {IMAGES_PER_PARAMETER} images per parameter")
    return best


def training_step(model: ScoreModel, data: ImageDataModule, batch: int, device: torch.device) -> Callable[[], object]:
    """One step of training on images that cost nothing."""
    optimizer = model.make_optimizer(model.network.parameters())
    x = torch.rand(batch, data.channels, data.image_size, data.image_size, device=device)
    sigma = model.sigmas[torch.arange(batch, device=device) % len(model.sigmas)]
    labels = torch.zeros(batch, dtype=torch.int64, device=device)
    images = Batch(x, 0, labels, damaged=x if data.paired else None)

    def step() -> None:
        optimizer.zero_grad()
        score = model.score_for(images, Draws(0, device=device))
        model.objective(score, x, sigma).mean().backward()
        optimizer.step()

    return step


def seconds_per(step: Callable[[], object], device: torch.device) -> float:
    """The median of a second's steps, three at least, after one to warm up."""
    taken: list[float] = []
    while len(taken) < 4 or sum(taken[1:]) < 1:
        start = time.monotonic()
        step()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        taken.append(time.monotonic() - start)
    return statistics.median(taken[1:])
