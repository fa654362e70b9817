"""What several tests share: a network that needs no training, and data sets with their features."""

from typing import NamedTuple

import torch
from torch import Tensor

from ncsn.data import ImageDataModule
from ncsn.evaluation import Classifier, FeatureNetwork, Features, extract


class Averages(FeatureNetwork):
    """A feature network for tests that need no good one: the averages of 2×2 areas, and two logits."""

    name = "averages"
    dimension = 4
    num_classes = 2

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Features:
        self.batches.append(len(images))
        gray = images.float().mean(dim=1, keepdim=True) * self.weight
        features = torch.nn.functional.adaptive_avg_pool2d(gray, 2).flatten(1)
        return Features(features, features[:, :2] / 100)

    @property
    def checksum(self) -> str:
        return f"weight {self.weight}"


class Judged(NamedTuple):
    """A data set by its classifier's features, training images before held-out ones."""

    data: ImageDataModule
    network: Classifier
    images: Tensor
    labels: Tensor
    features: Features

    def rows(self, rows: Tensor | slice) -> Features:
        return Features(self.features.features[rows], self.features.logits[rows])


def judged(data: ImageDataModule, network: Classifier, count: int, features: Features | None = None) -> Judged:
    """With so many training images; the features are computed unless they are given."""
    images = torch.cat([data.images("train")[:count], data.images("val")[: count // 4]])
    labels = torch.cat([data.labels("train")[:count], data.labels("val")[: count // 4]])
    return Judged(data, network, images, labels, features or extract(network, images.split(500)))
