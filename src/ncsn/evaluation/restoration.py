"""How close restored images come to their originals, how real they look, and how different they are.

psnr                     10 log₁₀(1/MSE) in dB, of pixels in [0, 1]; the mean over images
ssim                     structural similarity (Wang et al. 2004), by torchmetrics
classifier_distance      ‖f(restored) − f(original)‖ of features f; the mean over images
classifier_frechet_1k    Fréchet distance of 1,000 restored images, one of each original, to these originals
classifier_accuracy      the share of them that the classifier takes for the class of the original (CA)
classifier_diversity     ‖f(a) − f(b)‖ of two samples a, b of one image; the mean over pairs and images
pixel_diversity          ‖a − b‖, the same in pixels

With Inception's features these are `inception_distance`, which Palette (Saharia et al. 2022) calls the perceptual
distance (PD), `fid_1k` and `inception_diversity`; Inception does not know the classes of a data set, and says nothing
of accuracy. Without features (features=none) there are `psnr`, `ssim` and `pixel_diversity`. All pixels count, those
that were known as well. Where an image has several samples, the Fréchet distance is the mean over their first,
second, …, so that its bias, which depends on the number of images, is that of methods with one. The originals are a
method as well: their diversity is that of different originals.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ncsn.damage import Jpeg
from ncsn.data.transforms import to_unit_interval
from ncsn.evaluation.features import Device, Features, full_precision
from ncsn.evaluation.reference import statistics_of
from ncsn.evaluation.scores import check_finite, frechet_distance, names_of

HIGHEST_PSNR = 10 * math.log10(12 * 255**2)
"""58.9 dB: the error of rounding to 8 bits, (1/255)²/12. Images of 8 bits that are the same are known no better."""

MOST_PAIRED = 1_000  # originals, of which all pairs are compared
QUALITIES = 5  # of JPEG, in a bin


@dataclass(frozen=True)
class Originals:
    """N images before they were damaged.

    Attributes:
        images: uint8 (N, C, H, W).
        features: of these; None where there is no feature network.
        network: the name of that network.
        labels: their classes, int64 (N,), where it is a classifier of them; None otherwise.
    """

    images: Tensor
    features: Features | None = None
    network: str = ""
    labels: Tensor | None = None


@dataclass(frozen=True)
class Pixels:
    """What is computed from the pixels of restored images, k for each of N originals.

    Attributes:
        psnr, ssim: (N, k).
        diversity: (N,); not a number for k = 1.
    """

    psnr: Tensor
    ssim: Tensor
    diversity: Tensor


def compare_pixels(restored: Iterable[Tensor], originals: Tensor, per_image: int, device: Device = "cpu") -> Pixels:
    """Compares restored images with their originals, a batch at a time.

    Args:
        restored: batches, uint8 (B, C, H, W), B a multiple of k: the k samples of the first original, and so on.
        originals: uint8 (N, C, H, W).
        per_image: k.
    """
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    place = 0
    for batch in restored:
        here = originals[place : place + len(batch) // per_image]
        place += len(here)
        x, y = (to_unit_interval(images.to(device)) for images in (batch, here))
        y = y.repeat_interleave(per_image, dim=0)
        with full_precision(torch.device(device)):
            found = (psnr(x, y), ssim(x, y), between(x.flatten(1).unflatten(0, (-1, per_image))))
        rows.append((found[0].view(-1, per_image).cpu(), found[1].view(-1, per_image).cpu(), found[2].cpu()))
    return Pixels(*(torch.cat(column) for column in zip(*rows, strict=True)))


def psnr(images: Tensor, originals: Tensor) -> Tensor:
    """10 log₁₀(1/MSE) of each image (B, C, H, W) in [0, 1], (B,) in dB; at most `HIGHEST_PSNR`."""
    from torchmetrics.functional.image import peak_signal_noise_ratio

    found = peak_signal_noise_ratio(images, originals, data_range=1.0, reduction="none", dim=(1, 2, 3))
    return found.clamp(max=HIGHEST_PSNR)


def ssim(images: Tensor, originals: Tensor) -> Tensor:
    """Structural similarity of each image (B, C, H, W) in [0, 1], (B,), in a Gaussian window with σ = 1.5."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    found = structural_similarity_index_measure(images, originals, data_range=1.0, reduction="none")
    assert isinstance(found, Tensor)
    return found.view(-1)


