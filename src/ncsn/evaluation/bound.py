"""The variational bound of images under a network, by its terms; see `ncsn.evaluation.under_network`.

What is drawn for an image is a function of the seed and of its number, and not of its batch.

<run folder>/bound/last_ema_1f3a…/
    bound.json   the record
    bound.npz    prior, diffusion, decoder: the terms of each image in nats, (N,)
"""

import math
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ncsn.bound import VariationalBound
from ncsn.config import as_config_error, build
from ncsn.evaluation.controls import NamedImages
from ncsn.evaluation.per_image import values_per_image
from ncsn.evaluation.scores import short_count
from ncsn.evaluation.under_network import Computed, UnderNetwork, mean_and_error
from ncsn.random import Draws

ELBO = "elbo_bits_per_dim"
TERMS = ("prior", "diffusion", "decoder")


class Bounds(UnderNetwork):
    """The bound in bits per dimension; of the configuration, bound counts."""

    score_name, kind = ELBO, "bound"
    in_rows = (*UnderNetwork.in_rows, *TERMS)

    def __init__(self, config: DictConfig, path: Path) -> None:
        super().__init__(config, path)
        self.estimator: VariationalBound = build(config.bound, "bound")

    def settings(self) -> dict[str, Any]:
        return {
            "estimator": OmegaConf.to_container(self.config.bound),
            "levels": len(self.score.sigmas),
            "grey_levels_at": "(k + 1/2)/256" if self.own.dequantize else "k/255",
        }

    def computed(self, images: NamedImages, folder: Path) -> Computed | None:
        def terms(images: Tensor, first: int, device: torch.device) -> dict[str, Tensor]:
            draws = [Draws(self.config.seed, "bound", first + row) for row in range(len(images))]

            def normal(x: Tensor) -> Tensor:
                return torch.cat([d.normal(torch.empty(1, *x.shape[1:])) for d in draws]).to(x)

            with as_config_error(f"scores={ELBO}"):
                found = self.estimator(
                    self.score.network,
                    images.to(device),
                    self.score.sigmas.to(device),
                    dequantized=self.own.dequantize,
                    normal=normal,
                )
            values = {name: getattr(found, name).cpu().double() for name in TERMS}
            return values | {"evaluations": torch.full_like(values["prior"], found.evaluations)}

        title = f"Bounds of {images.name}"
        size, network = self.config.batch_size, self.score.network
        found = values_per_image(self.trainer, network, terms, images.images, size, folder / "batches", title)
        if found is None:
            return None
        evaluations = float(found.pop("evaluations").mean())
        return summary(found, evaluations, images, self.dimensions), found


def summary(terms: dict[str, Tensor], evaluations: float, images: NamedImages, dimensions: int) -> dict[str, Any]:
    """What the record says of the terms of all images, (N,) in nats."""
    bits = {name: nats / (dimensions * math.log(2)) for name, nats in terms.items()}
    mean, error = mean_and_error(torch.stack(list(bits.values())).sum(0))
    bound = {
        "of": images.name,
        "standard_error": error,
        **{name: float(values.mean()) for name, values in bits.items()},
        "dimensions": dimensions,
        "images": len(images.images),
        "evaluations": evaluations,
    }
    return {"scores": {f"{ELBO}_{short_count(len(images.images))}": mean}, "bound": bound}
