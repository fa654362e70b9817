"""Features of many images, shared out over devices."""

import hashlib
import json
import shutil
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
from ncsn.files import atomically


def extract_shared(
    trainer: Trainer, network: FeatureNetwork, images: ImageSet, batch_size: int, folder: Path
) -> Features | None:
    """The features of all images, computed by all processes of a trainer; None on all of them but the first.

    Args:
        batch_size: images at a time on a device.
        folder: that all processes see; what an interrupted call has left there is not computed again.
    """
    key = {"images": images.identity(), "network": network.checksum, "batch_size": batch_size}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:8]
    parts = folder / f".features-{digest}"
    extraction = Extraction(network, images, batch_size, parts)
    trainer.predict(extraction, return_predictions=False)
    trainer.strategy.barrier("extracted")
    if not trainer.is_global_zero:
        return None
    batches = [np.load(extraction.part(number)) for number in range(extraction.num_batches)]
    features, logits = (torch.from_numpy(np.concatenate([b[k] for b in batches])) for k in ("features", "logits"))
    shutil.rmtree(parts)
    return Features(features, logits)


class Extraction(LightningModule):
    """Computes the features of a process's share of the batches and leaves them in a folder."""

    allow_zero_length_dataloader_with_multiple_devices = True

    def __init__(self, network: FeatureNetwork, images: ImageSet, batch_size: int, folder: Path) -> None:
        super().__init__()
        self.network, self.images, self.batch_size, self.folder = network, images, batch_size, folder
        self.num_batches = -(-len(images) // batch_size)
        self.batches: Iterator[tuple[int, Tensor]] = enumerate(images.batches(batch_size))

    def part(self, number: int) -> Path:
        """The file for a batch."""
        return self.folder / f"{number:05d}.npz"

    def predict_dataloader(self) -> DataLoader:
        mine = range(self.trainer.global_rank, self.num_batches, self.trainer.world_size)
        pending = [number for number in mine if not self.part(number).is_file()]
        hidden = not self.trainer.is_global_zero
        self.bar = tqdm(total=len(pending), desc=f"Features by {self.network.name}", unit="batch", disable=hidden)
        return DataLoader(pending, batch_size=None)  # type: ignore[arg-type]

    def predict_step(self, number: int, batch_idx: int) -> None:
        images = next(batch for at, batch in self.batches if at == number)  # they are read in order
        (found,) = extract_batches(self.network, [images], self.device)
        with atomically(self.part(number)) as partial, partial.open("wb") as file:
            np.savez(file, features=found.features.numpy(), logits=found.logits.numpy())
        self.bar.update()

    def on_predict_end(self) -> None:
        self.bar.close()
