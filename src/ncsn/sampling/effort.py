"""How much time and disk drawing takes: told, and to be confirmed, before much of either is spent."""

import math
import shutil
import time
from pathlib import Path

from lightning import Trainer
from torch.compiler import set_stance

from ncsn.config import as_config_error
from ncsn.errors import ConfigError
from ncsn.sampling.prepare import first_step
from ncsn.sampling.tasks import Encode, Task

MOST_SECONDS = 24 * 3600.0

_FEW_STEPS = 1_000_000  # of all chains together: not worth a measurement
_CHAINS_TIMED = {"cpu": 8}  # beside more of them none of these would be quicker
_CHAINS_TIMED_ELSEWHERE = 256


def check_effort(task: Task, trainer: Trainer, place: Path, *, batch_size: int, confirm: bool) -> None:
    """Refuses what would take more than a day, or more than the free disk, unless that is confirmed.

    Args:
        task: what is to be drawn.
        trainer: its devices and precision are used.
        place: where samples go, or a file beside; it need not be there yet.
        batch_size: of each device.
        confirm: it is meant.

    Raises:
        ConfigError: with the time and the disk that it takes, and how to confirm it.
    """
    if confirm:
        return
    size, free = bytes_of(task), shutil.disk_usage(_there(place)).free
    steps = task.num_chains * task.num_steps
    seconds = steps * _seconds_per_step(task, trainer, batch_size) / trainer.world_size if steps > _FEW_STEPS else 0.0
    if seconds <= MOST_SECONDS and size <= free:
        return
    raise ConfigError(
        f"{task.num_chains:,} samples of {task.num_steps:,} steps take {_duration(seconds)}{size / 1e9:,.3g} GB of "
        f"disk, of which {free / 1e9:,.3g} GB are free; if that is meant, say confirm=true"
    )


def bytes_of(task: Task) -> int:
    """What samples take on disk: batches, and all of them put together."""
    each = math.prod(task.image_shape)
    return task.num_chains * each * (2 + (12 if isinstance(task, Encode) else 0))


def _seconds_per_step(task: Task, trainer: Trainer, batch_size: int) -> float:
    """Of one chain, timed in its first step beside others."""
    device = trainer.strategy.root_device
    chains = min(_CHAINS_TIMED.get(device.type, _CHAINS_TIMED_ELSEWHERE), batch_size, task.num_chains)
    task.score.network.to(device)
    with trainer.precision_plugin.forward_context(), set_stance("force_eager"), as_config_error(task.driver):
        first_step(task, chains, device).sum().item()  # waits for the device
        start = time.perf_counter()
        first_step(task, chains, device).sum().item()
    return (time.perf_counter() - start) / chains


def _duration(seconds: float) -> str:
    if not seconds:
        return ""
    days = seconds / (24 * 3600)
    return f"about {days:,.3g} days and " if days < 1000 else f"about {days / 365:,.3g} years and "


def _there(place: Path) -> Path:
    """The nearest folder above a place that exists."""
    return next(parent for parent in place.absolute().parents if parent.is_dir())
