"""Technique 1 is the exact maximum, whatever the pruning and the rounding; its estimate encloses it."""

import resource
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from ncsn import noise
from ncsn.data import CIFAR10
from ncsn.noise import distance


def integers(*shape: int, low: int = 0, high: int = 256, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(low, high, shape, dtype=np.uint8))


def brute_force(images: Tensor) -> tuple[int, set[tuple[int, int]]]:
    """The largest squared distance in whole numbers, and all pairs that have it."""
    x = images.flatten(1).numpy().astype(np.int64)
    norms = (x**2).sum(1)
    squares = norms[:, None] + norms - 2 * x @ x.T
    np.fill_diagonal(squares, -1)
    largest = squares.max()
    return int(largest), {(int(i), int(j)) for i, j in np.argwhere(squares == largest) if i < j}


def clusters(count: int, dimensions: int) -> Tensor:
    """Two tight heaps far apart: no radius rules anything out, and many distances nearly tie."""
    x = integers(count, dimensions, high=4)
    x[::2] += 250
    return x


SETS = {
    "noise": integers(300, 3, 8, 8),
    "nearly alike": integers(300, 1, 8, 8, low=120, high=123),
    "two values": integers(257, 40, high=2) * 255,
    "two heaps": clusters(400, 300),
    "one outlier": torch.cat([integers(200, 30, high=100), torch.full((1, 30), 255, dtype=torch.uint8)]),
    "copies": integers(5, 20).repeat(30, 1),
    "all alike": torch.full((40, 3, 4, 4), 7, dtype=torch.uint8),
    "black and white": torch.tensor([[0] * 50, [255] * 50] * 20, dtype=torch.uint8),
    "two": integers(2, 10),
    "one value each": integers(500, 1),
    "long": integers(60, 20_000),
}


@pytest.mark.parametrize("rows", [3, 16, 4096])
@pytest.mark.parametrize("name", SETS)
def test_is_the_exact_maximum(name: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distance, "_BLOCK_ROWS", rows)
    monkeypatch.setattr(distance, "_CHUNK", 70)
    images = SETS[name]
    squared, pairs = brute_force(images)
    found = noise.max_pairwise_distance(images)
    assert found.distance == np.sqrt(squared) / 255
    assert found.pair in pairs
    assert found.exact
    assert found.upper_bound == found.distance


@pytest.mark.parametrize("seed", range(10))
def test_is_the_exact_maximum_where_the_search_for_a_start_misses_it(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distance, "_BLOCK_ROWS", 16)
    images = integers(100, 12, seed=seed)
    squared, pairs = brute_force(images)
    monkeypatch.setattr(distance._Search, "go_to_the_farthest", lambda self: None)
    found = noise.max_pairwise_distance(images)
    assert (found.distance, found.pair in pairs) == (np.sqrt(squared) / 255, True)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_is_the_exact_maximum_whatever_the_precision_of_products_outside(precision: str) -> None:
    images = clusters(300, 3000)
    torch.set_float32_matmul_precision(precision)
    try:
        found = noise.max_pairwise_distance(images)
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision("highest")
    assert found.distance == np.sqrt(brute_force(images)[0]) / 255


@pytest.mark.parametrize("name", SETS)
def test_the_estimate_encloses_the_maximum(name: str) -> None:
    estimate = noise.max_pairwise_distance(SETS[name], exact=False)
    largest = np.sqrt(brute_force(SETS[name])[0]) / 255
    assert estimate.distance <= largest <= estimate.upper_bound * (1 + 1e-12)
    assert estimate.upper_bound <= 2 * largest + 1.2 / 255 * np.sqrt(SETS[name][0].numel())  # c is rounded
    i, j = estimate.pair
    x = SETS[name].flatten(1).double() / 255
    assert i < j
    assert float((x[i] - x[j]).norm()) == pytest.approx(estimate.distance)


def test_black_and_white_are_as_far_apart_as_images_can_be() -> None:
    images = torch.stack([torch.zeros(3, 8, 8), torch.full((3, 8, 8), 255), torch.full((3, 8, 8), 100)]).byte()
    found = noise.max_pairwise_distance(images)
    assert (found.distance, found.pair) == (pytest.approx(np.sqrt(192)), (0, 1))


def test_progress_is_told_from_0_to_1() -> None:
    told: list[tuple[str, float]] = []
    noise.max_pairwise_distance(SETS["two heaps"], progress=lambda *step: told.append(step))
    assert list(dict.fromkeys(what for what, _ in told)) == ["radii", "farthest images", "pairs"]
    assert all(0 <= share <= 1 for _, share in told)
    assert told[-1] == ("pairs", 1)


@pytest.mark.parametrize("images", [integers(1, 5), torch.rand(4, 5), torch.zeros(0, 5, dtype=torch.uint8)])
def test_refuses_what_has_no_distance(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"^images: "):
        noise.max_pairwise_distance(images)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", SETS)
def test_a_device_changes_nothing(name: str) -> None:
    assert noise.max_pairwise_distance(SETS[name], device="cuda") == noise.max_pairwise_distance(SETS[name])


def test_cifar10(real_data, once) -> None:
    data = CIFAR10(root=str(real_data), cache_dir=str(once("real-cifar10", lambda folder: None)))
    data.prepare_data()
    images = data.images("train")
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = noise.max_pairwise_distance(images)
    assert time.monotonic() - start < 180
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4 * 2**20  # KiB: 4 GiB
    assert found.exact
    assert found.distance == pytest.approx(53.415, abs=1e-3)  # the published 50 is a round number near it
    i, j = found.pair
    pair = images[[i, j]].flatten(1).double() / 255
    assert float((pair[0] - pair[1]).norm()) == pytest.approx(found.distance, rel=1e-12)
    # By other means: one of two images so far apart has half of it as its radius, and such are compared with all.
    blocks = images.flatten(1).split(2000)
    centre = images[:1000].flatten(1).double().mean(0)
    radii = torch.cat([(block - centre).norm(dim=1) for block in blocks])
    ends = images[radii > 255 * found.distance / 2 - 1e-6].flatten(1).double()
    assert 0 < len(ends) < 300
    largest = max(float(torch.cdist(block.double(), ends).max()) for block in blocks)
    assert largest / 255 == pytest.approx(found.distance, rel=1e-12)
