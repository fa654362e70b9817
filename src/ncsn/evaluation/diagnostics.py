"""What the scores of samples do not say: memorisation, classes, and the held-out loss of the network."""

from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ncsn.checkpoint import TrainedScore
from ncsn.evaluation.features import Device, Features
from ncsn.evaluation.held_out import loss_by_level
from ncsn.evaluation.image_sets import ImageSet
from ncsn.evaluation.neighbours import nearest, quartiles
from ncsn.images import Picture, grid

LOOKED_AT = 1_000  # images
EVALUATIONS = 50_000  # of the network at most, for the held-out loss: with hundreds of levels on fewer images
SHOWN, NEIGHBOURS = 10, 8


class Sets(NamedTuple):
    """Images, uint8 (N, C, H, W), or their features (N, D); the training set may be larger than memory."""

    samples: Tensor
    training: Tensor
    held_out: Tensor


def first_of(images: ImageSet, batch_size: int) -> Tensor:
    """The first images of a set, uint8 (N, C, H, W)."""
    return torch.cat([*islice(images.batches(batch_size), -(-LOOKED_AT // batch_size))])[:LOOKED_AT]


def memorisation(images: Sets, features: Sets, device: Device) -> tuple[dict[str, Any], Picture]:
    """Distances to the nearest training image, of samples and of held-out images (Song & Ermon 2019, App. C.2).

    A network that has memorised its training images gives samples that are nearer to them than held-out images are.

    Returns:
        Quartiles of the distances in pixels, in units of [0, 1], and in features; and a picture of samples beside
        their nearest training images by both.
    """
    count = min(NEIGHBOURS, len(images.training))
    result, rows = {}, []
    for name, sets, unit in (("pixels", images, 255), ("features", features, 1)):
        found = nearest(sets.samples, sets.training, count, device=device)
        held_out = nearest(sets.held_out, sets.training, device=device)
        result[name] = {
            "samples_to_training": quartiles(found.distances[:, 0] / unit),
            "held_out_to_training": quartiles(held_out.distances[:, 0] / unit),
        }
        beside = images.training[found.indices[:SHOWN]]
        rows.append(torch.cat([images.samples[:SHOWN, None], beside], dim=1))
    return result, grid(torch.cat(rows, dim=1).flatten(0, 1).float() / 255, 2 * (count + 1))


def class_shares(samples: Features) -> dict[str, Any]:
    """The share of each class among the samples, and the mean confidence of the classifier."""
    probabilities = samples.logits.softmax(1)
    counts = torch.bincount(probabilities.argmax(1), minlength=probabilities.shape[1])
    return {
        "shares": [round(share, 4) for share in (counts / counts.sum()).tolist()],
        "mean_confidence": round(float(probabilities.amax(1).mean()), 4),
    }


def held_out_loss(score: TrainedScore, held_out: Tensor, seed: int, device: Device) -> dict[str, Any]:
    """The loss on held-out images, uint8 (N, C, H, W), by noise level; the noise is the same for all networks."""
    images = held_out[: min(LOOKED_AT, max(EVALUATIONS // len(score.sigmas), 1))]
    loss = loss_by_level(score.network.to(device), images, score.sigmas, seed=seed, device=device)
    return loss._asdict() | {"loss_per_dim": loss.loss_per_dim, "images": len(images)}
