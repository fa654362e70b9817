"""The folder that task=encode leaves, a folder of samples with these beside:

batches/00000_exact.npy   float32 (2, B, C, H, W): latents, and the images that came back
latents.npz       keys latents, float32 (N, C, H, W), and sigmas, the levels (L,); task=decode reads it
round_trip.json   how far what came back is from the originals; `latent` stands beside them, to be looked at
"""

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ncsn.files import is_whole, read_json, write_text
from ncsn.images import to_uint8
from ncsn.sampling.folder import Format, SampleFolder, as_images, holds, save_array, save_npz
from ncsn.sampling.tasks import Encode, Task


class EncodedFolder(SampleFolder):
    """Images that came back from their latents, and both exactly."""

    written: ClassVar = [*SampleFolder.written, "latents.npz", "round_trip.json"]

    @property
    def latents(self) -> Path:
        """What task=decode reads."""
        return self.path / "latents.npz"

    @property
    def round_trip(self) -> Path:
        """How far what came back is from the originals."""
        return self.path / "round_trip.json"

    @property
    def told(self) -> list[str]:
        error = read_json(self.round_trip)
        mean, maximum = error["mean"], error["maximum"]
        lost = f"off by {mean:.2g} of 256 grey levels on average, by {maximum:.2g} at most"
        return [*super().told, f"latents: {self.latents}", f"there and back: {lost}"]

    def is_done(self, number: int, size: int) -> bool:
        return super().is_done(number, size) and holds(self._exact(number), np.float32, (2, size), dimensions=5)

    def save_batch(self, number: int, start: Tensor, end: Tensor) -> None:
        save_array(torch.stack([start, end]).float().cpu().numpy(), self._exact(number))
        super().save_batch(number, start, end)

    def is_assembled(self, task: Task, format: Format) -> bool:
        return super().is_assembled(task, format) and is_whole(self.latents) and self.round_trip.is_file()

    def images_beside(self, num_batches: int, task: Task) -> dict[str, np.ndarray]:
        """Writes the latents of all batches and what was lost on the way back; the latents are shown as `latent`."""
        assert isinstance(task, Encode)
        both = [np.load(self._exact(number), mmap_mode="r") for number in range(num_batches)]
        levels = task.score.sigmas.float().cpu().numpy()
        save_npz(self.latents, {"latents": [latents for latents, _ in both], "sigmas": [levels]})
        ends = (torch.from_numpy(image.copy()) for _, back in both for image in back)
        maxima, means = [], []
        for end, image in zip(ends, task.original, strict=True):
            error = 255 * (end - image).abs()
            maxima.append(float(error.max()))
            means.append(float(error.mean()))
        unit = "one of 256 grey levels"
        record = {"unit": unit, "maximum": max(maxima), "mean": sum(means) / len(means), "images": len(means)}
        write_text(self.round_trip, json.dumps(record, indent=2))
        latents = [to_uint8(task.shown(torch.from_numpy(latents.copy()))) for latents, _ in both]
        return super().images_beside(num_batches, task) | {"latent": np.concatenate(latents)}

    def shown(self, task: Task, first: Tensor, beside: dict[str, np.ndarray]) -> tuple[Tensor, int | None]:
        assert isinstance(task, Encode)
        return task.rows(as_images(beside["latent"][: len(first)]), first)

    def _exact(self, number: int) -> Path:
        return self.path / "batches" / f"{number:05d}_exact.npy"