def between(rows: Tensor) -> Tensor:
    """Mean distance ‖a − b‖ of different rows a, b (…, k, D), (…); not a number for k = 1."""
    count = rows.shape[-2]
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")  # which is 0 for equal rows
    return distances.sum((-2, -1)) / (count * (count - 1))


def restoration_scores(pixels: Pixels, features: Features | None, originals: Originals) -> dict[str, float]:
    """The scores of a method, by their names; see the table above.

    Args:
        pixels: of k restored images for each of the N originals.
        features: of the same, in the same order, where the originals have some.

    Raises:
        DataError: features that are not finite.
    """
    per_image = pixels.psnr.shape[1]
    scores = {"psnr": _mean(pixels.psnr), "ssim": _mean(pixels.ssim)}
    if features is not None:
        scores |= _by_features(features, originals, per_image)
    return scores | ({"pixel_diversity": _mean(pixels.diversity)} if per_image > 1 else {})


def scores_of_originals(originals: Originals) -> dict[str, float]:
    """The scores of what cannot be restored better; diversity is that of different originals, 1,000 at most."""
    images, few = originals.images, slice(MOST_PAIRED)
    scores = restoration_scores(compare_pixels(images.split(256), images, 1), originals.features, originals)
    if originals.features is not None:
        scores[f"{_kind(originals)}_diversity"] = _mean(between(originals.features.features[few]))
    return scores | {"pixel_diversity": _mean(between(to_unit_interval(images[few]).flatten(1)))}


def by_quality(qualities: Tensor, damage: Jpeg, methods: Iterable[Pixels]) -> list[dict[str, Any]]:
    """PSNR by the quality of JPEG.

    Args:
        qualities: Q of each of N images, int64 (N,).
        damage: between which bounds they lie.
        methods: what is known of their restored images.

    Returns:
        For five qualities each, and a few more at the end, where there are images: `quality`, the lowest and the
        highest; `count`, the images; `psnr`, of each method in turn.
    """
    bins, methods = [], list(methods)
    number = max(1, (damage.highest - damage.lowest + 1) // QUALITIES)
    for i in range(number):
        low = damage.lowest + i * QUALITIES
        high = damage.highest if i == number - 1 else low + QUALITIES - 1
        rows = (qualities >= low) & (qualities <= high)
        if rows.any():
            values = [_mean(pixels.psnr[rows]) for pixels in methods]
            bins.append({"quality": [low, high], "count": int(rows.sum()), "psnr": values})
    return bins


def _by_features(features: Features, originals: Originals, per_image: int) -> dict[str, float]:
    assert originals.features is not None
    real, kind = originals.features.features, _kind(originals)
    check_finite(originals.network, features.features, features.logits, real)
    rows, reference = features.features.unflatten(0, (-1, per_image)), statistics_of(real)
    frechet = [frechet_distance(statistics_of(rows[:, k]), reference) for k in range(per_image)]
    scores = {
        f"{kind}_distance": _mean((rows - real[:, None]).norm(dim=-1)),
        names_of(originals.network, len(real))["frechet"]: sum(frechet) / per_image,
    }
    if originals.labels is not None:
        right = features.logits.argmax(1) == originals.labels.repeat_interleave(per_image)
        scores[f"{kind}_accuracy"] = _mean(right)
    return scores | ({f"{kind}_diversity": _mean(between(rows))} if per_image > 1 else {})


def _kind(originals: Originals) -> str:
    """Of the feature network, "inception" or "classifier"."""
    return originals.network.partition("-")[0]


def _mean(values: Tensor) -> float:
    return values.double().mean().item()
