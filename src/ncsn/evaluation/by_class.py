"""Scores by class, of samples whose class was asked for: are they of it, and how far from its real images?"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ncsn.errors import ConfigError
from ncsn.evaluation.features import Features
from ncsn.evaluation.reference import statistics_of
from ncsn.evaluation.scores import FEWEST, frechet_distance, short_count
from ncsn.sampling.tasks.labels import labels_in_turn


def drawn_for(task: dict[str, Any]) -> dict[str, Any]:
    """The part of a task's identity that says which classes its images are of; empty for no class."""
    return {key: task[key] for key in ("labels", "guidance") if key in task}


def labels_of(settings: dict[str, Any] | None, count: int) -> Tensor | None:
    """The classes of samples of ours, int64 (N,), by the settings of their folder; None if they are of no class."""
    task = (settings or {}).get("task") or {}
    if "labels" not in task or not task["_target_"].endswith(".Generate"):
        return None
    return torch.tensor(labels_in_turn(task["labels"], count))


def check_classes(task: dict[str, Any], names: Sequence[str] | None) -> None:
    """Refuses samples that were drawn for other classes than a data set has.

    Args:
        task: the identity of the one that drew them.
        names: of the data set's classes; None if it has none, and then there is nothing to compare.

    Raises:
        ConfigError: naming the first class that differs.
    """
    if names is None:
        return
    for label, name in zip(task.get("labels", ()), task.get("classes", ()), strict=False):
        if name not in names[label : label + 1]:
            there = f"is {names[label]}" if label < len(names) else f"is not there, of {len(names)}"
            raise ConfigError(
                f"data: the samples were drawn for class {label}, {name}, which in this data set {there}; name the "
                "data set that the network was trained on"
            )


def scores_by_class(
    samples: Features,
    labels: Tensor,
    names: Sequence[str],
    *,
    classified: bool,
    reference: tuple[Features, Tensor] | None,
) -> dict[str, Any]:
    """Accuracy and Fréchet distance of each class that was drawn.

    Args:
        samples: of N images.
        labels: the classes they were drawn for, int64 (N,).
        names: of all classes.
        classified: whether the logits of the features are those of these classes.
        reference: features of real images and their labels.

    Returns:
        Lists with an entry for each class: `classes`, their names; `counts`, the samples; `accuracy`, the share of
        these that the classifier takes for it; `frechet`, None where there are fewer than 20 images of a kind.
    """
    found = labels.unique().tolist()
    of_class = {label: labels == label for label in found}
    result: dict[str, Any] = {
        "classes": [names[label] for label in found],
        "counts": [int(rows.sum()) for rows in of_class.values()],
    }
    if classified:
        right = samples.logits.argmax(1) == labels
        result["accuracy"] = [float(right[rows].double().mean()) for rows in of_class.values()]
    if reference is not None:
        real, real_labels = reference
        result["frechet"] = [
            _distance(samples.features[rows], real.features[real_labels == label]) for label, rows in of_class.items()
        ]
    return result


def accuracy(by_class: dict[str, Any], network: str) -> dict[str, float]:
    """The share of all samples that the classifier takes for their class, by the name of the score."""
    count = sum(by_class["counts"])
    right = sum(n * share for n, share in zip(by_class["counts"], by_class["accuracy"], strict=True))
    return {f"{network.partition('-')[0]}_accuracy_{short_count(count)}": right / count}


def _distance(ours: Tensor, theirs: Tensor) -> float | None:
    if min(len(ours), len(theirs)) < FEWEST:
        return None
    return frechet_distance(statistics_of(ours), statistics_of(theirs))
