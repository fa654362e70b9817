import threading
from itertools import islice

import pytest
import torch

from ncsn.data import BatchStream, OrderedBatches


def numbered(n: int) -> torch.Tensor:
    """n images whose pixels all hold their index."""
    return torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 1, 2, 2)


def indices(batch) -> list[int]:
    return batch.images[:, 0, 0, 0].tolist()


def test_an_epoch_shows_every_image_at_most_once_and_the_next_in_another_order():
    stream = BatchStream(numbered(10), 3, seed=0)
    assert len(stream) == 3
    first, second = [[i for batch in stream for i in indices(batch)] for _ in range(2)]
    assert len(set(first)) == len(set(second)) == 9
    assert first != second


def test_numbers_count_on_over_iterations():
    stream = BatchStream(numbered(10), 3, seed=0)
    assert [batch.number for _ in range(3) for batch in stream] == list(range(9))


def test_a_number_alone_decides_what_is_in_a_batch():
    whole = {batch.number: indices(batch) for batch in BatchStream(numbered(20), 4, seed=7, length=23)}
    for number in (0, 3, 4, 5, 11, 22):
        (batch,) = BatchStream(numbered(20), 4, seed=7, length=1, number=number)
        assert batch.number == number
        assert indices(batch) == whole[number]
    assert indices(next(iter(BatchStream(numbered(20), 4, seed=8)))) != whole[0]


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_shares_of_all_processes_make_the_batch_of_one(world_size):
    one = list(BatchStream(numbered(20), 8, seed=1, length=5))
    shares = zip(
        *(BatchStream(numbered(20), 8, seed=1, length=5, rank=r, world_size=world_size) for r in range(world_size)),
        strict=True,
    )
    for batch, parts in zip(one, shares, strict=True):
        for rank, part in enumerate(parts):
            assert part.number == batch.number
            assert indices(part) == indices(batch)[rank::world_size]


def test_state_is_the_next_batch_even_in_the_middle_of_an_iteration():
    stream = BatchStream(numbered(10), 2, seed=3)
    iterator = iter(stream)
    assert stream.state_dict() == {"number": 0}  # beginning an iteration takes nothing
    seen = [next(iterator).number for _ in range(3)]
    assert (seen, stream.state_dict()) == ([0, 1, 2], {"number": 3})

    resumed = BatchStream(numbered(10), 2, seed=3)
    iterator = iter(resumed)
    resumed.load_state_dict({"number": 3})
    assert indices(next(iter(resumed))) == indices(next(iter(BatchStream(numbered(10), 2, seed=3, number=3))))


@pytest.mark.parametrize("number", [0, 3])
def test_reading_ahead_changes_nothing_and_leaves_no_thread(number):
    plain = BatchStream(numbered(10), 3, seed=0, length=7, number=number)
    ahead = BatchStream(numbered(10), 3, seed=0, length=7, number=number, read_ahead=2)
    threads = threading.active_count()
    for a, b in zip(plain, ahead, strict=True):
        assert (a.number, indices(a)) == (b.number, indices(b))
        assert ahead.state_dict() == {"number": a.number + 1}
    iterator = iter(ahead)
    assert next(iterator).number == number + 7
    assert threading.active_count() > threads
    iterator.close()
    assert threading.active_count() == threads


def test_validation_takes_every_image_once_in_order():
    batches = OrderedBatches(numbered(10), 4)
    assert len(batches) == 3
    for _ in range(2):
        assert [indices(batch) for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [batch.number for batch in batches] == [0, 1, 2]


@pytest.mark.parametrize("n", [9, 10, 11, 12, 13])
def test_validation_batches_are_of_one_size_on_all_processes(n):
    ranks = [list(OrderedBatches(numbered(n), 4, rank=r, world_size=2)) for r in range(2)]
    assert [len(b.images) for b in ranks[0]] == [len(b.images) for b in ranks[1]]
    seen = sorted(i for batches in ranks for batch in batches for i in indices(batch))
    assert seen == list(range(n - n % 2))


def test_a_stream_does_not_end():
    stream = BatchStream(numbered(4), 2, seed=0, length=10**9)
    assert [batch.number for batch in islice(stream, 1000)] == list(range(1000))


@pytest.mark.parametrize("options", [{}, {"read_ahead": 2}, {"rank": 1, "world_size": 2}])
def test_labels_stay_with_their_images(options):
    images, labels = numbered(20), 3 * torch.arange(20)
    batches = [*BatchStream(images, 4, seed=5, labels=labels, length=11, **options)]
    plain = [*BatchStream(images, 4, seed=5, length=11, **options)]
    assert [indices(batch) for batch in batches] == [indices(batch) for batch in plain]
    assert all(batch.labels is None for batch in plain)
    shares = {key: value for key, value in options.items() if key != "read_ahead"}
    for batch in [*batches, *OrderedBatches(images, 6, labels=labels, **shares)]:
        assert batch.labels.tolist() == [3 * index for index in indices(batch)]
