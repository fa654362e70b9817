"""Images larger than a network, by overlapping tiles."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from ncsn.score import Tiled


def image(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(16, 16), (17, 16), (37, 50), (64, 40)])
@pytest.mark.parametrize(("overlap", "grid", "batch"), [(8, 1, 16), (0, 1, 5), (4, 8, 1), (15, 1, 100)])
def test_the_score_of_independent_pixels_is_that_of_the_whole(
    shape: tuple[int, int], overlap: int, grid: int, batch: int
) -> None:
    """N(damaged, label²) under noise: each row with its own σ and its own condition, in tiles as in one."""
    rows = []

    def exact(x: Tensor, sigma: Tensor, damaged: Tensor, label: Tensor) -> Tensor:
        assert x.shape[-2:] == (16, 16)
        rows.append(len(x))
        return (damaged - x) / (sigma**2 + label**2).view(-1, 1, 1, 1)

    x, damaged = image(2, 3, *shape), 2 * image(2, 3, *shape) ** 2
    sigma, label = torch.tensor([0.1, 2.0]), torch.tensor([1.0, 3.0])
    found = Tiled(exact, 16, overlap, grid, batch)(x, sigma, damaged=damaged, label=label)
    expected = (damaged - x) / (sigma**2 + label**2).view(-1, 1, 1, 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert max(rows) <= batch
    assert (sum(rows) == 2) == (shape == (16, 16))


def test_tiles_leave_no_seams() -> None:
    """A network whose score is one number for all of a tile, of an image that brightens to the right."""

    def coarse(x: Tensor, sigma: Tensor) -> Tensor:
        return x.mean((-1, -2), keepdim=True).expand_as(x)

    x = torch.linspace(0, 1, 60).expand(1, 1, 20, 60)
    steps = {overlap: Tiled(coarse, 20, overlap)(x, torch.ones(1)).diff(dim=-1).max() for overlap in (0, 10)}
    assert steps[0] > 0.3
    assert steps[10] < 0.03


@pytest.mark.parametrize(("grid", "shape"), [(8, (37, 61)), (16, (70, 33))])
def test_blocks_lie_in_tiles_as_in_the_image(grid: int, shape: tuple[int, int]) -> None:
    def network(x: Tensor, sigma: Tensor, damaged: Tensor) -> Tensor:
        assert (damaged[:, :, 0, 0] == 0).all()  # a tile begins where a block does
        return damaged

    y, x = (torch.arange(side) % grid for side in shape)
    places = torch.stack([y[:, None].expand(shape), x.expand(shape)])[None].double()
    found = Tiled(network, 32, 16, grid)(places, torch.ones(1), damaged=places)
    torch.testing.assert_close(found, places)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap": 16}, "overlap=16: must be at least 0, and less than size=16"),
        ({"overlap": 10, "grid": 8}, "grid=8: must be at least 1, and at most size − overlap"),
        ({"batch": 0}, "batch=0: must be at least 1"),
        ({}, "images of 30×15 pixels: smaller than a tile of 16×16"),
    ],
)
def test_what_cannot_be_tiled(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Tiled(**{"network": lambda x, sigma: x, "size": 16, "overlap": 8} | options)(
            image(1, 1, 15, 30), torch.ones(1)
        )
