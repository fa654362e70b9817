"""Features of many images, shared out over devices."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from lightning import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from ncsn.evaluation.features import FeatureNetwork, Features, extract_batches
from ncsn.evaluation.image_sets import ImageSet
from ncsn.files import atomically, is_whole


def extract_shared(
    trainer: Trainer, network: FeatureNetwork, images: ImageSet, batch_size: int, parts: Path
) -> Features | None:
    """The features of all images, computed by all processes of a trainer; None on all of them but the first.

    Args:
        batch_size: images at a time on a device.
        parts: a folder that all processes see, for these images, this network and this batch size alone; what an
            interrupted call has left there is not computed again.
    """
    extraction = Extraction(network, images, batch_size, parts)
    trainer.predict(extraction, return_predictions=False)
    trainer.strategy.barrier("extracted")
    if not trainer.is_global_zero:
        return None
    batches = [extraction.read(number) for number in range(extraction.num_batches)]
    return Features(torch.cat([b.features for b in batches]), torch.cat([b.logits for b in batches]))


class Extraction(LightningModule):
    """Computes the features of a process's share of the batches and leaves them in a folder."""

    def __init__(self, network: FeatureNetwork, images: ImageSet, batch_size: int, folder: Path) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # there may be fewer batches than devices
        self.network, self.images, self.batch_size, self.folder = network, images, batch_size, folder
        self.num_batches = -(-len(images) // batch_size)
        self.batches: Iterator[tuple[int, Tensor]] = enumerate(images.batches(batch_size))

    def part(self, number: int) -> Path:
        """The file for a batch."""
        return self.folder / f"{number:05d}.npz"

    def read(self, number: int) -> Features:
        """What has been left there."""
        with np.load(self.part(number)) as file:
            return Features(*(torch.from_numpy(file[key]) for key in ("features", "logits")))

    def predict_dataloader(self) -> DataLoader:
        mine = range(self.trainer.global_rank, self.num_batches, self.trainer.world_size)
        pending = [number for number in mine if not is_whole(self.part(number))]
        hidden = not self.trainer.is_global_zero
        self.bar = tqdm(total=len(pending), desc=f"Features by {self.network.name}", unit="batch", disable=hidden)
        return DataLoader(pending, batch_size=None)  # type: ignore[arg-type]

    def predict_step(self, number: int, batch_idx: int) -> int:
        images = next(batch for at, batch in self.batches if at == number)  # they are read in order
        (found,) = extract_batches(self.network, [images], self.device)
        with atomically(self.part(number)) as partial, partial.open("wb") as file:
            np.savez(file, features=found.features.numpy(), logits=found.logits.numpy())
        self.bar.update()
        return number

    def on_predict_end(self) -> None:
        self.bar.close()
