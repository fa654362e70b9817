"""Bits per dimension of images under a network, with all that they depend on.

<run folder>/likelihood/last_ema_1f3a…/
    likelihood.json   the record; the hash of its protocol names the folder
    likelihood.npz    nats: log p of each image, (N,); files: their names, where each is a file
"""

import importlib.metadata
import json
import math
import shutil
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ncsn.checkpoint.hub import outside_cache
from ncsn.config import as_config_error, build
from ncsn.damage import Damage, name_of
from ncsn.data import ImageDataModule
from ncsn.errors import ConfigError
from ncsn.evaluation.controls import Control, NamedImages, control_of, given_images, held_out_images
from ncsn.evaluation.drawn import OwnSamples
from ncsn.evaluation.estimator import Estimator, moments_of, with_half_the_steps
from ncsn.evaluation.per_image import Images, Loaded, values_per_image
from ncsn.evaluation.scores import in_order, short_count
from ncsn.files import atomically, digest, one_process_at_a_time, read_record, sha256, write_text
from ncsn.likelihood import bits_per_dim
from ncsn.runs.folder import Run
from ncsn.sampling.prepare import assumptions, build_trainer, load
from ncsn.sampling.tasks.images import training_data

BITS_PER_DIM = "bits_per_dim"
ERROR_IMAGES = 16  # that the error of the solver is told for


class Bits:
    """Bits per dimension under the network of a checkpoint.

    Args:
        config: checked; its keys data, samples, num_images, batch_size, seed, solver, num_projections, projection,
            out and those that say which network count.
        path: the checkpoint.

    Raises:
        UserError: the checkpoint or the data are not what they should be.
    """

    def __init__(self, config: DictConfig, path: Path) -> None:
        self.config, self.path = config, path
        self.score = load(config, path)  # as it is, neither compiled nor rounded
        if isinstance(self.score.condition, Damage):
            raise ConfigError(
                f"scores={BITS_PER_DIM}: the network restores images (condition={name_of(self.score.condition)})"
            )
        with as_config_error(f"scores={BITS_PER_DIM}"):
            self.estimator = Estimator(
                build(config.solver, "solver"), config.num_projections, config.projection, config.seed
            )
        self.own = training_data(self.score)
        self.own.prepare_data()
        self.trainer = build_trainer(config.trainer, precision="32-true")
        self.place = outside_cache(path)
        about = {"sha256": sha256(path), "step": self.score.step, "weights": self.score.weights}
        self.checkpoint: dict[str, Any] = {"path": self.place.resolve().name} | about

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of the network's training images, (C, H, W), for the prior."""
        return moments_of(self.own.images("train"))

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
        """The record of the likelihoods of images, computed unless it is there, and the folder that it lies in.

        Returns:
            None for the record on processes but the first.

        Raises:
            UserError: an image is damaged, or the flow cannot be solved.
        """
        protocol = self._protocol(images)
        run = Run.of(self.place)
        beside = self.place.absolute().parent if run is None else run.path
        name = f"{self.place.resolve().stem}_{self.score.weights}_{digest(protocol)}"
        folder = (beside if self.config.out is None else Path(self.config.out)) / "likelihood" / name
        with one_process_at_a_time(folder / "likelihood") if self.trainer.is_global_zero else nullcontext():
            record = read_record(folder / "likelihood.json")
            known = record is not None and record.get("protocol") == protocol
            if not self.trainer.strategy.broadcast(known):
                start = time.perf_counter()
                found, error = self._likelihoods(images, folder)
                record = None
                if found is not None:
                    record = {"protocol": protocol, "checkpoint": self.checkpoint} | summary(
                        found, error, images, math.prod(self.score.image_shape)
                    )
                    record["seconds"] = round(time.perf_counter() - start, 1)
                    record["versions"] = {p: importlib.metadata.version(p) for p in ("ncsn", "torch", "scipy")}
                    kept: dict[str, Any] = {"nats": found["nats"].numpy()}
                    if images.files is not None:
                        kept["files"] = np.array(images.files)
                    with atomically(folder / "likelihood.npz") as partial, partial.open("wb") as file:
                        np.savez(file, **kept)
                    write_text(folder / "likelihood.json", json.dumps(record, indent=2))
                    for unfinished in (folder / "batches", folder / "batches_with_half_the_steps"):
                        shutil.rmtree(unfinished, ignore_errors=True)
        return (record if self.trainer.is_global_zero else None), folder

    def _protocol(self, images: NamedImages) -> dict[str, Any]:
        """What the record depends on."""
        config, checkpoint = self.config, {key: self.checkpoint[key] for key in ("sha256", "weights")}
        return {
            "checkpoint": checkpoint | {"authors": assumptions(config)},
            "images": images.identity | {"count": len(images.images)},
            "prior": self.own.identity("train"),
            "dequantisation": "uniform",
            "solver": OmegaConf.to_container(config.solver),
            "num_projections": config.num_projections,
            "projection": config.projection,
            "seed": config.seed,
            "batch_size": config.batch_size,
        }

    def _likelihoods(self, images: NamedImages, folder: Path) -> tuple[dict[str, Tensor] | None, Tensor | None]:
        """What `Estimator` finds of all images; and for the first of them the error of fixed steps, in nats.

        With steps twice as long the error of a method of order 2 is four times as large (Richardson): from one to the
        other it changes by three times the error.
        """

        def values(images: Images, estimator: Estimator, parts: str, title: str) -> dict[str, Tensor] | None:
            def likelihoods(images: Tensor, first: int, device: torch.device) -> dict[str, Tensor]:
                with as_config_error(f"scores={BITS_PER_DIM}"):
                    return estimator(self.score, images, first, self.moments, device)

            size, network = self.config.batch_size, self.score.network
            return values_per_image(self.trainer, network, likelihoods, images, size, folder / parts, title)

        found = values(images.images, self.estimator, "batches", f"Likelihoods of {images.name}")
        solver, ratio = with_half_the_steps(self.estimator.solver, len(self.score.sigmas))
        if solver is None:
            return found, None
        few = Loaded(next(images.images.batches(ERROR_IMAGES)))
        estimator = replace(self.estimator, solver=solver)
        other = values(few, estimator, "batches_with_half_the_steps", "Error of the solver")
        if found is None or other is None:
            return None, None
        return found, (found["nats"][: len(few)] - other["nats"]).abs() / (ratio**2 - 1)


