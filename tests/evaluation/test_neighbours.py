import numpy as np
import pytest
import torch
from checks import WithoutFloat64

from ncsn.evaluation import nearest, neighbours


@pytest.fixture
def small_blocks(monkeypatch):
    """So that a few rows already take several blocks."""
    monkeypatch.setattr(neighbours, "_QUERIES", 7)
    monkeypatch.setattr(neighbours, "_ROWS", 30)


def brute_force(queries, database, k, exclude_self=False):
    differences = queries.double().flatten(1)[:, None] - database.double().flatten(1)[None]
    distances = differences.square().sum(dim=2).sqrt()
    if exclude_self:
        distances.fill_diagonal_(torch.inf)
    return distances.sort(dim=1, stable=True).values[:, :k], distances.sort(dim=1, stable=True).indices[:, :k]


@pytest.mark.parametrize("k", [1, 5, 100])
def test_it_equals_brute_force(small_blocks, k):
    generator = torch.Generator().manual_seed(0)
    queries, database = torch.randn(20, 3, 4, generator=generator), torch.randn(100, 3, 4, generator=generator)
    distances, indices = brute_force(queries, database, k)
    found = nearest(queries, database, k)
    assert torch.equal(found.indices, indices)
    torch.testing.assert_close(found.distances, distances)


def test_vectors_on_a_device_without_float64():
    generator = torch.Generator().manual_seed(0)
    queries, database = torch.randn(5, 4, generator=generator), torch.randn(30, 4, generator=generator)
    found = nearest(queries.as_subclass(WithoutFloat64), database.as_subclass(WithoutFloat64), 3)
    for a, b in zip(found, nearest(queries, database, 3), strict=True):
        assert torch.equal(a, b)


def test_without_itself(small_blocks):
    x = torch.randn(80, 10, generator=torch.Generator().manual_seed(0))
    found = nearest(x, x, 3, exclude_self=True)
    distances, indices = brute_force(x, x, 3, exclude_self=True)
    assert torch.equal(found.indices, indices)
    torch.testing.assert_close(found.distances, distances)
    assert (nearest(x, x, 1).distances == 0).all()
    assert torch.equal(nearest(x, x, 1).indices[:, 0], torch.arange(80))


def test_images_that_differ_by_one_grey_value_in_one_pixel(tmp_path):
    """Their squared distance, 1, is far below the rounding of |q|² + |d|² − 2 q·d in float32, some 1e8."""
    database = torch.full((50, 3, 32, 32), 250, dtype=torch.uint8)
    for i in range(1, 50):
        database[i].view(-1)[:i] -= 1
    np.save(tmp_path / "images.npy", database.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "images.npy", mmap_mode="c"))
    found = nearest(mapped, mapped, 2, exclude_self=True)
    assert (found.distances[:, 0] == 1).all()
    assert (nearest(mapped, mapped, 1).distances == 0).all()


def test_close_pairs_far_from_everything_else():
    generator = torch.Generator().manual_seed(0)
    database = torch.randn(500, 64, generator=generator) * 1e-3 + 1000
    queries = database[:50] + 1e-4 * torch.randn(50, 64, generator=generator)
    distances, indices = brute_force(queries, database, 3)
    found = nearest(queries, database, 3)
    assert torch.equal(found.indices, indices)
    torch.testing.assert_close(found.distances, distances)


def test_equal_distances_go_by_row():
    database = torch.zeros(40, 2)
    assert nearest(torch.ones(1, 2), database, 40).indices.tolist() == [list(range(40))]


def test_no_queries():
    found = nearest(torch.empty(0, 5), torch.zeros(3, 5), 2)
    assert (found.distances.shape, found.indices.shape) == ((0, 2), (0, 2))


@pytest.mark.parametrize(
    ("queries", "database", "options", "message"),
    [
        ((2, 5), (3, 5), {"k": 4}, r"k=4: must lie between 1 and 3"),
        ((3, 5), (3, 5), {"k": 3, "exclude_self": True}, r"k=3: must lie between 1 and 2"),
        ((2, 5), (3, 5), {"k": 0}, r"k=0: must lie"),
        ((2, 5), (3, 4), {}, r"queries of shape \(5,\), database of \(4,\)"),
        ((2, 5), (3, 5), {"exclude_self": True}, r"2 queries are not the 3"),
    ],
)
def test_what_does_not_fit_is_refused(queries, database, options, message):
    with pytest.raises(ValueError, match=message):
        nearest(torch.zeros(queries), torch.zeros(database), **options)
