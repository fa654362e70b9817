"""One protocol for the scores of samples, from images to `evaluation.json`."""

import importlib.metadata
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from torch import Tensor

from ncsn.checkpoint import TrainedScore
from ncsn.data import ImageDataModule
from ncsn.data.module import Split
from ncsn.evaluation.classifier import Classifier
from ncsn.evaluation.extraction import extract_shared
from ncsn.evaluation.features import FeatureNetwork, Features, extract
from ncsn.evaluation.held_out import loss_by_level
from ncsn.evaluation.image_sets import ImageSet, images_of
from ncsn.evaluation.neighbours import nearest, quartiles
from ncsn.evaluation.reference import Reference
from ncsn.evaluation.scores import Score, ScoreSettings, compute_scores
from ncsn.files import atomically, digest, write_text
from ncsn.images import grid, save_png

LOOKED_AT = 1_000  # images, for what lies beyond scores
EVALUATIONS = 50_000  # of the network at most, for the held-out loss: with hundreds of levels on fewer images
SHOWN, NEIGHBOURS = 10, 8


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

    def try_out(self, shape: tuple[int, ...], count: int) -> None:
        """What the network or the scores refuse of so many images of this shape is told before they are drawn.

        Raises:
            UserError: they do.
        """
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
        record = _read(kept / "evaluation.json")
        if record is None or record.get("protocol") != protocol:
            seconds = {} if seconds is None else seconds
            parts = {key: protocol[key] for key in ("samples", "features")} | {"batch_size": self.batch_size}
            unfinished = folder / f".features-{digest(parts)}"
            with _timed(seconds, "features"):
                samples = extract_shared(self.trainer, self.network, images, self.batch_size, unfinished)
            if samples is not None:
                record = {"protocol": protocol} | self._score(images, samples, origin, seconds)
                with _timed(seconds, "beyond"):
                    record |= self._look_beyond(images, samples, kept, origin.score, against)
                record["seconds"] = {name: round(value, 1) for name, value in seconds.items()}
                record["versions"] = {p: importlib.metadata.version(p) for p in ("ncsn", "torch", "torch-fidelity")}
                write_text(kept / "evaluation.json", json.dumps(record, indent=2))
                shutil.rmtree(unfinished)
        if record is None or not self.trainer.is_global_zero:
            return None
        for name in ("evaluation.json", "neighbours.png"):
            if (kept / name).is_file():
                with atomically(folder / name) as partial:
                    shutil.copyfile(kept / name, partial)
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
        return {
            "scores": scores,
            "num_samples": len(samples),
            "features": self.network.describe(),
            "settings": asdict(settings),
            "samples": str(images.path),
            "reference": reference.key["images"] | {"count": len(reference.features)},
        } | origin.record()

    def _features_of(self, name: str) -> Reference:
        options: dict[str, Any] = {"device": self.device, "batch_size": self.batch_size}
        if self.data is not None and name in ("train", "val"):
            split: Split = "train" if name == "train" else "val"
            return Reference.of(self.data, split, self.network, self.kept, **options)
        return Reference.of_folder(
            Path(name).expanduser(), self.network, self.kept, channels=self._channels, **options
        )

    def _look_beyond(
        self, images: ImageSet, samples: Features, folder: Path, score: TrainedScore | None, against: Network | None
    ) -> dict[str, Any]:
        """Memorisation, classes, and held-out losses, as far as they can be told."""
        found: dict[str, Any] = {}
        if self.data is not None:
            found["memorisation"] = self._memorisation(self.data, images, samples, folder)
        if isinstance(self.network, Classifier):
            found["classes"] = _classes(samples)
        if score is not None and self.data is not None:
            held_out = self.data.images("val")
            if held_out.shape[1:] == score.image_shape:
                found["held_out"] = self._held_out(score, held_out)
                if against is not None:
                    other = self._held_out(against.score, held_out)
                    found["held_out_against"] = other | {"checkpoint": against.name}
        return found

    def _memorisation(
        self, data: ImageDataModule, images: ImageSet, samples: Features, folder: Path
    ) -> dict[str, Any] | None:
        """Distances to the nearest training image, of samples and of held-out images; and a picture of the first."""
        training, held_out = data.images("train"), data.images("val")[:LOOKED_AT]
        x = torch.cat([*islice(images.batches(self.batch_size), -(-LOOKED_AT // self.batch_size))])[:LOOKED_AT]
        if x.shape[1:] != training.shape[1:]:
            return None  # of another size than the data set's
        of_training = self._features_of("train").features.features
        of_held_out = extract(self.network, held_out.split(self.batch_size), self.device).features
        compared = {  # with the unit of distance; images as they lie on disk, which may be more than memory holds
            "pixels": (x, held_out, training, 255),
            "features": (samples.features[: len(x)], of_held_out, of_training, 1),
        }
        count = min(NEIGHBOURS, len(training))
        result, rows = {}, []
        for name, (drawn, held, database, unit) in compared.items():
            found = nearest(drawn, database, count, device=self.device)
            result[name] = {
                "samples_to_training": quartiles(found.distances[:, 0] / unit),
                "held_out_to_training": quartiles(nearest(held, database, device=self.device).distances[:, 0] / unit),
            }
            rows += [torch.cat([x[:SHOWN, None], training[found.indices[:SHOWN]]], dim=1)]
        picture = torch.cat(rows, dim=1).flatten(0, 1).float() / 255
        save_png(grid(picture, 2 * (count + 1)), folder / "neighbours.png")
        return result

    def _held_out(self, score: TrainedScore, held_out: Tensor) -> dict[str, Any]:
        """The loss on held-out images by noise level; the noise is the same for all networks."""
        images = held_out[: min(LOOKED_AT, max(EVALUATIONS // len(score.sigmas), 1))]
        network = score.network.to(self.device)
        loss = loss_by_level(network, images, score.sigmas, seed=self.seed, device=self.device)
        return loss._asdict() | {"loss_per_dim": loss.loss_per_dim, "images": len(images)}


def curve_settings(protocol: dict[str, Any]) -> dict[str, Any]:
    """What the scores of a run's checkpoints have in common."""
    drawn = {key: protocol["samples"][key] for key in ("weights", "seed", "batch_size", "precision", "sampler")}
    return drawn | {"features": protocol["features"]["checksum"], "reference": protocol["reference"]}


def table(record: dict[str, Any], folder: Path) -> str:
    """The scores of a record, with what they depend on."""
    scores, features = record["scores"], record["features"]
    width = max(map(len, scores))
    lines = [""]
    for name, value in scores.items():
        if not name.endswith("_std"):
            spread = f" ± {scores[name + '_std']:.3g}" if f"{name}_std" in scores else ""
            lines.append(f"  {name.ljust(width)}  {value:.5g}{spread}")
    accuracy = f", {features['accuracy']:.2%} right on held-out images" if "accuracy" in features else ""
    reference = record["reference"]
    of = reference["path"] if "path" in reference else f"{reference['name']} {reference['split']}"
    lines.append(f"\n  features   {features['name']} ({features['checksum'][:8]}{accuracy})")
    lines.append(f"  reference  {reference['count']} images, {of}")
    if record["sampler"]:
        denoise = {True: ", denoised", False: ", not denoised", None: ""}[record["denoise"]]
        sampler = record["sampler"]["_target_"].rpartition(".")[2]
        evaluations = record["network_evaluations"]
        cost = f", {evaluations} network evaluations per image" if evaluations else ""
        lines.append(f"  samples    {sampler}{denoise}, {record['checkpoint']['weights']} weights{cost}")
    if "held_out_against" in record:
        ours, theirs = record["held_out"], record["held_out_against"]
        lines.append(f"\n  2·loss/D on held-out images    this      {theirs['checkpoint']}")
        for level in zip(ours["sigmas"], *(x["twice_the_loss_per_dim"] for x in (ours, theirs)), strict=True):
            lines.append("  σ = {:<24.4g} {:<9.5f} {:<9.5f}".format(*level))
    return "\n".join([*lines, f"\n  {folder / 'evaluation.json'}"])


def _classes(samples: Features) -> dict[str, Any]:
    """The share of each class in the samples, and how sure the classifier is."""
    probabilities = samples.logits.softmax(1)
    counts = torch.bincount(probabilities.argmax(1), minlength=probabilities.shape[1])
    return {
        "shares": [round(share, 4) for share in (counts / counts.sum()).tolist()],
        "mean_confidence": round(float(probabilities.amax(1).mean()), 4),
    }


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
