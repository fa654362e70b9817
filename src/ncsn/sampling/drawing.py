"""Sampling from a checkpoint: batches shared out over devices, each with a seed of its own, none drawn twice."""

import logging
import signal
from collections.abc import Callable

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.compiler import set_stance
from torch.utils.data import DataLoader
from tqdm import tqdm

from ncsn.checkpoint import TrainedScore
from ncsn.config import as_config_error
from ncsn.errors import ConfigError
from ncsn.images import to_uint8
from ncsn.networks.compiled import constant_weights
from ncsn.random import Draws
from ncsn.samplers import State
from ncsn.sampling.folder import SampleFolder
from ncsn.sampling.tasks import Task

log = logging.getLogger(__name__)

TRAJECTORY_IMAGES = 8


def _largest_batch(score: TrainedScore, task: Task, trainer: Trainer) -> int:
    """The largest power of two of images, or all of the task's, that the network takes at once on this GPU.

    Raises:
        ConfigError: there is no GPU, whose memory says it, or more than one.
    """
    device = trainer.strategy.root_device
    if device.type != "cuda" or trainer.world_size > 1:
        where = f"{trainer.world_size} devices" if trainer.world_size > 1 else f"a {device.type}"
        raise ConfigError(f"batch_size=auto: looks for what fits on one GPU, not {where}; give a number")
    network = score.network.to(device)

    def fits(size: int) -> bool:
        x, sigma = torch.zeros(size, *score.image_shape, device=device), score.sigmas[:1].to(device).expand(size)
        try:
            # As it is, not compiled for every size that is tried; compiled it takes less.
            with trainer.precision_plugin.forward_context(), torch.no_grad(), set_stance("force_eager"):
                network(x, sigma)
        except torch.OutOfMemoryError:
            return False
        finally:
            torch.cuda.empty_cache()
        return True

    return largest(fits, task.num_chains)


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest power of two for which `fits` says so, or `most` if that is less; 1 if none."""
    size = 1
    while size < most and fits(min(2 * size, most)):
        size = min(2 * size, most)
    return size


def _batches(task: Task, batch_size: int) -> list[range]:
    """The chains of each batch, by their numbers; those that belong together in one."""
    size = max(batch_size // task.together, 1) * task.together
    return [range(start, min(start + size, task.num_chains)) for start in range(0, task.num_chains, size)]


class Drawing(LightningModule):
    """Draws batches by number; what a batch holds depends on its number and the seed alone."""

    def __init__(
        self,
        task: Task,
        folder: SampleFolder,
        batches: list[range],
        pending: list[int],
        seed: int,
        frames: int = 0,
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # there may be fewer batches than devices
        self.network = task.score.network
        self.sigmas: Tensor
        self.register_buffer("sigmas", task.score.sigmas)
        self.task, self.folder, self.batches, self.pending = task, folder, batches, pending
        self.seed, self.frames = seed, frames
        self.progress = Progress()

    def configure_callbacks(self) -> list[Callback]:
        return [self.progress]

    @property
    def share(self) -> list[int]:
        """Numbers of the batches that this process draws."""
        return self.pending[self.trainer.global_rank :: self.trainer.world_size]

    def predict_dataloader(self) -> DataLoader:
        return DataLoader(self.share, batch_size=None)  # type: ignore[arg-type]

    def predict_step(self, number: int, batch_idx: int) -> int:
        chains = self.batches[number]
        draws = Draws(self.seed, "sample", number, device=self.device)
        x = self.task.start(chains, draws)
        sampler = self.task.sampler_of(chains, draws)
        keep = evenly(self.task.num_steps, self.frames) if number == 0 and self.frames else set()
        frames = [x[:TRAJECTORY_IMAGES]] if keep else []
        with as_config_error("sampler"), constant_weights(self.device):
            for step, state in enumerate(sampler(self.network, x, self.sigmas, normal=draws.normal)):
                x = state.x
                self.progress.step(len(chains), state)
                if self.trainer.received_sigterm:  # Lightning keeps the signal to itself
                    raise SystemExit(128 + signal.SIGTERM)
                if step in keep:
                    frames.append(x[:TRAJECTORY_IMAGES])
        if frames:
            self.folder.save_trajectory(frames)
        self.folder.save_batch(number, to_uint8(x))
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
        self.accepted = torch.zeros(len(pl_module.sigmas), device=pl_module.device)
        self.proposals = [0] * len(pl_module.sigmas)

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
    """`count` step numbers spread evenly, the last included."""
    return {round((i + 1) * steps / count) - 1 for i in range(count)}
