"""One protocol for the scores of samples, from images to `evaluation.json`."""

import importlib.metadata
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer

from ncsn.checkpoint import TrainedScore
from ncsn.data import ImageDataModule
from ncsn.data.module import Split
from ncsn.evaluation.by_class import accuracy, check_classes, drawn_for, labels_of, scores_by_class
from ncsn.evaluation.classifier import Classifier
from ncsn.evaluation.diagnostics import LOOKED_AT, Sets, class_shares, first_of, held_out_loss, memorisation
from ncsn.evaluation.extraction import extract_shared
from ncsn.evaluation.features import FeatureNetwork, Features, extract
from ncsn.evaluation.image_sets import ImageSet, images_of
from ncsn.evaluation.reference import Reference
from ncsn.evaluation.scores import Score, ScoreSettings, compute_scores
from ncsn.files import copy, digest, one_process_at_a_time, read_record, write_text
from ncsn.images import save_png


@dataclass(frozen=True)
class Network:
    """A network whose held-out loss is part of an evaluation.

    Attributes:
        name: what the record calls it.
        score: the network.
        identity: of its file, plain values.
    """

    name: str
    score: TrainedScore
    identity: dict[str, Any]


@dataclass(frozen=True)
class Origin:
    """Where samples come from, as far as that is known.

    Attributes:
        settings: how samples of ours were drawn, the `settings.json` of their folder; None of others.
        score: the network that drew them.
        network_evaluations: per image; None where an energy is evaluated as well.
    """

    settings: dict[str, Any] | None = None
    score: TrainedScore | None = None
    network_evaluations: int | None = None

    def record(self) -> dict[str, Any]:
        """Its part of `evaluation.json`."""
        drawn = self.settings
        if drawn is None:
            return {"checkpoint": None, "sampler": None, "denoise": None, "network_evaluations": None, "seed": None}
        return {
            "checkpoint": {
                "path": drawn["checkpoint"],
                "sha256": drawn["sha256"],
                "step": None if self.score is None else self.score.step,
                "weights": drawn["weights"],
            },
            "sampler": drawn["sampler"],
            "denoise": (drawn["sampler"] or {}).get("denoise"),
            "network_evaluations": self.network_evaluations,
            "seed": drawn["seed"],
        }


