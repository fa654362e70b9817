"""Draws that belong to a key: repeatable, independent, and the same however many processes share them."""

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from ncsn.random import Draws, key_to_seed

SEVERAL = 4.5  # standard errors that an estimate may be off
N = 100_000


def in_turn(draws: Draws, batch: int) -> dict[str, Tensor]:
    """One of everything, drawn from one generator in a fixed order, `batch` rows each."""
    return {
        "uniform": draws.uniform(batch, 3),
        "normal": draws.normal(torch.empty(batch, 2, 3, 3)),
        "integers": draws.integers(10, batch),
        "flat": draws.uniform(batch),
        "again": draws.normal(torch.empty(batch, 5)),
    }


# Keys


def test_seed_of_a_key_never_changes() -> None:
    # A change here changes what every seed means and breaks resuming of runs that were begun before it.
    assert key_to_seed(0, "train", 7) == 3852732382943155726
    assert key_to_seed("sample") == 935811033765438151
    assert Draws(0, "train", 7).generator.initial_seed() == 3852732382943155726


def test_seeds_are_seeds_to_pytorch_and_all_different() -> None:
    seeds = [key_to_seed(*key) for key in product(range(20), ["train", "validate", "sample"], range(50))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert torch.Generator().manual_seed(max(seeds)).initial_seed() == max(seeds)
    assert max(seeds) > 2**62  # all of the bits are used


def test_a_cpu_takes_32_bits_of_a_seed_so_that_keys_may_coincide() -> None:
    """As the module says; were it otherwise, it should not say so, and every run on a CPU would change."""
    one, two = ((0, "train", number) for number in (53_953, 73_644))
    assert key_to_seed(*one) != key_to_seed(*two)
    assert key_to_seed(*one) % 2**32 == key_to_seed(*two) % 2**32
    assert torch.equal(Draws(*one).uniform(64), Draws(*two).uniform(64))


def test_keys_that_look_alike_differ() -> None:
    alike: list[tuple[int | str, ...]] = [
        (1, 2),
        (12,),
        (2, 1),
        ("1", 2),
        ("1", "2"),
        ("1, 2",),
        (1, 2, 0),
        (-1, 2),
        (),
    ]
    assert len({key_to_seed(*key) for key in alike}) == len(alike)


def test_same_key_same_numbers() -> None:
    one, two = (in_turn(Draws(0, "train", 7), 8) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("other", [(1, "train", 7), (0, "validate", 7), (0, "train", 8), (7, "train", 0)])
def test_another_key_other_numbers(other: tuple[int | str, ...]) -> None:
    one, two = (in_turn(Draws(*key), 64) for key in ((0, "train", 7), other))
    assert not any(torch.equal(one[name], two[name]) for name in one)


def test_later_draws_are_other_numbers() -> None:
    draws = Draws(0)
    assert not torch.equal(draws.normal(torch.empty(8)), draws.normal(torch.empty(8)))
    assert not torch.equal(draws.uniform(8), draws.uniform(8))
    assert not torch.equal(draws.integers(1000, 8), draws.integers(1000, 8))


def test_global_generator_is_neither_used_nor_disturbed() -> None:
    torch.manual_seed(1)
    one = in_turn(Draws(0), 8)
    after = torch.rand(4)
    torch.manual_seed(2)
    two = in_turn(Draws(0), 8)
    torch.manual_seed(1)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert torch.equal(after, torch.rand(4))


# Processes


@pytest.mark.parametrize("rows", [1, 2, 16])
@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_together_draw_what_one_would(world_size: int, rows: int) -> None:
    whole = in_turn(Draws(0, "train", 7), rows * world_size)
    for rank in range(world_size):
        share = in_turn(Draws(0, "train", 7, rank=rank, world_size=world_size), rows)
        for name, values in share.items():
            assert len(values) == rows
            assert torch.equal(values, whole[name][rank::world_size]), name


# Distributions


def assert_mean(values: Tensor, mean: float, variance: float) -> None:
    assert abs(values.double().mean() - mean) < SEVERAL * math.sqrt(variance / len(values))


def test_normal_is_standard_normal() -> None:
    z = Draws("normal").normal(torch.empty(N))
    assert z.dtype == torch.float32
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert_mean(z.double() ** power, moment, variance)


def test_uniform_fills_the_unit_interval_evenly() -> None:
    u = Draws("uniform").uniform(N)
    assert u.dtype == torch.float32
    assert 0 <= u.min() < 1e-3
    assert 1 - 1e-3 < u.max() < 1
    for i in range(10):
        assert_mean((u * 10).long() == i, 0.1, 0.09)


def test_integers_are_evenly_those_below_high() -> None:
    k = Draws("integers").integers(7, N)
    assert k.dtype == torch.int64
    assert k.shape == (N,)
    assert sorted(k.unique().tolist()) == list(range(7))
    for i in range(7):
        assert_mean(k == i, 1 / 7, 6 / 49)


@pytest.mark.parametrize(
    "draw", [lambda d: d.normal(torch.empty(N)), lambda d: 12**0.5 * (d.uniform(N) - 0.5)], ids=["normal", "uniform"]
)
def test_keys_and_processes_are_uncorrelated(draw: Callable[[Draws], Tensor]) -> None:
    others = [Draws(1, "train", 0), Draws(0, "train", 1), Draws(0, "train", 0, rank=1, world_size=2)]
    for other in others:
        alone = Draws(0, "train", 0, rank=0, world_size=other.world_size)
        assert_mean(draw(alone) * draw(other), 0, 1)


def test_shapes() -> None:
    draws = Draws(0)
    assert draws.normal(torch.empty(4, 3, 2)).shape == (4, 3, 2)
    assert draws.uniform(4, 1, 5).shape == (4, 1, 5)
