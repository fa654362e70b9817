"""The folder that samples go to.

<run folder>/samples/step_0005000_ema_1f3a…/
    settings.json     all that the samples depend on; its hash names the folder
    batches/00000.npy uint8 (B, H, W, C), written when the batch is done
    grid.png          the first of them; where images were given, a row for each, 16 at most: measured, samples,
                      original if any
    samples.npz       all of them, key arr_0; or images/00000.png, …
                      where images were given, these too: keys measured and, where there is one, original; or folders
    trajectory.png, trajectory.gif

and of task=encode
    batches/00000_exact.npy   float32 (2, B, C, H, W): latents, and the images that came back
    latents.npz       keys latents, float32 (N, C, H, W), and sigmas, the levels (L,); task=decode reads it
    round_trip.json   how far what came back is from the originals; `latent` stands beside them, to be looked at
"""

import json
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ncsn.errors import ConfigError, DataError, shown
from ncsn.files import (
    atomically,
    digest,
    is_whole,
    one_process_at_a_time,
    read_json,
    remove_partial,
    seal,
    write_text,
)
from ncsn.images import grid, save_gif, save_png, to_uint8
from ncsn.runs.folder import Run
from ncsn.sampling.tasks import Encode, Task

Format = Literal["npz", "png"]

IMAGES_IN_GRID = 256