def bits_per_dim_of(config: DictConfig, path: Path) -> tuple[dict[str, Any] | None, Path]:
    """The record of the bits per dimension of a network, and the folder that it lies in; see `Bits`.

    With `controls`, all means stand in it as `likelihood.sets`; each control has a record of its own beside it.
    """
    bits = Bits(config, path)
    main = bits.main()
    record, folder = bits.of(main)
    others = [bits.of(bits.control(name, main))[0] for name in config.controls]
    if record is not None and others:
        record["likelihood"]["sets"] = [
            {key: found["likelihood"][key] for key in ("of", "images", "standard_error")}
            | {BITS_PER_DIM: next(iter(found["scores"].values()))}
            for found in (record, *others)
            if found is not None
        ]
    return record, folder


def likelihood_settings(protocol: dict[str, Any]) -> dict[str, Any]:
    """What the likelihoods by a run's checkpoints have in common."""
    common = {key: value for key, value in protocol.items() if key != "checkpoint"}
    return common | {"weights": protocol["checkpoint"]["weights"]}


def add_bits_per_dim(
    record: dict[str, Any] | None, config: DictConfig, path: Path, folder: Path
) -> dict[str, Any] | None:
    """The record of samples with the bits per dimension of the network, also written to the samples' folder.

    Args:
        record: None on processes but the first.
        config, path: see `bits_per_dim_of`.
        folder: with the samples and `evaluation.json`.
    """
    found, _ = bits_per_dim_of(config, path)
    if record is None or found is None:
        return None
    scores = in_order(record["scores"] | found["scores"], config.scores)
    record = record | {"scores": scores, "likelihood": found["likelihood"]}
    record["protocol"] = record["protocol"] | {"likelihood": found["protocol"]}
    write_text(folder / "evaluation.json", json.dumps(record, indent=2))
    return record


def summary(found: dict[str, Tensor], error: Tensor | None, images: NamedImages, dimensions: int) -> dict[str, Any]:
    """What the record says of the likelihoods of all images.

    Args:
        found: what `Estimator` found.
        error: of the solver, in nats, for a few of them; None if it is not known.
        dimensions: D.
    """
    bits = bits_per_dim(found["nats"], dimensions)
    mean, standard_error = _mean(bits)
    likelihood: dict[str, Any] = {
        "of": images.name,
        "standard_error": standard_error,
        "nats_per_image": float(found["nats"].mean()),
        "dimensions": dimensions,
        "images": len(bits),
        "evaluations": float(found["evaluations"].mean()),
    }
    if error is not None:
        likelihood["solver_error"] = float(error.mean()) / (dimensions * math.log(2))
        likelihood["solver_error_images"] = len(error)
    if images.labels is not None and images.classes is not None:
        present = images.labels.unique().tolist()
        of_class = [_mean(bits[images.labels == label]) for label in present]
        likelihood["by_class"] = {
            "classes": [images.classes[label] for label in present],
            "counts": [int((images.labels == label).sum()) for label in present],
            BITS_PER_DIM: [mean for mean, _ in of_class],
            "standard_error": [error for _, error in of_class],
        }
    return {"scores": {f"{BITS_PER_DIM}_{short_count(len(bits))}": mean}, "likelihood": likelihood}


def _mean(values: Tensor) -> tuple[float, float | None]:
    """The mean and its standard error, which one value has not."""
    error = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else None
    return float(values.mean()), error