class Evaluator:
    """Scores sets of images by one protocol: a feature network, a reference, a choice of scores.

    Args:
        trainer: its devices are used, in full precision.
        network: makes the features.
        reference: "train" or "val", a split of the data set; otherwise a folder or an npz of images.
        scores: which ones.
        data: what the images are samples of, prepared; None if that is not known, and then nothing is said of
            memorisation and held-out loss.
        kept: where features of references are kept.
        batch_size: images at a time on a device.
        seed: of the noise of the held-out loss.

    Raises:
        DataError: the reference is not what it should be.
    """

    def __init__(
        self,
        trainer: Trainer,
        network: FeatureNetwork,
        reference: str,
        scores: list[Score],
        *,
        data: ImageDataModule | None,
        kept: Path,
        batch_size: int,
        seed: int,
    ) -> None:
        self.trainer, self.network, self.reference, self.scores = trainer, network, reference, scores
        self.data, self.kept, self.batch_size, self.seed = data, kept, batch_size, seed
        self.device = trainer.strategy.root_device
        if data is not None and reference in ("train", "val"):
            split: Split = "train" if reference == "train" else "val"
            shown = data.images(split)
            self.compared_with, self.real = data.identity(split), (tuple(shown.shape[1:]), len(shown))
        else:
            images = images_of(Path(reference).expanduser(), self._channels)
            self.compared_with, self.real = images.identity(), (images.shape, len(images))

    @property
    def _channels(self) -> int | None:
        return None if self.data is None else self.data.channels

    def try_out(self, shape: tuple[int, ...], count: int, task: dict[str, Any] | None = None) -> None:
        """What is refused of so many images of this shape is told before they are drawn.

        Args:
            task: the identity of the one that draws them, if that is known.

        Raises:
            UserError: the network or the scores refuse them, or they are of other classes than the data.
        """
        check_classes(task or {}, None if self.data is None else self.data.classes())
        real_shape, real_count = self.real
        ScoreSettings.suited_to(count, real_count)
        for size in {shape, real_shape}:
            extract(self.network, [torch.zeros(1, *size, dtype=torch.uint8)])

    def __call__(
        self,
        images: ImageSet,
        folder: Path,
        origin: Origin,
        against: Network | None = None,
        seconds: dict[str, float] | None = None,
    ) -> dict[str, Any] | None:
        """Scores images, writes `evaluation.json` to a folder and returns it; None on processes but the first.

        What was scored before by the same protocol is not scored again; every protocol has its place in
        `evaluations/`, and what was asked for last lies in the folder itself.

        Args:
            images: the samples.
            folder: for the record, and for what an interrupted call leaves behind.
            origin: where they come from.
            against: another network, whose held-out loss is put beside that of `origin`.
            seconds: spent on them before.
        """
        protocol = self._protocol(images, origin, against)
        kept = folder / "evaluations" / digest(protocol)
        shown = [folder / name for name in ("evaluation.json", "neighbours.png")]
        first = self.trainer.is_global_zero
        with one_process_at_a_time(folder / "evaluation", kept / "*", *shown) if first else nullcontext():
            record = self._evaluated(images, kept, protocol, origin, against, {} if seconds is None else seconds)
            if record is None or not first:
                return None
            for path in shown:
                if (kept / path.name).is_file():
                    copy(kept / path.name, path)
        return record

    def _evaluated(
        self,
        images: ImageSet,
        kept: Path,
        protocol: dict[str, Any],
        origin: Origin,
        against: Network | None,
        seconds: dict[str, float],
    ) -> dict[str, Any] | None:
        """The record of a protocol, as it is kept in a folder, or else found and kept there."""
        record = read_record(kept / "evaluation.json")
        known = record is not None and record.get("protocol") == protocol
        if not self.trainer.strategy.broadcast(known):
            parts = {key: protocol[key] for key in ("samples", "features")} | {"batch_size": self.batch_size}
            unfinished = kept.parents[1] / f".features-{digest(parts)}"
            with _timed(seconds, "features"):
                samples = extract_shared(self.trainer, self.network, images, self.batch_size, unfinished)
            if samples is not None:
                record = {"protocol": protocol} | self._score(images, samples, origin, seconds)
                with _timed(seconds, "beyond"):
                    record |= self._diagnostics(images, samples, kept, origin.score, against)
                record["seconds"] = {name: round(value, 1) for name, value in seconds.items()}
                record["versions"] = {p: importlib.metadata.version(p) for p in ("ncsn", "torch", "torch-fidelity")}
                write_text(kept / "evaluation.json", json.dumps(record, indent=2))
                shutil.rmtree(unfinished, ignore_errors=True)
        return record

    def _protocol(self, images: ImageSet, origin: Origin, against: Network | None) -> dict[str, Any]:
        """What the record depends on."""
        described = self.network.describe()
        return {
            "samples": (origin.settings or images.identity()) | {"count": len(images)},
            "features": {"name": described["name"], "checksum": described["checksum"]},
            "reference": self.compared_with,
            "data": None if self.data is None else self.data.identity("train"),
            "scores": self.scores,
            "against": None if against is None else against.identity,
        }

    def _score(
        self, images: ImageSet, samples: Features, origin: Origin, seconds: dict[str, float]
    ) -> dict[str, Any]:
        with _timed(seconds, "reference"):
            reference = self._features_of(self.reference)
        with _timed(seconds, "scores"):
            settings = ScoreSettings.suited_to(len(samples), len(reference.features))
            scores = compute_scores(samples, reference, which=self.scores, settings=settings, device=self.device)
            by_class = self._by_class(samples, origin, reference)
        if by_class is not None and "accuracy" in by_class:
            scores |= accuracy(by_class, self.network.name)
        return (
            {
                "scores": scores,
                "num_samples": len(samples),
                "features": self.network.describe(),
                "settings": asdict(settings),
                "samples": str(images.path),
                "reference": reference.key["images"] | {"count": len(reference.features)},
            }
            | ({} if by_class is None else {"by_class": by_class})
            | origin.record()
        )

    def _by_class(self, samples: Features, origin: Origin, reference: Reference) -> dict[str, Any] | None:
        """Scores of the classes that samples were drawn for, where they are those of the data set."""
        labels = labels_of(origin.settings, len(samples))
        names = None if self.data is None else self.data.classes()
        if self.data is None or labels is None or names is None:
            return None
        if int(labels.max()) >= len(names):
            return None
        of_split = self.reference in ("train", "val")
        real = self.data.labels("train" if self.reference == "train" else "val") if of_split else None
        options: dict[str, Any] = {"classified": isinstance(self.network, Classifier)}
        options["reference"] = None if real is None else (reference.features, real)
        return scores_by_class(samples, labels, names, **options)

    def _features_of(self, name: str) -> Reference:
        options: dict[str, Any] = {"device": self.device, "batch_size": self.batch_size}
        if self.data is not None and name in ("train", "val"):
            split: Split = "train" if name == "train" else "val"
            return Reference.of(self.data, split, self.network, self.kept, **options)
        return Reference.of_folder(
            Path(name).expanduser(), self.network, self.kept, channels=self._channels, **options
        )

    def _diagnostics(
        self, images: ImageSet, samples: Features, folder: Path, score: TrainedScore | None, against: Network | None
    ) -> dict[str, Any]:
        """Memorisation, classes, and held-out losses, as far as they can be told."""
        found: dict[str, Any] = {}
        if self.data is not None:
            training, held_out = self.data.images("train"), self.data.images("val")
            found["memorisation"] = None
            if images.shape == training.shape[1:]:
                sets = Sets(first_of(images, self.batch_size), training, held_out[:LOOKED_AT])
                of_training = self._features_of("train").features.features
                of_held_out = extract(self.network, sets.held_out.split(self.batch_size), self.device).features
                features = Sets(samples.features[: len(sets.samples)], of_training, of_held_out)
                found["memorisation"], picture = memorisation(sets, features, self.device)
                save_png(picture, folder / "neighbours.png")
            if score is not None and held_out.shape[1:] == score.image_shape:
                found["held_out"] = held_out_loss(score, held_out, self.seed, self.device)
                if against is not None:
                    other = held_out_loss(against.score, held_out, self.seed, self.device)
                    found["held_out_against"] = other | {"checkpoint": against.name}
        if isinstance(self.network, Classifier):
            found["classes"] = class_shares(samples)
        return found


def curve_settings(protocol: dict[str, Any]) -> dict[str, Any]:
    """What the scores of a run's checkpoints have in common."""
    drawn = {key: protocol["samples"][key] for key in ("weights", "seed", "batch_size", "precision", "sampler")}
    drawn |= drawn_for(protocol["samples"].get("task", {}))
    return drawn | {"features": protocol["features"]["checksum"], "reference": protocol["reference"]}


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
