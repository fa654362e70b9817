"""Bits per dimension of held-out images, with all that they depend on.

Images are dequantised as training images are, (k + u)/256 with u uniform in [0, 1), whatever the network was trained
on. What is drawn for an image, u and the vectors v that estimate the divergence, is a function of the seed and of
its number, and not of its batch; so, with steps of a fixed length, is its likelihood.

<run folder>/likelihood/last_ema_1f3a…/
    likelihood.json   the record; the hash of its protocol names the folder
    likelihood.npz    key nats: log p of each image, (N,)
"""

import importlib.metadata
import json
import math
import shutil
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ncsn.checkpoint import TrainedScore
from ncsn.checkpoint.hub import outside_cache
from ncsn.config import as_config_error, build
from ncsn.damage import Damage, name_of
from ncsn.data import ImageDataModule
from ncsn.data.transforms import dequantize, to_unit_interval
from ncsn.errors import ConfigError
from ncsn.evaluation.per_image import Loaded, values_per_image
from ncsn.evaluation.scores import short_count
from ncsn.files import atomically, digest, one_process_at_a_time, read_record, sha256, write_text
from ncsn.flow import Solver
from ncsn.likelihood import Projection, bits_per_dim, check_projections, log_likelihood
from ncsn.random import Draws
from ncsn.runs.folder import Run
from ncsn.sampling.prepare import assumptions, build_trainer, load
from ncsn.sampling.tasks.images import training_data

BITS_PER_DIM = "bits_per_dim"
MOMENTS_IMAGES = 16_384  # of the training images at most, whose mean and variance the prior has


@dataclass(frozen=True)
class Estimator:
    """How likelihoods are computed; the attributes are arguments of `log_likelihood`."""

    solver: Solver
    num_projections: int | None
    projection: Projection
    seed: int

    def __post_init__(self) -> None:
        check_projections(self.num_projections, self.projection)

    def __call__(
        self, score: TrainedScore, images: Tensor, first: int, moments: tuple[Tensor, Tensor], device: torch.device
    ) -> dict[str, Tensor]:
        """By name, float64 (B,): log p of images in `nats`, and `evaluations` of the network.

        Args:
            images: uint8 (B, C, H, W).
            first: the number of the first of them.
            moments: mean and variance of the data, (C, H, W).
        """
        draws = [Draws(self.seed, "likelihood", first + row) for row in range(len(images))]
        u = torch.cat([d.uniform(1, *images.shape[1:]) for d in draws])
        found = log_likelihood(
            score.network,
            dequantize(to_unit_interval(images), u).to(device),
            score.sigmas.to(device),
            mean=moments[0],
            variance=moments[1],
            solver=self.solver,
            num_projections=self.num_projections,
            projection=self.projection,
            normal=lambda x: torch.cat([d.normal(u[:1]) for d in draws]).to(x),
        )
        nats = found.nats.cpu().double()
        return {"nats": nats, "evaluations": torch.full_like(nats, found.evaluations)}


