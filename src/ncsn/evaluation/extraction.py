"""Features of many images, shared out over devices."""

from pathlib import Path

import torch
from lightning import Trainer
from torch import Tensor

from ncsn.evaluation.features import FeatureNetwork, Features, extract_batches
from ncsn.evaluation.image_sets import ImageSet
from ncsn.evaluation.per_image import values_per_image


def extract_shared(
    trainer: Trainer, network: FeatureNetwork, images: ImageSet, batch_size: int, parts: Path
) -> Features | None:
    """The features of all images, computed by all processes of a trainer; None on all of them but the first.

    Args:
        batch_size: images at a time on a device.
        parts: see `values_per_image`.
    """

    def features(images: Tensor, first: int, device: torch.device) -> dict[str, Tensor]:
        (found,) = extract_batches(network, [images], device)
        return {"features": found.features, "logits": found.logits}

    title = f"Features by {network.name}"
    found = values_per_image(trainer, network, features, images, batch_size, parts, title)
    return None if found is None else Features(**found)
