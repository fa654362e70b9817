"""The folder that samples go to.

<run folder>/samples/step_0005000_ema_1f3a…/
    settings.json     all that the samples depend on; its hash names the folder
    batches/00000.npy uint8 (B, H, W, C), written when the batch is done
    grid.png          the first of them; where images were given, a row for each, 16 at most: measured, samples,
                      original if any
    samples.npz       all of them, key arr_0; or images/00000.png, …
                      where images were given, these too: keys measured and, where there is one, original; or folders
    trajectory.png, trajectory.gif
"""

import json
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from ncsn.errors import ConfigError, DataError, shown
from ncsn.files import (
    atomically,
    check_folder,
    digest,
    is_whole,
    one_process_at_a_time,
    read_json,
    seal,
    write_text,
)
from ncsn.images import grid, save_gif, save_png, to_uint8
from ncsn.runs.folder import Run
from ncsn.sampling.tasks import Task

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

    written: ClassVar = ["settings.json", "samples.npz", "grid.png", "trajectory.png", "trajectory.gif"]

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        record = path / "settings.json"
        if not record.is_file():
            others = path.is_dir() and any(not p.name.startswith(".") for p in path.iterdir())
            if others and not record.is_file():  # of another process, meanwhile
                raise ConfigError(f"out={path}: holds other files already; give another folder, or none")
            with self.locked():
                if not record.is_file():
                    write_text(record, json.dumps(settings, indent=2))
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
    def beside(cls, checkpoint: Path, settings: dict[str, Any]) -> Self:
        """The folder for these settings in the run that a checkpoint belongs to, or beside one on its own."""
        run = Run.of(checkpoint)
        name = settings["task"]["_target_"].rpartition(".")[2].lower()
        task = "" if name == "generate" else f"{name}_"
        place = checkpoint.absolute().parent if run is None else run.path
        if run is not None:
            check_folder(run.path)
        return cls(
            place / "samples" / f"{checkpoint.resolve().stem}_{task}{settings['weights']}_{digest(settings)}",
            settings,
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Waits until no other process draws into this folder, and keeps others out."""
        written = [self.path / name for name in self.written] + [kind / "*" for kind in self.path.glob("[!.]*/")]
        with one_process_at_a_time(self.path / "samples", *written):
            yield

    def is_done(self, number: int, size: int) -> bool:
        """Whether batch `number` is there, with `size` images; a damaged one is not."""
        return holds(self._batch(number), np.uint8, (size,), dimensions=4)

    def save_batch(self, number: int, start: Tensor, end: Tensor) -> None:
        """Keeps a finished batch.

        Args:
            number: of the batch.
            start: where its chains started, (B, C, H, W).
            end: where they ended.
        """
        save_array(to_uint8(end), self._batch(number))

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
    def told(self) -> list[str]:
        """Lines that say what is there, once it has been assembled."""
        return [f"samples: {self.path}", f"picture: {self.picture}"]

    def is_assembled(self, task: Task, format: Format) -> bool:
        """Whether `assemble` was done with these batches, so that a folder on a read-only disk needs nothing more."""
        if not self.picture.is_file():
            return False
        if format == "npz":
            return is_whole(self.archive)
        names = {"images": task.num_chains} | {name: len(images) for name, images in task.beside.items()}
        return all(len(list((self.path / name).glob("*.png"))) == count for name, count in names.items())

    def assemble(self, num_batches: int, format: Format, task: Task) -> None:
        """Puts the batches together, as `samples.npz` or as `images/*.png`, and draws the picture of the first."""
        batches = [np.load(self._batch(number), mmap_mode="r") for number in range(num_batches)]
        beside = self.images_beside(num_batches, task)
        whole = {"images": batches} | {name: [array] for name, array in beside.items()}
        if format == "npz":
            whole["arr_0"] = whole.pop("images")
            save_npz(self.archive, whole)
        else:
            for name, arrays in whole.items():
                for number, image in enumerate(image for batch in arrays for image in batch):
                    save_png(image, self.path / name / f"{number:05d}.png")
        few = batches[: math.ceil(IMAGES_IN_GRID / len(batches[0]))]
        first = as_images(np.concatenate(few)[:IMAGES_IN_GRID])
        save_png(grid(*self.shown(task, first, beside)), self.picture)

    def images_beside(self, num_batches: int, task: Task) -> dict[str, np.ndarray]:
        """Images that are kept beside the samples, by their names, uint8 (N, H, W, C)."""
        return {name: to_uint8(images) for name, images in task.beside.items()}

    def shown(self, task: Task, first: Tensor, beside: dict[str, np.ndarray]) -> tuple[Tensor, int | None]:
        """The picture of the first samples (B, C, H, W), as `task.picture`."""
        return task.picture(first)

    def _batch(self, number: int) -> Path:
        return self.path / "batches" / f"{number:05d}.npy"


def save_array(array: np.ndarray, path: Path) -> None:
    """Keeps an array in a .npy with a checksum."""
    with atomically(path) as partial:
        with partial.open("wb") as file:
            np.save(file, array)
        seal(partial)


def holds(path: Path, dtype: type, shape: tuple[int, ...], *, dimensions: int) -> bool:
    """Whether `save_array` has left an array there that is whole, of this type, and whose shape begins so."""
    try:
        array = np.lib.format.open_memmap(path, mode="r") if is_whole(path) else None
    except Exception:  # headers that are damaged fail in many ways
        return False
    return (
        array is not None and (array.dtype, array.ndim) == (dtype, dimensions) and array.shape[: len(shape)] == shape
    )


def save_npz(path: Path, arrays: dict[str, list[np.ndarray]]) -> None:
    """As `np.savez(path, name=np.concatenate(batches), …)`, without ever holding all of them."""
    with atomically(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name, batches in arrays.items():
            shape = (sum(map(len, batches)), *batches[0].shape[1:])
            header = {"descr": batches[0].dtype.str, "fortran_order": False, "shape": shape}
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array_header_1_0(file, header)
                for batch in batches:
                    file.write(batch.tobytes())


def as_images(pixels: np.ndarray) -> Tensor:
    """uint8 (B, H, W, C) as (B, C, H, W) in [0, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
