"""Handwritten digits that come with scikit-learn: small enough to try anything on a laptop."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ncsn.data.module import ImageDataModule, Split


@dataclass(kw_only=True, eq=False)
class Digits(ImageDataModule):
    """1,797 images of 8×8×1 with 17 grey values, 1,618 to train on and 179 held out; nothing to download.

    Source: `sklearn.datasets.load_digits`, the test set of https://archive.ics.uci.edu/dataset/80.
    """

    name: str = "digits"
    image_size: int = 8
    channels: int = 1

    only_size: ClassVar[int | None] = 8
    only_channels: ClassVar[int | None] = 1

    def classes(self) -> tuple[str, ...]:
        return tuple("0123456789")

    def files(self, split: Split) -> list[Path]:
        return []

    def read(self, split: Split, files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.round(digits.images * (255 / 16)).astype(np.uint8)[:, None]
        order = np.random.RandomState(0).permutation(len(images))
        held_out = len(images) // 10
        rows = np.sort(order[:held_out] if split == "val" else order[held_out:])
        return images[rows], digits.target[rows]
