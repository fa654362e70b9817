"""One protocol for restored images, from the images of several methods to `evaluation.json`."""

import importlib.metadata
import json
import shutil
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from torch import Tensor

from ncsn.damage import Damage, Jpeg, name_of
from ncsn.evaluation.evaluator import Origin
from ncsn.evaluation.extraction import extract_shared
from ncsn.evaluation.features import FeatureNetwork, extract
from ncsn.evaluation.image_sets import ImageSet, images_of
from ncsn.evaluation.restoration import (
    Originals,
    Pixels,
    by_quality,
    compare_pixels,
    restoration_scores,
    scores_of_originals,
)
from ncsn.files import digest, one_process_at_a_time, read_record, write_text
from ncsn.images import Picture, grid, save_png, to_uint8
from ncsn.random import Draws
from ncsn.sampling.tasks import Restore
from ncsn.sampling.tasks.damaged import chosen_damage
from ncsn.sampling.tasks.restore import SHOWN

DAMAGED, ORIGINALS = "damaged", "originals"  # names of methods


@dataclass(frozen=True)
class Restored:
    """The images that a method has restored.

    Attributes:
        name: of the method.
        folder: that they lie in.
        origin: where they come from.
    """

    name: str
    folder: Path
    origin: Origin

    @property
    def images(self) -> ImageSet:
        return images_of(self.folder / "samples.npz")


class Judge:
    """Scores the images that several methods have restored, beside the damaged ones and the originals.

    Args:
        trainer: its devices are used, in full precision.
        network: makes the features; None for the scores of pixels alone.
        task: what was restored; of N images, k samples each.
        labels: the classes of the originals, int64 (N,), if the network is a classifier of them.
        batch_size: images at a time on a device.
    """

    def __init__(
        self,
        trainer: Trainer,
        network: FeatureNetwork | None,
        task: Restore,
        labels: Tensor | None,
        batch_size: int,
    ) -> None:
        self.trainer, self.network, self.task, self.labels = trainer, network, task, labels
        self.batch_size = max(batch_size // task.count, 1) * task.count  # the samples of an image are in one batch
        self.device = trainer.strategy.root_device

    def __call__(self, methods: list[Restored], seconds: dict[str, float]) -> dict[str, Any] | None:
        """Writes `evaluation.json` and `methods.png` beside the images of the first method; None on later processes.

        What was judged before by the same protocol is not judged again, as with `Evaluator`.

        Args:
            methods: the first is the one in question.
            seconds: spent on them before.
        """
        first, folder = self.trainer.is_global_zero, methods[0].folder
        protocol = self._protocol(methods)
        kept = folder / "evaluations" / digest(protocol) / "evaluation.json"
        written = (kept, folder / "evaluation.json", folder / "methods.png")
        with one_process_at_a_time(folder / "evaluation", *written) if first else nullcontext():
            record = read_record(kept)
            known = record is not None and record.get("protocol") == protocol
            if not self.trainer.strategy.broadcast(known):
                record = self._judged(methods, protocol, seconds)
                if record is not None:
                    write_text(kept, json.dumps(record, indent=2, allow_nan=False))
                    for method in methods:
                        shutil.rmtree(self._unfinished(method, folder), ignore_errors=True)
            if record is None or not first:
                return None
            write_text(folder / "evaluation.json", json.dumps(record, indent=2))
            save_png(self._picture(methods), folder / "methods.png")
        return record

    def _picture(self, methods: list[Restored]) -> Picture:
        """A row for each of the first images: damaged; all samples of the first method, one of others; original."""
        count, columns = min(len(self.task.given), SHOWN), self.task.measured[:SHOWN, None]
        for number, method in enumerate(methods):
            samples = next(method.images.batches(count * self.task.count)).unflatten(0, (count, -1)) / 255
            columns = torch.cat([columns, samples if number == 0 else samples[:, :1]], dim=1)
        columns = torch.cat([columns, self.task.original[:SHOWN, None]], dim=1)
        return grid(columns.flatten(0, 1), columns.shape[1])

    def _protocol(self, methods: list[Restored]) -> dict[str, Any]:
        """What the record depends on."""
        network = self.network
        return {
            "methods": [{"name": method.name, "samples": method.origin.settings} for method in methods],
            "features": None if network is None else {"name": network.name, "checksum": network.checksum},
        }

    def _judged(
        self, methods: list[Restored], protocol: dict[str, Any], seconds: dict[str, float]
    ) -> dict[str, Any] | None:
        start = time.perf_counter()
        network, size = self.network, self.batch_size
        features = [
            None
            if network is None
            else extract_shared(self.trainer, network, m.images, size, self._unfinished(m, methods[0].folder))
            for m in methods
        ]
        if not self.trainer.is_global_zero:
            return None
        given, damaged = self.task.given, torch.from_numpy(to_uint8(self.task.measured)).permute(0, 3, 1, 2)
        of_damaged, originals = None, Originals(given)
        if network is not None:
            of_damaged, of_given = (extract(network, x.split(size), self.device) for x in (damaged, given))
            originals = Originals(given, of_given, network.name, self.labels)
            seconds["features"], start = time.perf_counter() - start, time.perf_counter()

        pixels = [compare_pixels(damaged.split(size), given, 1, self.device)]
        rows: list[dict[str, Any]] = [
            {"name": DAMAGED, "scores": restoration_scores(pixels[0], of_damaged, originals)}
        ]
        for method, found in zip(methods, features, strict=True):
            pixels.append(compare_pixels(method.images.batches(size), given, self.task.count, self.device))
            scores = restoration_scores(pixels[-1], found, originals)
            rows.append({"name": method.name, "scores": scores} | method.origin.record())
        rows.append({"name": ORIGINALS, "scores": scores_of_originals(originals)})
        seconds["scores"] = time.perf_counter() - start
        return (
            {
                "protocol": protocol,
                "scores": rows[1]["scores"],
                "num_samples": len(given) * self.task.count,
                "features": {} if network is None else network.describe(),
                "samples": str(methods[0].images.path),
                "reference": {"name": "the originals", "images": self.task.images, "count": len(given)},
                "restoration": self._restoration(rows, pixels),
            }
            | methods[0].origin.record()
            | {
                "seconds": {key: round(value, 1) for key, value in seconds.items()},
                "versions": {p: importlib.metadata.version(p) for p in ("ncsn", "torch", "torchmetrics")},
            }
        )

    def _restoration(self, rows: list[dict[str, Any]], pixels: list[Pixels]) -> dict[str, Any]:
        damage, count = self._damage, len(self.task.given)
        found = {
            "damage": name_of(damage),
            "num_images": count,
            "samples_per_image": self.task.count,
            "methods": rows,
        }
        if isinstance(damage, Jpeg):
            draws = [Draws(self.task.damage_seed, "damage", number) for number in range(count)]
            qualities = torch.cat([damage.qualities(1, d) for d in draws])
            found["by_quality"] = by_quality(qualities, damage, pixels)
        return found

    @property
    def _damage(self) -> Damage:
        return chosen_damage(self.task.score.condition, self.task.damage)

    def _unfinished(self, method: Restored, folder: Path) -> Path:
        """What an interrupted call leaves behind of the features of a method, in the folder that is locked."""
        network = None if self.network is None else self.network.checksum
        parts = {"method": method.name, "samples": method.origin.settings, "network": network}
        return folder / f".features-{digest(parts | {'batch_size': self.batch_size})}"
