"""Values of many images, each on its own: computed batch by batch, shared out over devices, kept until all are there.

Images are read and values written one batch at a time, so that memory does not grow with their number.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from ncsn.files import atomically

Compute = Callable[[Tensor, int, torch.device], dict[str, Tensor]]
"""compute(images, first, device): values (B, …) on the CPU, by their names, of images uint8 (B, C, H, W).

`first` is the number of the first of them.
"""


class Images(Protocol):
    """N images of one size, read on demand; `len` is N."""

    def __len__(self) -> int: ...

    def batches(self, size: int) -> Iterator[Tensor]:
        """All images in order, uint8 (B, C, H, W), B = `size` or, at the end, less."""


class Loaded:
    """Images that are a tensor, in memory or mapped to it, uint8 (N, C, H, W)."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, size: int) -> Iterator[Tensor]:
        for start in range(0, len(self.images), size):
            yield self.images[start : start + size]


def values_per_image(
    trainer: Trainer,
    network: nn.Module,
    compute: Compute,
    images: Images,
    batch_size: int,
    parts: Path,
    title: str,
) -> dict[str, Tensor] | None:
    """The values of all images, (N, …), computed by all processes of a trainer; None on all of them but the first.

    Args:
        trainer: its devices are used.
        network: moved to the device of a process.
        compute: says what is computed, with the network on that device.
        images: whose values they are.
        batch_size: images at a time on a device.
        parts: a folder that all processes see, for these images, these values and this batch size alone; what an
            interrupted call has left there is not computed again.
        title: of the progress bar.
    """
    module = PerImage(network, compute, images, batch_size, parts, title)
    trainer.predict(module, return_predictions=False)
    trainer.strategy.barrier("values per image")
    if not trainer.is_global_zero:
        return None
    batches = [module.read(number) for number in range(module.num_batches)]
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


class PerImage(LightningModule):
    """Computes the values of a process's share of the batches and leaves them in a folder; see `values_per_image`."""

    def __init__(
        self, network: nn.Module, compute: Compute, images: Images, batch_size: int, folder: Path, title: str
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # there may be fewer batches than devices
        self.network, self.compute_values, self.folder, self.title = network, compute, folder, title
        self.batch_size, self.num_batches = batch_size, -(-len(images) // batch_size)
        self.batches: Iterator[tuple[int, Tensor]] = enumerate(images.batches(batch_size))

    def part(self, number: int) -> Path:
        """The file for a batch."""
        return self.folder / f"{number:05d}.npz"

    def read(self, number: int) -> dict[str, Tensor]:
        """What has been left there."""
        with np.load(self.part(number)) as file:
            return {name: torch.from_numpy(file[name]) for name in file.files}

    def is_done(self, number: int) -> bool:
        """Whether the values of a batch are there, and whole."""
        try:
            return bool(self.read(number))
        except Exception:  # archives that are damaged fail in many ways
            return False

    def predict_dataloader(self) -> DataLoader:
        mine = range(self.trainer.global_rank, self.num_batches, self.trainer.world_size)
        pending = [number for number in mine if not self.is_done(number)]
        hidden = not self.trainer.is_global_zero
        self.bar = tqdm(total=len(pending), desc=self.title, unit="batch", disable=hidden)
        return DataLoader(pending, batch_size=None)  # type: ignore[arg-type]

    def predict_step(self, number: int, batch_idx: int) -> int:
        images = next(batch for at, batch in self.batches if at == number)  # they are read in order
        found = self.compute_values(images, number * self.batch_size, self.device)
        arrays: dict[str, Any] = {name: values.numpy() for name, values in found.items()}
        with atomically(self.part(number)) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)
        self.bar.update()
        return number

    def on_predict_end(self) -> None:
        self.bar.close()
