"""Bits per dimension of images under a network, by the probability flow; see `ncsn.evaluation.under_network`."""

import math
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ncsn.config import as_config_error, build
from ncsn.evaluation.controls import NamedImages
from ncsn.evaluation.estimator import Estimator, moments_of, with_half_the_steps
from ncsn.evaluation.per_image import Images, Loaded, values_per_image
from ncsn.evaluation.scores import short_count
from ncsn.evaluation.under_network import Computed, UnderNetwork, mean_and_error
from ncsn.likelihood import bits_per_dim

BITS_PER_DIM = "bits_per_dim"
ERROR_IMAGES = 16  # that the error of the solver is told for


class Bits(UnderNetwork):
    """Bits per dimension; of the configuration, solver, num_projections and projection count."""

    score_name, kind = BITS_PER_DIM, "likelihood"

    def __init__(self, config: DictConfig, path: Path) -> None:
        super().__init__(config, path)
        with as_config_error(f"scores={BITS_PER_DIM}"):
            self.estimator = Estimator(
                build(config.solver, "solver"), config.num_projections, config.projection, config.seed
            )

    @cached_property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of the network's training images, (C, H, W), for the prior."""
        return moments_of(self.own.images("train"))

    def settings(self) -> dict[str, Any]:
        return {
            "prior": self.own.identity("train"),
            "dequantisation": "uniform",
            "solver": OmegaConf.to_container(self.config.solver),
            "num_projections": self.config.num_projections,
            "projection": self.config.projection,
        }

    def computed(self, images: NamedImages, folder: Path) -> Computed | None:
        """The likelihoods of all images; and for the first of them the error of fixed steps.

        With steps twice as long the error of a method of order 2 is four times as large (Richardson): from one to the
        other it changes by three times the error.
        """

        def values(images: Images, estimator: Estimator, parts: str, title: str) -> dict[str, Tensor] | None:
            def likelihoods(images: Tensor, first: int, device: torch.device) -> dict[str, Tensor]:
                with as_config_error(f"scores={BITS_PER_DIM}"):
                    return estimator(self.score, images, first, self.moments, device)

            size, network = self.config.batch_size, self.score.network
            return values_per_image(self.trainer, network, likelihoods, images, size, folder / parts, title)

        found, error = values(images.images, self.estimator, "batches", f"Likelihoods of {images.name}"), None
        solver, ratio = with_half_the_steps(self.estimator.solver, len(self.score.sigmas))
        if solver is not None:
            few = Loaded(next(images.images.batches(ERROR_IMAGES)))
            estimator = replace(self.estimator, solver=solver)
            other = values(few, estimator, "batches_with_half_the_steps", "Error of the solver")
            if found is not None and other is not None:
                error = (found["nats"][: len(few)] - other["nats"]).abs() / (ratio**2 - 1)
        return None if found is None else (summary(found, error, images, self.dimensions), {"nats": found["nats"]})


def summary(found: dict[str, Tensor], error: Tensor | None, images: NamedImages, dimensions: int) -> dict[str, Any]:
    """What the record says of the likelihoods of all images.

    Args:
        found: what `Estimator` found.
        error: of the solver, in nats, for a few of them; None if it is not known.
        dimensions: D.
    """
    bits = bits_per_dim(found["nats"], dimensions)
    mean, standard_error = mean_and_error(bits)
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
        of_class = [mean_and_error(bits[images.labels == label]) for label in present]
        likelihood["by_class"] = {
            "classes": [images.classes[label] for label in present],
            "counts": [int((images.labels == label).sum()) for label in present],
            BITS_PER_DIM: [mean for mean, _ in of_class],
            "standard_error": [error for _, error in of_class],
        }
    return {"scores": {f"{BITS_PER_DIM}_{short_count(len(bits))}": mean}, "likelihood": likelihood}
