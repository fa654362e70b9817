"""Evaluating a checkpoint, all checkpoints of a run, or somebody's samples: what `evaluate.py` does."""

import importlib.metadata
import inspect
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import hydra
import torch
import wandb
from lightning import Trainer
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, distributed

from ncsn.checkpoint import TrainedScore, load_score, resolve
from ncsn.commands.sample import assumed, sample
from ncsn.config import build, check
from ncsn.data import ImageDataModule
from ncsn.data.cache import fingerprint
from ncsn.data.module import Split
from ncsn.errors import ConfigError
from ncsn.evaluation.classifier import Classifier
from ncsn.evaluation.extraction import extract_shared
from ncsn.evaluation.features import FeatureNetwork, Features, extract
from ncsn.evaluation.held_out import loss_by_level
from ncsn.evaluation.image_sets import ImageSet, images_of
from ncsn.evaluation.neighbours import nearest, quartiles
from ncsn.evaluation.reference import Reference
from ncsn.evaluation.scores import ALL, FEWEST, ScoreSettings, compute_scores
from ncsn.files import atomically, digest, write_text
from ncsn.images import grid, save_png
from ncsn.report import refresh_report
from ncsn.runs.curve import Curve
from ncsn.runs.loggers import build_loggers
from ncsn.samplers import DivergedError, Sampler
from ncsn.sampling.tasks.images import training_data

log = logging.getLogger(__name__)

SAMPLES, SAMPLES_OF_EACH = 50_000, 1_000  # as published; and as the paper chose its checkpoints
LOOKED_AT = 1_000  # images, for what lies beyond scores
EVALUATIONS = 50_000  # of the network at most, for the held-out loss: with hundreds of levels on fewer images
SHOWN, NEIGHBOURS = 10, 8


def evaluate(config: DictConfig) -> dict[str, float]:
    """Scores what a composed configuration names, writes `evaluation.json` beside the samples, and prints a table.

    What was drawn or scored before with the same settings is not done again: `evaluation.json` is the evaluation
    asked for last, and every one is kept in `evaluations/<digest of its protocol>/`.

    Returns:
        The scores by their names, of a run those of its best checkpoint; nothing on processes but the first.

    Raises:
        UserError: the configuration, the checkpoint or the images are not what they should be.
    """
    config = check(config)
    _check_values(config)
    if config.samples is not None:
        return _of_samples(config, Path(config.samples).expanduser())
    path = Path(config.ckpt).expanduser()
    if path.is_dir():
        return _of_run(config, path)
    path = resolve(config.ckpt)
    record = _of_checkpoint(config, path, config.num_samples or SAMPLES)
    if record is None:
        return {}
    _publish(config, path.absolute().parent.parent, [record])
    return record["scores"]


def _of_samples(config: DictConfig, path: Path) -> dict[str, float]:
    """Samples that are there, ours or somebody else's."""
    if "data" not in config:
        raise ConfigError("data: samples=… are compared with a data set; name it, say data=cifar10")
    data: ImageDataModule = build(config.data, "data")
    images = images_of(path, data.channels)
    judge = Judge(config, data)
    judge.try_out(images.shape, len(images))
    if config.out is not None:
        folder = Path(config.out)
    elif _drawn(images) is not None:
        folder = images.path.parent
    else:
        beside = Path(os.path.abspath(path))
        folder = beside.with_name(f"{beside.name if beside.is_dir() else beside.stem}_evaluation")
    record = judge(images, folder)
    return {} if record is None else record["scores"]


