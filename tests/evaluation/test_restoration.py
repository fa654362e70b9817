"""Scores of restored images, against closed forms, NumPy and torchmetrics."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from ncsn.damage import Jpeg
from ncsn.damage.jpeg import jpeg
from ncsn.errors import DataError
from ncsn.evaluation import Features, frechet_distance
from ncsn.evaluation.reference import statistics_of
from ncsn.evaluation.restoration import (
    HIGHEST_PSNR,
    Originals,
    Pixels,
    between,
    by_quality,
    compare_pixels,
    psnr,
    restoration_scores,
    scores_of_originals,
    ssim,
)
from ncsn.random import Draws

N, K = 6, 3


@pytest.fixture
def images() -> torch.Tensor:
    return (Draws(0, "images").uniform(N, 3, 12, 12) * 255).round().byte()


@pytest.fixture
def restored(images: torch.Tensor) -> torch.Tensor:
    """Three of each, the first of the first image a perfect one."""
    x = images.repeat_interleave(K, 0).float()
    x = (x + 20 * Draws(0, "restored").normal(x)).round().clamp(0, 255).byte()
    x[0] = images[0]
    return x


def test_psnr_and_ssim_of_even_images_are_known() -> None:
    a, b = 0.3, 0.5
    x, y = (torch.full((2, 1, 8, 8), value) for value in (a, b))
    assert psnr(x, y).tolist() == pytest.approx([-20 * math.log10(b - a)] * 2, rel=1e-5)
    assert ssim(x, y).tolist() == pytest.approx([(2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4)] * 2, rel=1e-4)
    assert psnr(x, x).tolist() == pytest.approx([58.92] * 2, abs=0.01)
    assert ssim(x, x).tolist() == pytest.approx([1, 1], abs=2e-4)  # of float32
    rounding = torch.rand(1, 1, 400, 400) / 255  # 8 bits are known to half a grey level
    assert psnr(rounding, torch.full_like(rounding, 0.5 / 255)).item() == pytest.approx(HIGHEST_PSNR, abs=0.05)


@pytest.mark.parametrize("batch_size", [K, 4 * K, N * K])
def test_pixels_are_compared_with_the_image_that_they_come_from(
    images: torch.Tensor, restored: torch.Tensor, batch_size: int
) -> None:
    found = compare_pixels(restored.split(batch_size), images, K)
    assert found.psnr.shape == found.ssim.shape == (N, K)
    for i, k in [(0, 0), (0, 1), (3, 2), (5, 2)]:
        x, y = restored[None, i * K + k] / 255, images[None, i] / 255
        expected = PeakSignalNoiseRatio(data_range=1.0)(x, y).item()
        assert found.psnr[i, k].item() == pytest.approx(min(expected, HIGHEST_PSNR), rel=1e-5)
        assert found.ssim[i, k].item() == pytest.approx(
            StructuralSimilarityIndexMeasure(data_range=1.0)(x, y).item(), rel=1e-4
        )
    assert math.isinf(PeakSignalNoiseRatio(data_range=1.0)(images[:1] / 255, images[:1] / 255))
    a, b, c = (restored[:K].flatten(1) / 255).double().numpy()
    norms = [np.linalg.norm(x - y) for x, y in ((a, b), (a, c), (b, c))]
    assert found.diversity[0].item() == pytest.approx(np.mean(norms), rel=1e-6)


def test_scores_from_features_by_hand(images: torch.Tensor, restored: torch.Tensor) -> None:
    draws, labels = Draws(0, "features"), torch.arange(N) % 2
    real = Features(draws.normal(torch.empty(N, 4)), draws.normal(torch.empty(N, 2)))
    ours = Features(draws.normal(torch.empty(N * K, 4)), draws.normal(torch.empty(N * K, 2)))
    pixels = compare_pixels(restored.split(K), images, K)
    scores = restoration_scores(pixels, ours, Originals(images, real, "classifier-x", labels))
    f, y = (x.features.double().numpy() for x in (ours, real))
    f = f.reshape(N, K, 4)
    assert scores["psnr"] == pytest.approx(pixels.psnr.mean().item(), rel=1e-5)
    assert scores["classifier_distance"] == pytest.approx(np.linalg.norm(f - y[:, None], axis=-1).mean(), rel=1e-5)
    pairs = [np.linalg.norm(f[:, i] - f[:, j], axis=-1) for i in range(K) for j in range(i)]
    assert scores["classifier_diversity"] == pytest.approx(np.mean(pairs), rel=1e-5)
    right = ours.logits.argmax(1).view(N, K) == labels[:, None]
    assert scores["classifier_accuracy"] == pytest.approx(right.float().mean().item())
    distances = [
        frechet_distance(statistics_of(ours.features[k::K].contiguous()), statistics_of(real.features))
        for k in range(K)
    ]
    assert scores[f"classifier_frechet_{N}"] == pytest.approx(np.mean(distances), rel=1e-6)
    one = Pixels(pixels.psnr[:, :1], pixels.ssim[:, :1], pixels.diversity)
    alone = restoration_scores(one, real, Originals(images, real, "inception"))
    assert alone.keys() == {"psnr", "ssim", "inception_distance", f"fid_{N}"}  # of one sample nothing is diverse
    assert (alone["inception_distance"], alone[f"fid_{N}"]) == (0, pytest.approx(0, abs=1e-5))
    real.features[0, 0] = torch.nan
    with pytest.raises(DataError, match="inception: features that are not finite"):
        restoration_scores(one, real, Originals(images, real, "inception"))


def test_equal_samples_have_no_diversity_and_different_originals_have(images: torch.Tensor) -> None:
    real = Features(Draws(0).normal(torch.empty(N, 4)), torch.zeros(N, 2))
    originals = Originals(images, real, "inception")
    twice = images.repeat_interleave(2, 0)
    same = Features(real.features.repeat_interleave(2, 0), torch.zeros(2 * N, 2))
    scores = restoration_scores(compare_pixels([twice], images, 2), same, originals)
    assert (scores["inception_diversity"], scores["pixel_diversity"]) == (0, 0)
    assert scores["psnr"] == pytest.approx(HIGHEST_PSNR)
    best = scores_of_originals(originals)
    assert best["inception_diversity"] == pytest.approx(torch.pdist(real.features).mean().item(), rel=1e-5)
    assert best["pixel_diversity"] == pytest.approx(torch.pdist(images.flatten(1) / 255).mean().item(), rel=1e-5)
    assert best["psnr"] == pytest.approx(HIGHEST_PSNR)
    assert between(torch.zeros(2, 1, 3)).isnan().all()


def test_the_quality_of_each_image_is_that_which_damages_it(images: torch.Tensor) -> None:
    damage, found = Jpeg(), []
    for number, image in enumerate(images / 255):
        (quality,) = damage.qualities(1, Draws(3, "damage", number)).tolist()
        given = damage(image[None], None, Draws(3, "damage", number))["damaged"]
        assert torch.equal(given, jpeg(image[None], torch.tensor([quality])))
        found.append(quality)
    assert len(set(found)) > 1
    assert all(5 <= quality <= 30 for quality in found)


def test_psnr_by_quality() -> None:
    qualities = torch.tensor([5, 9, 10, 25, 30, 29])
    pixels = [Pixels(psnr, psnr, psnr) for psnr in (torch.arange(6.0)[:, None], torch.arange(12.0).view(6, 2))]
    bins = by_quality(qualities, Jpeg(), pixels)
    assert bins == [
        {"quality": [5, 9], "count": 2, "psnr": [0.5, 1.5]},
        {"quality": [10, 14], "count": 1, "psnr": [2.0, 4.5]},
        {"quality": [25, 30], "count": 3, "psnr": [4.0, 8.5]},
    ]
    only = by_quality(torch.tensor([7, 7]), Jpeg(7, 7), [Pixels(torch.ones(2, 1), torch.ones(2, 1), torch.ones(2))])
    assert only == [{"quality": [7, 7], "count": 2, "psnr": [1.0]}]
