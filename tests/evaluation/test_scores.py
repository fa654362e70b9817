import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from judged import Judged
from torch import Tensor, nn
from torch_fidelity.metric_fid import fid_features_to_statistics
from torchmetrics.image.fid import FrechetInceptionDistance

from ncsn.errors import ConfigError, DataError
from ncsn.evaluation import Features, Reference, ScoreSettings, compute_scores, extract, frechet_distance

WITH_A_CLASSIFIER = {
    f"classifier_{name}"
    for name in ("score_256", "score_256_std", "frechet_256", "kid_256", "kid_256_std", "precision_256", "recall_256")
}
WITH_INCEPTION = {"is_256", "is_256_std", "fid_256", "kid_256", "kid_256_std", "precision_256", "recall_256"}


def reference_of(features: Features, name: str = "classifier-digits") -> Reference:
    key = {"network": {"name": name, "checksum": "…"}}
    return Reference(features, fid_features_to_statistics(features.features), key)


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> dict[str, np.ndarray]:
    return {"mu": np.asarray(mean, dtype=np.float64), "sigma": np.asarray(covariance, dtype=np.float64)}


def some_features(n: int, dimension: int, seed: int = 0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimension, dimension, generator=torch.Generator().manual_seed(99)) / math.sqrt(dimension)
    features = (torch.randn(n, dimension, generator=generator) @ mixing).relu()
    return Features(features, torch.randn(n, 10, generator=generator))


def frechet(samples: Features, reference: Reference) -> float:
    (value,) = compute_scores(samples, reference, which=["frechet"]).values()
    return value