def _of_run(config: DictConfig, run: Path) -> dict[str, float]:
    """Every checkpoint of a run: the curve of their scores, and a link to the best."""
    resolve(run)  # there is one at least
    curve = Curve.read(run)
    records: list[dict[str, Any]] = []
    diverged: ConfigError | None = None
    for path in sorted((run / "checkpoints").glob("step_*.ckpt")):
        try:
            record = _of_checkpoint(config, path, config.num_samples or SAMPLES_OF_EACH)
        except ConfigError as error:
            if not isinstance(error.__cause__, DivergedError) or distributed.is_initialized():
                raise
            diverged = error
            log.warning(f"{path.name}: no scores; {error}")  # a young network's; no reason to leave out the others
            continue
        if record is not None:
            records.append(record)
            curve.add(path, record["scores"], _settings(record["protocol"]))
    if not records and diverged is not None:
        raise ConfigError(f"{run}: no checkpoint has scores; {diverged}") from diverged
    if not records:  # not the first process
        return {}
    print(f"\n{curve}")
    _publish(config, run, records)
    return curve.best["scores"]


def _of_checkpoint(config: DictConfig, path: Path, num_samples: int) -> dict[str, Any] | None:
    """The record of samples of a checkpoint, drawn unless they are there."""
    score = load_score(path, config.weights, **assumed(config))
    other = None if config.against is None else _other(config, score)
    judge = Judge(config, build(config.data, "data") if "data" in config else training_data(score, config.root))
    judge.try_out(score.image_shape, num_samples)
    keys = ("batch_size", "seed", "weights", "sampler", "trainer", "compile", "out", "authors")
    settings = {"ckpt": str(path), "num_samples": num_samples, "format": "npz", "trajectory": 0}
    task = {"_target_": "ncsn.sampling.tasks.Generate", "init": "uniform", "root": None}  # as sample.py has it
    start = time.perf_counter()
    folder = sample(OmegaConf.create({key: config[key] for key in keys} | settings | {"task": task}))
    judge.trainer.strategy.barrier("sampled")  # before others read what the first process has put together
    seconds = {"sampling": time.perf_counter() - start}
    return judge(images_of(folder), folder, score, other, seconds)


def _publish(config: DictConfig, run: Path, records: list[dict[str, Any]]) -> None:
    """Sends scores of a run's checkpoints to its dashboards, and renews its report."""
    if not (run / "config.yaml").is_file():
        if config.logger:
            log.warning(f"logger: {run} is no folder of a run; the scores go to no dashboard")
        return
    try:
        for logger in build_loggers(config, run)[1:]:  # all but the CSV, in which a training's rows are
            for record in records:
                logger.log_metrics(
                    {f"eval/{name}": value for name, value in record["scores"].items()}
                    | {"step": record["checkpoint"]["step"]}
                )
    finally:
        wandb.finish()
    refresh_report(run)


def _other(config: DictConfig, score: TrainedScore) -> TrainedScore:
    """The network that another is compared with, if that can be done."""
    other = load_score(config.against, config.weights)
    if not torch.equal(other.sigmas, score.sigmas):
        raise ConfigError(
            f"against={config.against}: has other noise levels ({_ladder(other.sigmas)}, not "
            f"{_ladder(score.sigmas)}); losses compare at the same ones only"
        )
    if other.image_shape != score.image_shape:
        raise ConfigError(
            f"against={config.against}: has images of {other.image_shape}, not {score.image_shape}; losses "
            "compare on the same ones only"
        )
    return other


