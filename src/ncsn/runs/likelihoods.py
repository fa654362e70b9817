"""Likelihoods and their variational bounds in a run's folder, for the report."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ncsn.runs.reading import damaged, read_json_as

Node = dict[str, Any]


@dataclass
class BitsByClass:
    """Bits per dimension of the images of each class."""

    classes: list[str]
    counts: list[int]
    bits_per_dim: list[float]


@dataclass
class Bits:
    """Bits per dimension of a set of images; see `ncsn.evaluation.likelihood`."""

    of: str
    standard_error: float | None
    dimensions: int
    images: int
    evaluations: float
    solver_error: float | None = None
    by_class: BitsByClass | None = None


@dataclass
class LikelihoodRecord:
    """`likelihood.json`."""

    protocol: Node
    checkpoint: Node
    scores: dict[str, float]
    likelihood: Bits

    @property
    def mean(self) -> float:
        """Bits per dimension of all images."""
        return next(iter(self.scores.values()), math.nan)


@dataclass
class Likelihood:
    """A folder of `likelihood/`: the record, and the bits per dimension of each image, in order."""

    record: LikelihoodRecord
    bits: list[float]


@dataclass
class Terms:
    """The bound of a set of images by its terms, in bits per dimension; see `ncsn.evaluation.bound`."""

    of: str
    standard_error: float | None
    prior: float
    diffusion: float
    decoder: float
    dimensions: int
    images: int
    evaluations: float


@dataclass
class BoundRecord:
    """`bound.json`."""

    protocol: Node
    checkpoint: Node
    bound: Terms


def read_bounds(folder: Path) -> list[BoundRecord]:
    """The finished ones of a folder `bound/`, in the order of the names.

    Raises:
        DataError: a file is damaged.
    """
    records = (read_json_as(path, BoundRecord) for path in sorted(folder.glob("*/bound.json")))
    return [record for record in records if record]


def read_likelihoods(folder: Path) -> list[Likelihood]:
    """What is there and finished, in the order of the names.

    Raises:
        DataError: a file is damaged.
    """
    found = []
    for path in sorted(folder.glob("*/likelihood.json")):
        if record := read_json_as(path, LikelihoodRecord):
            found.append(Likelihood(record, _read_bits(path.with_suffix(".npz"), record.likelihood.dimensions)))
    return found


def _read_bits(path: Path, dimensions: int) -> list[float]:
    if not path.is_file():
        return []
    try:
        with np.load(path) as file:
            nats = np.asarray(file["nats"], dtype=np.float64).reshape(-1)
        bits: list[float] = (8 - nats / (dimensions * math.log(2))).tolist()
    except Exception as error:  # archives that are damaged fail in many ways
        raise damaged(path, error) from error
    return bits