def halves(real: Judged) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(real.labels), generator=torch.Generator().manual_seed(0))
    return order[: len(order) // 2], order[len(order) // 2 :]


def test_two_halves_of_the_same_data_are_close(real):
    one, other = halves(real)
    reference = reference_of(real.rows(one))
    same = compute_scores(real.rows(other), reference, which=["frechet", "kid"])
    zeros = compute_scores(real.rows(real.labels == 0), reference, which=["frechet", "kid"])
    frechet_same, kid_same, _ = same.values()
    frechet_zeros, kid_zeros, _ = zeros.values()
    assert 0 < frechet_same < 0.01 * frechet_zeros
    assert abs(kid_same) < 0.01 * kid_zeros


def test_the_distance_grows_with_the_noise(real):
    one, other = halves(real)
    reference, images = reference_of(real.rows(one)), real.images[other[:1000]]
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    distances = []
    for sigma in (0, 8, 16, 32, 64, 128):
        noisy = (images + sigma * noise).round().clamp(0, 255).byte()
        distances.append(frechet(extract(real.network, noisy.split(500)), reference))
    assert all(more > less for less, more in pairwise(distances))
    assert distances[-1] > 10 * distances[0]


def test_few_samples_score_above_many(real):
    """The bias that makes a score without its number of samples meaningless: 1,000 against 10,000 of MNIST."""
    held_out = real.rows(slice(-len(real.labels) // 10, None))
    many = {"digits": 1600, "mnist": 5_000}[real.data.name]
    reference = reference_of(held_out)
    few = [frechet(real.rows(slice(start, start + many // 10)), reference) for start in range(0, many, many // 5)]
    assert min(few) > frechet(real.rows(slice(0, many)), reference)


def test_a_digit_left_out_lowers_recall_and_not_precision(real):
    one, other = halves(real)
    few = min(len(one), 2000)
    one, other = one[:few], other[:few]
    reference = reference_of(real.rows(one))

    def precision_recall(rows: Tensor) -> list[float]:
        return list(compute_scores(real.rows(rows), reference, which=["precision_recall"]).values())

    precision, recall = precision_recall(other)
    without = precision_recall(other[real.labels[other] != 7])
    assert without[0] > precision - 0.02
    assert without[1] < recall - 0.02


@pytest.mark.parametrize("n", [60, 1000])
@pytest.mark.parametrize("dimension", [16, 128])
def test_a_set_against_itself(n, dimension):
    samples = some_features(n, dimension)
    reference = reference_of(samples)
    scores = compute_scores(samples, reference)
    names = [name for name in scores if "frechet" in name]
    assert 0 <= scores[names[0]] < 1e-6 * np.trace(reference.statistics["sigma"])
    assert scores[f"classifier_precision_{'1k' if n == 1000 else n}"] == 1
    assert scores[f"classifier_recall_{'1k' if n == 1000 else n}"] == 1


def test_a_feature_that_is_always_the_same():
    one, other = some_features(100, 16), some_features(100, 16, seed=1)
    expected = frechet(one, reference_of(other))
    dead = [Features(torch.cat([f.features, torch.zeros(100, 50)], dim=1), f.logits) for f in (one, other)]
    assert frechet(dead[0], reference_of(dead[1])) == pytest.approx(expected, rel=1e-5)


def test_the_closed_form_for_gaussians_that_share_their_axes():
    rng = np.random.default_rng(0)
    axes, _ = np.linalg.qr(rng.normal(size=(20, 20)))
    a, b = rng.uniform(0.1, 5, 20), rng.uniform(0.1, 5, 20)
    first = gaussian(rng.normal(size=20), axes * a @ axes.T)
    second = gaussian(rng.normal(size=20), axes * b @ axes.T)
    expected = ((first["mu"] - second["mu"]) ** 2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-10)


def test_the_closed_form_for_two_dimensions():
    """tr √M = √(tr M + 2 √det M) for a 2×2 matrix: covariances that do not commute."""
    first = gaussian(np.array([1, 2]), np.array([[2, 0.5], [0.5, 1]]))
    second = gaussian(np.array([0, -1]), np.array([[1, -0.7], [-0.7, 3]]))
    product = first["sigma"] @ second["sigma"]
    root = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    expected = 1 + 9 + np.trace(first["sigma"]) + np.trace(second["sigma"]) - 2 * root
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-10)


class FeaturesOnly(nn.Module):
    """A classifier as torchmetrics wants its feature networks."""

    num_features = 128

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images).features


def test_torchmetrics_finds_the_same_distance(classifier, digits):
    train, val = digits.images("train"), digits.images("val")
    ours = frechet(extract(classifier, [val]), reference_of(extract(classifier, [train])))
    theirs = FrechetInceptionDistance(feature=FeaturesOnly(classifier))
    with torch.inference_mode():
        theirs.update(train, real=True)
        theirs.update(val, real=False)
    assert ours == pytest.approx(theirs.compute().item(), rel=1e-3)


def test_precision_and_recall_do_not_depend_on_the_blocks(judged_digits, monkeypatch):
    samples, reference = judged_digits.rows(slice(0, 300)), reference_of(judged_digits.rows(slice(300, 900)))
    whole = compute_scores(samples, reference, which=["precision_recall"])
    monkeypatch.setattr("ncsn.evaluation.scores._DISTANCES", 600 * 70)
    assert compute_scores(samples, reference, which=["precision_recall"]) == whole
    assert all(0.5 < value < 1 for value in whole.values())


def test_the_score_of_sure_and_balanced_guesses_is_the_number_of_classes():
    reference = reference_of(some_features(50, 2))
    logits = 50 * torch.eye(10).repeat(1000, 1)
    balanced = compute_scores(Features(torch.zeros(10_000, 2), logits), reference, which=["score"])
    assert balanced["classifier_score_10k"] == pytest.approx(10, rel=0.01)
    always_the_first = Features(torch.zeros(100, 2), logits[:1].repeat(100, 1))
    collapsed = compute_scores(always_the_first, reference, which=["score"])
    assert collapsed == pytest.approx({"classifier_score_100": 1, "classifier_score_100_std": 0})


@pytest.mark.parametrize(
    ("network", "names"),
    [("classifier-digits", WITH_A_CLASSIFIER), ("inception", WITH_INCEPTION)],
)
def test_names_carry_the_count_and_any_network_but_inception(network, names):
    scores = compute_scores(some_features(256, 16), reference_of(some_features(300, 16, seed=1), network))
    assert set(scores) == names
    assert all(type(value) is float and math.isfinite(value) for value in scores.values())


@pytest.mark.parametrize(("count", "word"), [(50_000, "50k"), (1000, "1k"), (1500, "1500"), (20, "20")])
def test_counts(count, word):
    scores = compute_scores(
        some_features(count, 2), reference_of(some_features(20, 2), "inception"), which=["frechet"]
    )
    assert list(scores) == [f"fid_{word}"]


def test_settings_are_the_published_ones_unless_there_are_too_few_images():
    assert ScoreSettings.suited_to(1000, 50_000) == ScoreSettings(
        splits=10, kid_subsets=100, kid_subset_size=1000, neighbours=3, seed=2020
    )
    assert ScoreSettings.suited_to(999, 50_000) == ScoreSettings(kid_subset_size=499)
    assert ScoreSettings.suited_to(50_000, 20) == ScoreSettings(kid_subset_size=10)


@pytest.mark.parametrize(
    ("counts", "message"),
    [((19, 100), "at least 20 samples, found 19"), ((100, 0), "at least 20 reference images, found 0")],
)
def test_too_few_are_refused(counts, message):
    samples, reference = (some_features(n, 4) for n in counts)
    with pytest.raises(ConfigError, match=message):
        compute_scores(samples, Reference(reference, {}, {"network": {"name": "inception"}}))


def test_features_that_are_not_finite_are_refused():
    samples = some_features(50, 4)
    samples.features[3, 1] = torch.nan
    with pytest.raises(DataError, match=r"^classifier-digits: features that are not finite"):
        compute_scores(samples, reference_of(some_features(50, 4)))
