"""Scores of samples against a reference, from features, by torch-fidelity's functions.

fid_50k        Fréchet distance |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½); Heusel et al. 2017, arXiv:1706.08500
is_50k         Inception score exp E KL(p(y|x) ‖ p(y)), mean over 10 splits; Salimans et al. 2016, arXiv:1606.03498
kid_50k        unbiased MMD², kernel (x·y/D + 1)³, mean over 100 subsets; Bińkowski et al. 2018, arXiv:1801.01401
precision_50k  share of the samples within the manifold of the reference; Kynkäänniemi et al. 2019, arXiv:1904.06991
recall_50k     share of the reference within the manifold of the samples; the same

Where the class of samples was asked for, `classifier_accuracy_50k` is the share that the classifier takes for it.

These are the names with Inception's features. With those of another network, say `classifier-mnist`, they are
`classifier_frechet_50k`, `classifier_score_50k`, `classifier_kid_50k`, `classifier_precision_50k` and
`classifier_recall_50k`: none of them is an FID. `is_50k_std` and `kid_50k_std` are standard deviations over splits
and subsets. Every name carries the number of samples, because every score depends on it: a Fréchet distance is
biased upwards, the more the fewer samples there are (Chong & Forsyth 2020, arXiv:1911.07023).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from torch import Tensor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from ncsn.errors import ConfigError, DataError
from ncsn.evaluation.features import Device, Features
from ncsn.evaluation.reference import Reference, Statistics, statistics_of

Score = Literal["score", "frechet", "kid", "precision_recall"]
ALL: tuple[Score, ...] = ("score", "frechet", "kid", "precision_recall")

FEWEST = 20  # images: two in each split of the Inception score
_PARTS = {"precision_recall": ("precision", "recall")}  # of scores that come in twos
_DISTANCES = 10**8  # at a time for precision and recall: 400 MB


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """What scores depend on beside the features; the defaults are those of the publications and of torch-fidelity.

    Args:
        splits: of the samples, for the Inception score.
        kid_subsets, kid_subset_size: how many draws of how many images, for KID.
        neighbours: the radius of an image's neighbourhood is the distance to this neighbour, for precision and
            recall.
        seed: of splits and subsets.
    """

    splits: int = 10
    kid_subsets: int = 100
    kid_subset_size: int = 1000
    neighbours: int = 3
    seed: int = 2020

    @classmethod
    def suited_to(cls, num_samples: int, num_reference: int) -> Self:
        """The defaults, with smaller subsets for KID where there are fewer than 1,000 images.

        Subsets are then half of the smaller set, so that they still differ and the standard deviation has a meaning.

        Raises:
            ConfigError: fewer than 20 images.
        """
        for what, count in (("samples", num_samples), ("reference images", num_reference)):
            if count < FEWEST:
                raise ConfigError(f"scores need at least {FEWEST} {what}, found {count}; draw or give more")
        fewest = min(num_samples, num_reference)
        return cls() if fewest >= cls.kid_subset_size else cls(kid_subset_size=fewest // 2)


def compute_scores(
    samples: Features,
    reference: Reference,
    *,
    which: Collection[Score] = ALL,
    settings: ScoreSettings | None = None,
    device: Device = "cpu",
) -> dict[str, float]:
    """Scores of samples, by their names; see the table above.

    Args:
        samples: by the feature network that the reference was made with.
        reference: what they are compared with.
        which: the Fréchet distance takes seconds, precision and recall on 50,000 images minutes without a GPU.
        settings: `ScoreSettings.suited_to` the numbers of images if None.
        device: where distances for precision and recall are computed; the rest runs on the CPU.

    Raises:
        ConfigError: there are too few samples.
        DataError: features that are not finite.
    """
    settings = settings or ScoreSettings.suited_to(len(samples), len(reference.features))
    name = reference.network["name"]
    check_finite(name, samples.features, samples.logits, reference.features.features)
    names = names_of(name, len(samples))
    ours, theirs = samples.features, reference.features.features
    scores: dict[str, float] = {}
    if "score" in which:
        found = isc_features_to_metric(samples.logits, settings.splits, rng_seed=settings.seed)
        scores[names["score"]] = found[KEY_METRIC_ISC_MEAN]
        scores[names["score"] + "_std"] = found[KEY_METRIC_ISC_STD]
    if "frechet" in which:
        scores[names["frechet"]] = frechet_distance(statistics_of(ours), reference.statistics)
    if "kid" in which:
        found = kid_features_to_metric(
            ours,
            theirs,
            kid_subsets=settings.kid_subsets,
            kid_subset_size=settings.kid_subset_size,
            rng_seed=settings.seed,
            verbose=False,
        )
        scores[names["kid"]] = found[KEY_METRIC_KID_MEAN]
        scores[names["kid"] + "_std"] = found[KEY_METRIC_KID_STD]
    if "precision_recall" in which:
        found = prc_features_to_metric(
            ours.to(device),
            theirs.to(device),
            prc_neighborhood=settings.neighbours,
            prc_batch_size=max(1, _DISTANCES // max(len(ours), len(theirs))),
            save_cpu_ram=True,  # in blocks: otherwise four matrices of all distances, 10 GB each with 50,000 images
            verbose=False,
        )
        scores[names["precision"]] = found[KEY_METRIC_PRECISION]
        scores[names["recall"]] = found[KEY_METRIC_RECALL]
    return scores


def check_finite(network: str, *features: Tensor) -> None:
    """Raises DataError if a feature network of this name has computed what is no number."""
    if not all(values.isfinite().all() for values in features):
        raise DataError(f"{network}: features that are not finite; the weights of this network are damaged")


def frechet_distance(first: Statistics, second: Statistics) -> float:
    """The Fréchet distance, squared as is usual, of two Gaussians given by `mu` (D,) and `sigma` (D, D).

    torch-fidelity takes square roots of eigenvalues of Σ₁Σ₂, and rounding makes of an eigenvalue 0 about 1e-16 of
    the largest, whose root is not small. With fewer images than dimensions that comes to about 1e-7 of the trace,
    of either sign; what would be negative is 0.
    """
    distance: float = fid_statistics_to_metric(first, second, verbose=False)[KEY_METRIC_FID]
    return max(distance, 0.0)


def short_count(count: int) -> str:
    """The number of samples as it stands in the name of a score: 50k, 1k, 256."""
    return f"{count // 1000}k" if count and count % 1000 == 0 else str(count)


def in_order(scores: dict[str, float], asked: Sequence[str]) -> dict[str, float]:
    """Scores in the order that they were asked for in, by the names of their kinds; others follow."""

    def place(name: str) -> int:
        words = f"_{name}_".replace("_fid_", "_frechet_").replace("_is_", "_score_")
        kinds = [k for k in asked if any(f"_{part}_" in words for part in _PARTS.get(k, (k,)))]
        return asked.index(max(kinds, key=len)) if kinds else len(asked)

    return dict(sorted(scores.items(), key=lambda item: place(item[0])))


def names_of(network: str, count: int) -> dict[str, str]:
    """The names of scores by a feature network of this name, on so many samples."""
    if network == "inception":
        names = {"score": "is", "frechet": "fid", "kid": "kid", "precision": "precision", "recall": "recall"}
    else:
        kind = network.partition("-")[0]
        names = {s: f"{kind}_{s}" for s in ("score", "frechet", "kid", "precision", "recall")}
    return {score: f"{name}_{short_count(count)}" for score, name in names.items()}
