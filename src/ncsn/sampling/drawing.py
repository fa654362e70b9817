"""The one loop that draws: batches of chains by their numbers, on one device or shared out over several.

What a batch holds depends on the task, its number and size, and the seed alone, whoever draws it. So samples drawn
while training, by `sample.py` and by `evaluate.py` are the same, on any number of devices, and an interrupted call
goes on with the batches that are missing.
"""

import logging
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from ncsn.config import as_config_error
from ncsn.networks.compiled import constant_weights
from ncsn.random import Draws
from ncsn.samplers import State
from ncsn.sampling.folder import Format, SampleFolder
from ncsn.sampling.tasks import Task

log = logging.getLogger(__name__)

TRAJECTORY_IMAGES = 8


def batches_of(task: Task, batch_size: int) -> list[range]:
    """The chains of each batch, by their numbers; those that belong together in one."""
    size = max(batch_size // task.together, 1) * task.together
    return [range(start, min(start + size, task.num_chains)) for start in range(0, task.num_chains, size)]


def steps(task: Task, chains: range, draws: Draws) -> Iterator[tuple[Tensor, State | None]]:
    """The chains of these numbers (B, C, H, W): at their start, with None, and after every step, with its state.

    Args:
        task: what is drawn; its network is on the device of `draws`.
        chains: see `batches_of`.
        draws: every random value comes from there.

    Raises:
        DivergedError, ValueError, TypeError: see `draw`.
    """
    x = task.start(chains, draws)
    yield x, None
    score, sigmas = task.score_of(chains, draws), task.score.sigmas.to(draws.device)
    for state in task.sampler_of(chains, draws)(score, x, sigmas, normal=draws.normal):
        x = state.x
        yield x, state


def draw(
    task: Task,
    *,
    batch_size: int,
    seed: int,
    device: torch.device | str = "cpu",
    numbers: Iterable[int] | None = None,
    watch: Callable[[Tensor, State | None], None] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Draws batches of a task, one after the other.

    Args:
        task: what is drawn; its network is on `device`.
        batch_size: chains per batch, at most.
        seed: of all random numbers.
        device: where the chains are.
        numbers: which batches; None for all.
        watch: called with x (B, C, H, W) and None at the start of a batch, and with x and the state after every step.

    Yields:
        The number of a batch and its images (B, C, H, W), values around [0, 1].

    Raises:
        DivergedError: chains diverged.
        ValueError, TypeError: the sampler refuses the network or its noise levels.
    """
    batches = batches_of(task, batch_size)
    for number in range(len(batches)) if numbers is None else numbers:
        for x, state in steps(task, batches[number], Draws(seed, "sample", number, device=device)):
            if watch is not None:
                watch(x, state)
        yield number, x


def draw_into(
    folder: SampleFolder,
    task: Task,
    trainer: Trainer,
    *,
    batch_size: int,
    seed: int,
    format: Format = "npz",
    frames: int = 0,
) -> None:
    """Draws the batches that a folder lacks, shared out over a trainer's devices, and puts all of them together.

    Args:
        folder: where they go.
        task: what is drawn.
        trainer: its devices and precision are used.
        batch_size, seed: see `draw`.
        format: of the samples put together.
        frames: so many frames of the first chains are kept as a strip and a GIF; the first batch is then drawn even
            if it is there.

    Raises:
        ConfigError: the sampler refuses the network, or chains diverged.
    """
    drawing = Drawing(task, folder, batch_size, seed, frames)
    with folder.locked() if trainer.is_global_zero else nullcontext():
        # Several processes have to agree on what is missing, and may not have been started yet.
        missing = trainer.world_size > 1 or bool(drawing.missing())
        if missing:
            trainer.predict(drawing, return_predictions=False)
            trainer.strategy.barrier("drawn")  # before the first process puts the batches of all together
        else:
            log.info("all samples are there already")
        if trainer.is_global_zero and (missing or not folder.is_assembled(task, format)):
            folder.assemble(len(drawing.batches), format, task)
        trainer.strategy.barrier("assembled")  # before others read what the first process has put together


class Drawing(LightningModule):
    """`draw`, and a folder that a trainer's processes draw into."""

    def __init__(self, task: Task, folder: SampleFolder, batch_size: int, seed: int, frames: int) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # there may be fewer batches than devices
        self.network = task.score.network
        self.task, self.folder, self.batch_size, self.seed, self.frames = task, folder, batch_size, seed, frames
        self.batches = batches_of(task, batch_size)
        self.progress = Progress()

    def missing(self) -> list[int]:
        """Numbers of the batches that are still to be drawn."""
        missing = [i for i, chains in enumerate(self.batches) if not self.folder.is_done(i, len(chains))]
        return sorted({0, *missing}) if self.frames else missing

    def configure_callbacks(self) -> list[Callback]:
        return [self.progress]

    def predict_dataloader(self) -> DataLoader:
        pending = self.trainer.strategy.broadcast(self.missing())
        if self.trainer.is_global_zero and len(pending) < len(self.batches):
            log.info(f"{len(self.batches) - len(pending)} of {len(self.batches)} batches are there already")
        self.share = pending[self.trainer.global_rank :: self.trainer.world_size]
        return DataLoader(self.share, batch_size=None)  # type: ignore[arg-type]

    def predict_step(self, number: int, batch_idx: int) -> int:
        images, frames = len(self.batches[number]), self.frames if number == 0 else 0
        keep, kept, step, start = evenly(self.task.num_steps, frames), [], 0, torch.empty(0)

        def watch(x: Tensor, state: State | None) -> None:
            nonlocal step, start
            if state is None:
                start = x
            if frames and (state is None or step in keep):
                kept.append(x[:TRAJECTORY_IMAGES])
            if state is not None:
                step += 1
                self.progress.step(images, state)
            if self.trainer.received_sigterm:  # Lightning keeps the signal to itself
                raise SystemExit(128 + signal.SIGTERM)

        options: dict[str, Any] = {"batch_size": self.batch_size, "seed": self.seed, "device": self.device}
        with as_config_error(self.task.driver), constant_weights(self.device):
            ((_, x),) = draw(self.task, numbers=[number], watch=watch, **options)
        if kept:
            self.folder.save_trajectory(kept)
        self.folder.save_batch(number, start, x)
        return number


class Progress(Callback):
    """One bar over all steps of all batches of this process, with images per second, and acceptance at the end."""

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Drawing)
        self.steps = pl_module.task.num_steps
        images = sum(len(pl_module.batches[number]) for number in pl_module.share)
        self.bar = tqdm(
            total=images * self.steps,
            desc="Sampling",
            disable=not trainer.is_global_zero,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
        )
        levels = len(pl_module.task.score.sigmas)
        self.accepted, self.proposals = torch.zeros(levels, device=pl_module.device), [0] * levels

    def step(self, images: int, state: State) -> None:
        self.bar.update(images)
        rate = self.bar.format_dict["rate"]
        if rate:
            self.bar.set_postfix_str(f"{rate / self.steps:.3g} images/s", refresh=False)
        if state.acceptance is not None:
            self.accepted[state.level] += state.acceptance
            self.proposals[state.level] += 1

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.bar.close()
        rates = [a / n for a, n in zip(self.accepted.tolist(), self.proposals, strict=True) if n]
        if rates and trainer.is_global_zero:
            log.info(f"accepted: {sum(rates) / len(rates):.0%} of the proposals, {min(rates):.0%} at the worst level")


def evenly(steps: int, count: int) -> set[int]:
    """`count` step numbers spread evenly, the last included; all of them if there are not so many."""
    count = min(count, steps)
    return {round((i + 1) * steps / count) - 1 for i in range(count)}