class Judge:
    """Scores sets of images by one protocol: a data set, a feature network, a reference.

    Args:
        config: of `evaluate.py`.
        data: what the images are samples of.
    """

    def __init__(self, config: DictConfig, data: ImageDataModule) -> None:
        self.config, self.data = config, data
        # Samples are drawn as precisely as the user says, features always computed in full precision.
        self.trainer: Trainer = build(OmegaConf.create({**config.trainer, "precision": "32-true"}), "trainer")
        data.prepare_data()
        self.network = build_features(config.features, data)
        self.kept = Path(config.references or Path(data.root, "references"))
        if config.reference in ("train", "val"):
            self.compared_with, shown = data.identity(config.reference), data.images(config.reference)
            self.real = (tuple(shown.shape[1:]), len(shown))
        else:
            images = images_of(Path(config.reference).expanduser(), data.channels)
            self.compared_with, self.real = images.identity(), (images.shape, len(images))

    def try_out(self, shape: tuple[int, ...], count: int) -> None:
        """What the network or the scores refuse of so many images of this shape is told before they are drawn."""
        real_shape, real_count = self.real
        ScoreSettings.suited_to(count, real_count)
        for size in {shape, real_shape}:
            extract(self.network, [torch.zeros(1, *size, dtype=torch.uint8)])

    def __call__(
        self,
        images: ImageSet,
        folder: Path,
        score: TrainedScore | None = None,
        other: TrainedScore | None = None,
        seconds: dict[str, float] | None = None,
    ) -> dict[str, Any] | None:
        """Scores images, writes `evaluation.json` to a folder and returns it; None on processes but the first.

        Args:
            images: the samples.
            folder: for the record, and for what an interrupted call leaves behind.
            score: the network that drew them, if it is known.
            other: another one, whose held-out loss is put beside its.
            seconds: that were spent on them before.
        """
        protocol = self._protocol(images, other)
        kept = folder / "evaluations" / digest(protocol)
        record = _read(kept / "evaluation.json")
        if record is None or record["protocol"] != protocol:
            seconds = {} if seconds is None else seconds
            parts = {key: protocol[key] for key in ("samples", "features")} | {"batch_size": self.config.batch_size}
            unfinished = folder / f".features-{digest(parts)}"
            with _timed(seconds, "features"):
                samples = extract_shared(self.trainer, self.network, images, self.config.batch_size, unfinished)
            if samples is not None:
                record = {"protocol": protocol} | self._judge(images, samples, kept, score, other, seconds)
                write_text(kept / "evaluation.json", json.dumps(record, indent=2))
                shutil.rmtree(unfinished)
        if record is None or not self.trainer.is_global_zero:
            return None
        for name in ("evaluation.json", "neighbours.png"):
            if (kept / name).is_file():
                with atomically(folder / name) as partial:
                    shutil.copyfile(kept / name, partial)
        _print(record, folder)
        return record

    def _protocol(self, images: ImageSet, other: TrainedScore | None) -> dict[str, Any]:
        """What the record depends on."""
        config, described = self.config, self.network.describe()
        against = None
        if other is not None:
            path = resolve(config.against).resolve()
            against = {"path": str(path), "file": fingerprint([path], path.parent), "weights": other.weights}
        return {
            "samples": (_drawn(images) or images.identity()) | {"count": len(images)},
            "features": {"name": described["name"], "checksum": described["checksum"]},
            "reference": self.compared_with,
            "data": self.data.identity("train"),
            "scores": list(config.scores),
            "against": against,
        }

    def _judge(
        self,
        images: ImageSet,
        samples: Features,
        folder: Path,
        score: TrainedScore | None,
        other: TrainedScore | None,
        seconds: dict[str, float],
    ) -> dict[str, Any]:
        self.device = self.trainer.strategy.root_device
        with _timed(seconds, "reference"):
            reference = self._reference(self.config.reference)
        with _timed(seconds, "scores"):
            settings = ScoreSettings.suited_to(len(samples), len(reference.features))
            scores = compute_scores(
                samples, reference, which=list(self.config.scores), settings=settings, device=self.device
            )
        record = {
            "scores": scores,
            "num_samples": len(samples),
            "features": self.network.describe(),
            "settings": asdict(settings),
            "samples": str(images.path),
            "reference": reference.key["images"] | {"count": len(reference.features)},
        }
        record |= _origin(images, score)
        with _timed(seconds, "beyond"):
            record["memorisation"] = self._memorisation(images, samples, folder)
            if isinstance(self.network, Classifier):
                record["classes"] = _classes(samples)
            if score is not None and self.data.images("val").shape[1:] == score.image_shape:
                record["held_out"] = self._held_out(score)
            if other is not None and "held_out" in record:
                record["held_out_against"] = self._held_out(other) | {"checkpoint": self.config.against}
        record["seconds"] = {name: round(value, 1) for name, value in seconds.items()}
        record["versions"] = {p: importlib.metadata.version(p) for p in ("ncsn", "torch", "torch-fidelity")}
        return record

    def _reference(self, name: str) -> Reference:
        options: dict[str, Any] = {"device": self.device, "batch_size": self.config.batch_size}
        if name in ("train", "val"):
            split: Split = "train" if name == "train" else "val"
            return Reference.of(self.data, split, self.network, self.kept, **options)
        channels = self.data.channels
        return Reference.of_folder(Path(name).expanduser(), self.network, self.kept, channels=channels, **options)

    def _memorisation(self, images: ImageSet, samples: Features, folder: Path) -> dict[str, Any] | None:
        """Distances to the nearest training image, of samples and of held-out images; and a picture of the first."""
        training, held_out = self.data.images("train"), self.data.images("val")[:LOOKED_AT]
        x = torch.cat([*islice(images.batches(self.config.batch_size), -(-LOOKED_AT // self.config.batch_size))])
        x = x[:LOOKED_AT]
        if x.shape[1:] != training.shape[1:]:
            return None  # of another size than the data set's
        of_training = self._reference("train").features.features
        of_held_out = extract(self.network, held_out.split(self.config.batch_size), self.device).features
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

    def _held_out(self, score: TrainedScore) -> dict[str, Any]:
        """The loss on held-out images by noise level; the noise is the same for all networks."""
        count = min(LOOKED_AT, max(EVALUATIONS // len(score.sigmas), 1))
        images, network = self.data.images("val")[:count], score.network.to(self.device)
        loss = loss_by_level(network, images, score.sigmas, seed=self.config.seed, device=self.device)
        return loss._asdict() | {"loss_per_dim": loss.loss_per_dim, "images": len(images)}


def build_features(node: DictConfig, data: ImageDataModule) -> FeatureNetwork:
    """The feature network of a configuration; a classifier is that of the data set.

    Raises:
        UserError: it is not there and cannot be made.
    """
    takes_data = "data" in inspect.signature(hydra.utils.get_object(node["_target_"])).parameters
    network: FeatureNetwork = build(node, "features", **({"data": data} if takes_data else {}))
    return network


def _check_values(config: DictConfig) -> None:
    if (config.ckpt is None) == (config.samples is None):
        raise ConfigError("ckpt, samples: give one of them, ckpt=<checkpoint or run's folder> or samples=<images>")
    for key in ("num_samples", "against") if config.ckpt is None else ():
        if config[key] is not None:
            raise ConfigError(f"{key}={config[key]}: goes with ckpt=…; of samples=… all are scored")
    if config.root is not None and "data" in config:
        raise ConfigError(
            f"root={config.root}: is where a checkpoint's own data set lies; set data.root={config.root}"
        )
    for key, least in (("num_samples", FEWEST), ("batch_size", 1), ("seed", None)):
        value = config[key]
        if key == "num_samples" and value is None:
            continue
        if not isinstance(value, int) or (least is not None and value < least):
            raise ConfigError(f"{key}={value}: must be an integer{'' if least is None else f', at least {least}'}")
    if config.weights not in ("ema", "raw"):
        raise ConfigError(f"weights={config.weights}: must be ema or raw")
    if isinstance(config.scores, str) or not config.scores:
        raise ConfigError(f"scores={config.scores}: must be a list of some of {', '.join(ALL)}, say scores=[frechet]")
    for name in config.scores:
        if name not in ALL:
            raise ConfigError(f"scores={list(config.scores)}: {name} is none of {', '.join(ALL)}")
    if config.ckpt is not None and Path(config.ckpt).expanduser().is_dir():
        if config.out is not None:
            raise ConfigError(
                f"out={config.out}: each checkpoint of a run has a folder of its own; leave it out, or give one "
                "checkpoint"
            )
        if "frechet" not in config.scores:
            raise ConfigError(
                f"scores={list(config.scores)}: the best checkpoint is chosen by frechet, which is missing"
            )


def _drawn(images: ImageSet) -> dict[str, Any] | None:
    """How samples of ours were drawn; None of others."""
    if images.path.name not in ("samples.npz", "images"):
        return None
    settings = _read(images.path.parent / "settings.json")
    needed = {"checkpoint", "sha256", "weights", "seed", "batch_size", "precision", "sampler"}
    return settings if settings is not None and needed <= settings.keys() else None


def _settings(protocol: dict[str, Any]) -> dict[str, Any]:
    """What the scores of a run's checkpoints have in common."""
    drawn = {key: protocol["samples"][key] for key in ("weights", "seed", "batch_size", "precision", "sampler")}
    return drawn | {"features": protocol["features"]["checksum"], "reference": protocol["reference"]}


def _origin(images: ImageSet, score: TrainedScore | None) -> dict[str, Any]:
    drawn = _drawn(images)
    if drawn is None:
        return {"checkpoint": None, "sampler": None, "denoise": None, "network_evaluations": None, "seed": None}
    step = None if score is None else score.step
    return {
        "checkpoint": {key: drawn[name] for key, name in (("path", "checkpoint"), ("sha256", "sha256"))}
        | {"step": step, "weights": drawn["weights"]},
        "sampler": drawn["sampler"],
        "denoise": (drawn["sampler"] or {}).get("denoise"),
        "network_evaluations": None if score is None else _evaluations(drawn["sampler"], len(score.sigmas)),
        "seed": drawn["seed"],
    }


def _evaluations(node: dict[str, Any], num_levels: int) -> int | None:
    """Evaluations of the network for an image; None where those of an energy come on top."""
    sampler: Sampler = build(OmegaConf.create(node), "sampler")
    return None if getattr(sampler, "needs_energy", False) else sampler.num_steps(num_levels)


def _classes(samples: Features) -> dict[str, Any]:
    """The share of each class in the samples, and how sure the classifier is."""
    probabilities = samples.logits.softmax(1)
    counts = torch.bincount(probabilities.argmax(1), minlength=probabilities.shape[1])
    return {
        "shares": [round(share, 4) for share in (counts / counts.sum()).tolist()],
        "mean_confidence": round(float(probabilities.amax(1).mean()), 4),
    }


def _ladder(sigmas: Tensor) -> str:
    return f"{len(sigmas)} from {sigmas[0]:.3g} to {sigmas[-1]:.3g}"


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        return record
    except (OSError, ValueError):
        return None


def _print(record: dict[str, Any], folder: Path) -> None:
    """A table of the scores, with what they depend on."""
    scores, features = record["scores"], record["features"]
    width = max(map(len, scores))
    print()
    for name, value in scores.items():
        if not name.endswith("_std"):
            spread = f" ± {scores[name + '_std']:.3g}" if f"{name}_std" in scores else ""
            print(f"  {name.ljust(width)}  {value:.5g}{spread}")
    accuracy = f", {features['accuracy']:.2%} right on held-out images" if "accuracy" in features else ""
    reference = record["reference"]
    of = reference["path"] if "path" in reference else f"{reference['name']} {reference['split']}"
    print(f"\n  features   {features['name']} ({features['checksum'][:8]}{accuracy})")
    print(f"  reference  {reference['count']} images, {of}")
    if record["sampler"]:
        denoise = {True: ", denoised", False: ", not denoised", None: ""}[record["denoise"]]
        sampler = record["sampler"]["_target_"].rpartition(".")[2]
        evaluations = record["network_evaluations"]
        cost = f", {evaluations} network evaluations an image" if evaluations else ""
        print(f"  samples    {sampler}{denoise}, {record['checkpoint']['weights']} weights{cost}")
    if "held_out_against" in record:
        ours, theirs = record["held_out"], record["held_out_against"]
        print(f"\n  2·loss/D on held-out images    this      {theirs['checkpoint']}")
        for level in zip(ours["sigmas"], *(x["twice_the_loss_per_dim"] for x in (ours, theirs)), strict=True):
            print("  σ = {:<24.4g} {:<9.5f} {:<9.5f}".format(*level))
    print(f"\n  {folder / 'evaluation.json'}")
