"""Nearest neighbours: has a network learned its training images by heart?

The paper shows the nearest training images of its samples by ℓ₂ in pixels and in features (App. C.2). Beside
them belong two distributions of distances: samples to the training set, and held-out images to the training set.
A network that has memorised gives samples that are nearer than held-out images are.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ncsn.evaluation.features import Device, full_precision

_QUERIES, _ROWS = 1000, 10_000  # a block: 40 MB of distances
_SPARE = 16  # candidates beyond k, against rounding


class Neighbours(NamedTuple):
    """The nearest rows of a database, nearest first.

    Attributes:
        distances: (N, k) float64, ℓ₂, in the units of the vectors.
        indices: (N, k) int64, rows of the database.
    """

    distances: Tensor
    indices: Tensor


def nearest(
    queries: Tensor, database: Tensor, k: int = 1, *, exclude_self: bool = False, device: Device = "cpu"
) -> Neighbours:
    """The k nearest vectors of a database for every query, by ℓ₂.

    Candidates come from |q|² + |d|² − 2 q·d in float32, block by block, which rounding spoils for close vectors;
    the distances of the candidates are then computed from the differences, in float64, and decide.

    Args:
        queries: N vectors or images, (N, …), any type, also memory-mapped.
        database: M of the same shape (M, …).
        k: at most M, or M − 1 with `exclude_self`.
        exclude_self: queries and database are the same, and row i is no neighbour of itself.
        device: where the products are computed.

    Raises:
        ValueError: k or the shapes do not fit.
    """
    if queries.shape[1:] != database.shape[1:]:
        raise ValueError(f"queries of shape {tuple(queries.shape[1:])}, database of {tuple(database.shape[1:])}")
    if exclude_self and len(queries) != len(database):
        raise ValueError(f"exclude_self=True: {len(queries)} queries are not the {len(database)} of the database")
    available = len(database) - exclude_self
    if not 1 <= k <= available:
        raise ValueError(f"k={k}: must lie between 1 and {available}, the number of neighbours there are")
    queries, database = queries.flatten(1), database.flatten(1)
    # The shorter the vectors, the smaller the rounding: any point near the data does as an origin.
    origin = database[:1000].cpu().double().mean(dim=0).float().to(device)
    found = []
    for start in range(0, len(queries), _QUERIES):
        block = queries[start : start + _QUERIES]
        excluded = torch.arange(start, start + len(block)) if exclude_self else None
        with full_precision(torch.device(device)):
            candidates = _candidates(
                block.to(device).float() - origin, database, origin, min(k + _SPARE, available), excluded
            )
        found.append(_nearest_of(block, database, candidates, k))
    if not found:
        return Neighbours(torch.empty(0, k, dtype=torch.float64), torch.empty(0, k, dtype=torch.int64))
    return Neighbours(torch.cat([f.distances for f in found]), torch.cat([f.indices for f in found]))


def _candidates(queries: Tensor, database: Tensor, origin: Tensor, count: int, excluded: Tensor | None) -> Tensor:
    """Rows of the database (N, count) that are nearest up to rounding; `excluded` has one row per query."""
    best = queries.new_empty(len(queries), 0)
    rows = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    for start in range(0, len(database), _ROWS):
        block = database[start : start + _ROWS].to(queries.device).float() - origin
        # Less |q|², which is the same for all.
        squared = torch.addmm(block.square().sum(dim=1), queries, block.T, alpha=-2)
        if excluded is not None:
            inside = ((excluded >= start) & (excluded < start + len(block))).nonzero()[:, 0]
            squared[inside.to(squared.device), (excluded[inside] - start).to(squared.device)] = torch.inf
        near = squared.topk(min(count, len(block)), dim=1, largest=False)
        best = torch.cat([best, near.values], dim=1)
        rows = torch.cat([rows, near.indices + start], dim=1)
        kept = best.topk(min(count, best.shape[1]), dim=1, largest=False).indices
        best, rows = best.gather(1, kept), rows.gather(1, kept)
    return rows.cpu()


def _nearest_of(queries: Tensor, database: Tensor, candidates: Tensor, k: int) -> Neighbours:
    distances = torch.stack(  # on the CPU: Apple's GPUs have no float64
        [
            (database[rows].cpu().double() - query.cpu().double()).norm(dim=1)
            for query, rows in zip(queries, candidates, strict=True)
        ]
    )
    # By distance, then by row: equal distances must not depend on rounding.
    order = candidates.argsort(dim=1)
    candidates, distances = candidates.gather(1, order), distances.gather(1, order)
    order = distances.argsort(dim=1, stable=True)[:, :k]
    return Neighbours(distances.gather(1, order), candidates.gather(1, order))


def quartiles(distances: Tensor) -> list[float]:
    """First quartile, median and third quartile of distances (N,) float64."""
    return [round(q, 5) for q in distances.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()]