def bits_per_dim_of(config: DictConfig, path: Path) -> tuple[dict[str, Any] | None, Path]:
    """The record of the bits per dimension of a network, and the folder that it lies in.

    Args:
        config: checked; its keys data, num_images, batch_size, seed, solver, num_projections, projection and those
            that say which network count.
        path: the checkpoint.

    Returns:
        None for the record on processes but the first.

    Raises:
        UserError: the checkpoint or the data are not what they should be, or the flow cannot be solved.
    """
    score = load(config, path)  # as it is, neither compiled nor rounded
    if isinstance(score.condition, Damage):
        raise ConfigError(
            f"scores={BITS_PER_DIM}: the network restores images (condition={name_of(score.condition)})"
        )
    own = training_data(score)
    data: ImageDataModule = own if config.data.get("_target_") is None else build(config.data, "data")
    for needed in (own, data):
        needed.prepare_data()
    images = data.images("val")[: config.num_images]
    if images.shape[1:] != score.image_shape:
        raise ConfigError(f"data: has images of {tuple(images.shape[1:])}, and the network of {score.image_shape}")
    solver: Solver = build(config.solver, "solver")
    with as_config_error(f"scores={BITS_PER_DIM}"):
        estimator = Estimator(solver, config.num_projections, config.projection, config.seed)
    place = outside_cache(path)
    checkpoint = {"path": place.resolve().name, "sha256": sha256(path), "step": score.step, "weights": score.weights}
    protocol = {
        "checkpoint": {key: checkpoint[key] for key in ("sha256", "weights")} | {"authors": assumptions(config)},
        "images": data.identity("val") | {"count": len(images)},
        "prior": own.identity("train"),
        "dequantisation": "uniform",
        "solver": OmegaConf.to_container(config.solver),
        "num_projections": config.num_projections,
        "projection": config.projection,
        "seed": config.seed,
        "batch_size": config.batch_size,
    }
    run = Run.of(place)
    beside = place.absolute().parent if run is None else run.path
    name = f"{place.resolve().stem}_{score.weights}_{digest(protocol)}"
    folder = (beside if config.out is None else Path(config.out)) / "likelihood" / name
    trainer = build_trainer(config.trainer, precision="32-true")
    with one_process_at_a_time(folder / "likelihood") if trainer.is_global_zero else nullcontext():
        record = read_record(folder / "likelihood.json")
        known = record is not None and record.get("protocol") == protocol
        if not trainer.strategy.broadcast(known):
            start = time.perf_counter()
            moments = moments_of(own.images("train"))

            def likelihoods(images: Tensor, first: int, device: torch.device) -> dict[str, Tensor]:
                with as_config_error(f"scores={BITS_PER_DIM}"):
                    return estimator(score, images, first, moments, device)

            parts = folder / "batches"
            found = values_per_image(
                trainer, score.network, likelihoods, Loaded(images), config.batch_size, parts, "Likelihoods"
            )
            record = None
            if found is not None:
                labels = data.labels("val")
                record = {"protocol": protocol, "checkpoint": checkpoint} | _summary(found, images, labels, data)
                record["seconds"] = round(time.perf_counter() - start, 1)
                record["versions"] = {p: importlib.metadata.version(p) for p in ("ncsn", "torch", "scipy")}
                with atomically(folder / "likelihood.npz") as partial, partial.open("wb") as file:
                    np.savez(file, nats=found["nats"].numpy())
                write_text(folder / "likelihood.json", json.dumps(record, indent=2))
                shutil.rmtree(parts, ignore_errors=True)
    return (record if trainer.is_global_zero else None), folder


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
    record = record | {"scores": record["scores"] | found["scores"], "likelihood": found["likelihood"]}
    record["protocol"] = record["protocol"] | {"likelihood": found["protocol"]}
    write_text(folder / "evaluation.json", json.dumps(record, indent=2))
    return record


def moments_of(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of every pixel of dequantised images, uint8 (N, C, H, W), float64 (C, H, W)."""
    some = images[:: -(-len(images) // MOMENTS_IMAGES)]
    total, squares = torch.zeros(2, *images.shape[1:], dtype=torch.float64)
    for batch in some.split(256):
        pixels = (batch.double() + 0.5) / 256
        total += pixels.sum(0)
        squares += pixels.square().sum(0)
    mean = total / len(some)
    return mean, squares / len(some) - mean**2 + 1 / (12 * 256**2)


def _summary(
    found_per_image: dict[str, Tensor], images: Tensor, labels: Tensor | None, data: ImageDataModule
) -> dict[str, Any]:
    """What the record says of the likelihoods of all images."""
    nats, evaluations = found_per_image["nats"], found_per_image["evaluations"]
    bits = bits_per_dim(nats, images[0].numel())
    mean, error = _mean(bits)
    found: dict[str, Any] = {
        "scores": {f"{BITS_PER_DIM}_{short_count(len(bits))}": mean},
        "likelihood": {
            "standard_error": error,
            "nats_per_image": float(nats.mean()),
            "dimensions": images[0].numel(),
            "images": len(bits),
            "evaluations": float(evaluations.double().mean()),
            "of": "{name} {split}".format(**data.identity("val")),
        },
    }
    names = data.classes()
    if labels is not None and names is not None:
        labels = labels[: len(bits)]
        present = labels.unique().tolist()
        of_class = [bits[labels == label] for label in present]
        found["likelihood"]["by_class"] = {
            "classes": [names[label] for label in present],
            "counts": [len(some) for some in of_class],
            BITS_PER_DIM: [_mean(some)[0] for some in of_class],
            "standard_error": [_mean(some)[1] for some in of_class],
        }
    return found


def _mean(values: Tensor) -> tuple[float, float | None]:
    """The mean and its standard error, which one value has not."""
    error = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else None
    return float(values.mean()), error