class SampleFolder:
    """Samples of one checkpoint with one set of settings, their number included, and of nothing else.

    Args:
        path: the folder; made if need be.
        settings: what the samples depend on, plain values.

    Raises:
        ConfigError: the folder holds samples with other settings.
        DataError: its settings are damaged.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        record = path / "settings.json"
        if not record.is_file():
            others = path.is_dir() and any(not p.name.startswith(".") for p in path.iterdir())
            if others and not record.is_file():  # of another process, meanwhile
                raise ConfigError(f"out={path}: holds other files already; give another folder, or none")
            write_text(record, json.dumps(settings, indent=2))
            return
        way_out = "move its folder away, and samples are drawn anew"
        before = read_json(record, way_out)
        if not isinstance(before, dict):
            raise DataError(f"{record}: damaged (no settings); {way_out}")
        for key, value in settings.items():
            if before.get(key) != value:
                held = shown(before.get(key), 300)
                raise ConfigError(
                    f"out={path}: holds samples with {key}={held}, not {value}; give another folder, or none"
                )

    @classmethod
    def beside(cls, checkpoint: Path, settings: dict[str, Any]) -> "SampleFolder":
        """The folder for these settings in the run that a checkpoint belongs to, or beside one on its own."""
        run = Run.of(checkpoint)
        name = settings["task"]["_target_"].rpartition(".")[2].lower()
        task = "" if name == "generate" else f"{name}_"
        place = checkpoint.absolute().parent if run is None else run.path
        return cls(
            place / "samples" / f"{checkpoint.resolve().stem}_{task}{settings['weights']}_{digest(settings)}",
            settings,
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Waits until no other process draws into this folder, and keeps others out."""
        with one_process_at_a_time(self.path / "samples") as held:
            if held:
                remove_partial(self.path)
                remove_partial(self.path / "batches")
            yield

    def is_done(self, number: int, size: int, *, exact: bool = False) -> bool:
        """Whether batch `number` is there, with `size` images, and what `save_exact` keeps; a damaged one is not."""
        try:
            if not is_whole(self._batch(number)) or (exact and not is_whole(self._exact(number))):
                return False
            batch = np.lib.format.open_memmap(self._batch(number), mode="r")
            both = np.lib.format.open_memmap(self._exact(number), mode="r") if exact else None
        except Exception:  # headers that are damaged fail in many ways
            return False
        whole = both is None or (both.dtype == np.float32 and both.ndim == 5 and both.shape[:2] == (2, size))
        return whole and batch.dtype == np.uint8 and batch.ndim == 4 and len(batch) == size

    def save_batch(self, number: int, images: np.ndarray) -> None:
        """Keeps a finished batch, uint8 (B, H, W, C)."""
        _save(images, self._batch(number))

    def save_exact(self, number: int, start: Tensor, end: Tensor) -> None:
        """Keeps where the chains of a batch started and ended, (B, C, H, W), in float32."""
        _save(torch.stack([start, end]).float().cpu().numpy(), self._exact(number))

    def save_trajectory(self, frames: list[Tensor]) -> None:
        """A strip, one row per sample and its columns along the chain (Fig. 4), and the same as a GIF.

        Args:
            frames: images (B, C, H, W) of the same chains, in order.
        """
        rows = torch.stack(frames, dim=1).flatten(0, 1)
        save_png(grid(rows, num_columns=len(frames)), self.path / "trajectory.png")
        save_gif([grid(frame) for frame in frames], self.path / "trajectory.gif")

    @property
    def archive(self) -> Path:
        """All samples in one file."""
        return self.path / "samples.npz"

    @property
    def picture(self) -> Path:
        """The first samples side by side."""
        return self.path / "grid.png"

    @property
    def latents(self) -> Path:
        """Of task=encode, what task=decode reads."""
        return self.path / "latents.npz"

    @property
    def round_trip(self) -> Path:
        """Of task=encode, how far what came back is from the originals."""
        return self.path / "round_trip.json"

    def is_assembled(self, task: Task, format: Format) -> bool:
        """Whether `assemble` was done with these batches, so that a folder on a read-only disk needs nothing more."""
        encoded = not isinstance(task, Encode) or (is_whole(self.latents) and self.round_trip.is_file())
        if not (encoded and self.picture.is_file()):
            return False
        if format == "npz":
            return is_whole(self.archive)
        names = {"images": task.num_chains} | {name: len(images) for name, images in task.beside.items()}
        return all(len(list((self.path / name).glob("*.png"))) == count for name, count in names.items())

    def assemble(self, num_batches: int, format: Format, task: Task) -> None:
        """Puts the batches together, as `samples.npz` or as `images/*.png`, and draws the picture of the first."""
        batches = [np.load(self._batch(number), mmap_mode="r") for number in range(num_batches)]
        beside = {name: to_uint8(images) for name, images in task.beside.items()}
        if isinstance(task, Encode):
            beside["latent"] = self._assemble_latents(num_batches, task)
        if format == "npz":
            whole = {"arr_0": batches} | {name: [array] for name, array in beside.items()}
            self._save_npz(self.archive, whole)
        else:
            for name, arrays in {"images": batches, **{name: [array] for name, array in beside.items()}}.items():
                for number, image in enumerate(image for batch in arrays for image in batch):
                    save_png(image, self.path / name / f"{number:05d}.png")
        few = batches[: math.ceil(IMAGES_IN_GRID / len(batches[0]))]
        first = _as_images(np.concatenate(few)[:IMAGES_IN_GRID])
        shown: tuple[Tensor, int | None] = task.picture(first)
        if isinstance(task, Encode):
            shown = task.rows(_as_images(beside["latent"][: len(first)]), first)
        save_png(grid(*shown), self.picture)

    def _assemble_latents(self, num_batches: int, task: Encode) -> np.ndarray:
        """Writes the latents of all batches and what was lost on the way back; returns latents to be shown, uint8."""
        both = [np.load(self._exact(number), mmap_mode="r") for number in range(num_batches)]
        levels = task.score.sigmas.float().cpu().numpy()
        self._save_npz(self.latents, {"latents": [latents for latents, _ in both], "sigmas": [levels]})
        ends = (torch.from_numpy(image.copy()) for _, back in both for image in back)
        maxima, means = [], []
        for end, image in zip(ends, task.original, strict=True):
            error = 255 * (end - image).abs()
            maxima.append(float(error.max()))
            means.append(float(error.mean()))
        unit = "one of 256 grey levels"
        record = {"unit": unit, "maximum": max(maxima), "mean": sum(means) / len(means), "images": len(means)}
        write_text(self.round_trip, json.dumps(record, indent=2))
        return np.concatenate([to_uint8(task.shown(torch.from_numpy(latents.copy()))) for latents, _ in both])

    def _batch(self, number: int) -> Path:
        return self.path / "batches" / f"{number:05d}.npy"

    def _exact(self, number: int) -> Path:
        return self.path / "batches" / f"{number:05d}_exact.npy"

    def _save_npz(self, path: Path, arrays: dict[str, list[np.ndarray]]) -> None:
        """As `np.savez(path, name=np.concatenate(batches), …)`, without ever holding all of them."""
        with atomically(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name, batches in arrays.items():
                shape = (sum(map(len, batches)), *batches[0].shape[1:])
                header = {"descr": batches[0].dtype.str, "fortran_order": False, "shape": shape}
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array_header_1_0(file, header)
                    for batch in batches:
                        file.write(batch.tobytes())


def _save(array: np.ndarray, path: Path) -> None:
    with atomically(path) as partial:
        with partial.open("wb") as file:
            np.save(file, array)
        seal(partial)


def _as_images(pixels: np.ndarray) -> Tensor:
    """uint8 (B, H, W, C) as (B, C, H, W) in [0, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
