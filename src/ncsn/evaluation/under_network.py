"""What a network finds of images, with all that it depends on; and where it is kept.

<run folder>/likelihood/last_ema_1f3a…/
    likelihood.json   the record; the hash of its protocol names the folder
    likelihood.npz    a value of each image, (N,); files: their names, where each is a file
"""

import importlib.metadata
import json
import math
import shutil
import time
from abc import ABC, abstractmethod
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from omegaconf import DictConfig
from torch import Tensor

from ncsn.checkpoint.reading import place_of
from ncsn.config import build
from ncsn.damage import Damage, name_of
from ncsn.data import ImageDataModule
from ncsn.errors import ConfigError
from ncsn.evaluation.controls import Control, NamedImages, control_of, given_images, held_out_images
from ncsn.evaluation.drawn import OwnSamples
from ncsn.files import atomically, digest, one_process_at_a_time, read_record, sha256, write_text
from ncsn.runs.folder import Run
from ncsn.sampling.prepare import assumptions, build_trainer, load
from ncsn.sampling.tasks.images import training_data

Computed = tuple[dict[str, Any], dict[str, Tensor]]
"""What the record says beside the protocol, and values of each image (N,) by their names."""


class UnderNetwork(ABC):
    """A score of images under the network of a checkpoint.

    Attributes:
        score_name: as the user types it.
        kind: of what is kept.
        in_rows: what stands, beside the score, in a table of several sets of images.

    Args:
        config: checked; its keys data, samples, num_images, batch_size, seed, out, those of the score, and those that
            say which network count.
        path: the checkpoint.

    Raises:
        UserError: the checkpoint or the data are not what they should be.
    """

    score_name: ClassVar[str]
    kind: ClassVar[str]
    in_rows: ClassVar[tuple[str, ...]] = ("of", "images", "standard_error")

    def __init__(self, config: DictConfig, path: Path) -> None:
        self.config, self.path = config, path
        self.score = load(config, path)  # as it is, neither compiled nor rounded
        if isinstance(self.score.condition, Damage):
            raise ConfigError(
                f"scores={self.score_name}: the network restores images (condition={name_of(self.score.condition)})"
            )
        self.dimensions = math.prod(self.score.image_shape)
        self.own = training_data(self.score)
        self.own.prepare_data()
        self.trainer = build_trainer(config.trainer, precision="32-true")
        self.place = place_of(path)
        about = {"sha256": sha256(path), "step": self.score.step, "weights": self.score.weights}
        self.checkpoint: dict[str, Any] = {"path": self.place.resolve().name} | about

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the score depends on beside the network, the images, the seed and the batch size."""

    @abstractmethod
    def computed(self, images: NamedImages, folder: Path) -> Computed | None:
        """Called by all processes, with a folder whose batches… are removed at the end; None on all but the first."""

    def main(self) -> NamedImages:
        """The images asked for: those of `samples`, or held-out ones, of `data` or of the network's own data set."""
        config, shape = self.config, self.score.image_shape
        if config.samples is not None:
            return given_images(Path(config.samples).expanduser(), shape)
        data: ImageDataModule = self.own
        if config.data.get("_target_") is not None:
            data = build(config.data, "data")
            data.prepare_data()
        return held_out_images(data, shape, config.num_images)

    def control(self, name: Control, main: NamedImages) -> NamedImages:
        """As many images of another kind: what becomes of `main`, or samples that are drawn unless they are there."""
        if name != "samples":
            return control_of(main, name, self.config.seed)
        own = OwnSamples.of(self.config, self.path, self.config.num_samples or len(main.images), None)
        return NamedImages(own.draw(), "samples", {"samples": read_record(own.folder.path / "settings.json")})

    def of(self, images: NamedImages) -> tuple[dict[str, Any] | None, Path]:
        """The record of images, computed unless it is there, and the file that it lies in.

        Returns:
            None for the record on processes but the first.

        Raises:
            UserError: an image is damaged, or the network has no finite scores of them.
        """
        protocol = self._protocol(images)
        run = Run.of(self.place)
        beside = self.place.absolute().parent if run is None else run.path
        name = f"{self.place.resolve().stem}_{self.score.weights}_{digest(protocol)}"
        folder = (beside if self.config.out is None else Path(self.config.out)) / self.kind / name
        file = folder / f"{self.kind}.json"
        first = self.trainer.is_global_zero
        with one_process_at_a_time(folder / self.kind, folder / "*") if first else nullcontext():
            record = read_record(file)
            known = record is not None and record.get("protocol") == protocol
            if not self.trainer.strategy.broadcast(known):
                start = time.perf_counter()
                found = self.computed(images, folder)
                record = None
                if found is not None:
                    described, values = found
                    record = {
                        "protocol": protocol,
                        "checkpoint": self.checkpoint,
                        **described,
                        "seconds": round(time.perf_counter() - start, 1),
                        "versions": {p: importlib.metadata.version(p) for p in ("ncsn", "torch", "scipy")},
                    }
                    kept: dict[str, Any] = {name: value.numpy() for name, value in values.items()}
                    if images.files is not None:
                        kept["files"] = np.array(images.files)
                    with atomically(file.with_suffix(".npz")) as partial, partial.open("wb") as opened:
                        np.savez(opened, **kept)
                    write_text(file, json.dumps(record, indent=2))
                    for unfinished in folder.glob("batches*"):
                        shutil.rmtree(unfinished, ignore_errors=True)
        return (record if first else None), file

    def row(self, record: dict[str, Any]) -> dict[str, Any]:
        """What stands in a table, of a record."""
        score = next(iter(record["scores"].values()))
        return {key: record[self.kind][key] for key in self.in_rows} | {self.score_name: score}

    def _protocol(self, images: NamedImages) -> dict[str, Any]:
        """What the record depends on."""
        checkpoint = {key: self.checkpoint[key] for key in ("sha256", "weights")}
        return {
            "checkpoint": checkpoint | {"authors": assumptions(self.config)},
            "images": images.identity | {"count": len(images.images)},
            **self.settings(),
            "seed": self.config.seed,
            "batch_size": self.config.batch_size,
        }


def mean_and_error(values: Tensor) -> tuple[float, float | None]:
    """The mean and its standard error, which one value has not."""
    error = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else None
    return float(values.mean()), error
