"""Holes, bool (B, 1, H, W), true where pixels are missing; each image has one of its own.

Lengths are fractions of the image's side, so that an image of 32 pixels gets the holes of one of 256.
"""

import math

import torch
from torch import Tensor

from ncsn.random import Draws

# As in the free-form masks of Yu et al. 2019 (DeepFill v2), which are for 256 pixels.
STROKES = 3  # at most
VERTICES = (4, 11)
WIDTH = (12 / 256, 40 / 256)
LENGTH = math.sqrt(2) / 8  # of a piece of a stroke, on average
TURN, SPREAD = 2 * math.pi / 5, 2 * math.pi / 15  # of a piece against the way of its stroke, to both sides in turn

RECTANGLES = 5  # at most
AREA = (0.1, 0.4)  # of all of them together


def strokes(batch: int, height: int, width: int, draws: Draws) -> Tensor:
    """One to three strokes of a brush, each a random walk that zigzags; at least a pixel.

    A stroke begins anywhere, and its pieces end at the borders of the image.
    """
    shape, most = (batch, STROKES), VERTICES[1]
    is_drawn = torch.arange(STROKES, device=draws.device) <= draws.integers(STROKES, batch)[:, None]
    vertices = _between(*VERTICES, draws.uniform(*shape), whole=True)
    # A brush as wide as the diagonal of a pixel meets the centre of one, wherever it is.
    radius = _between(*WIDTH, draws.uniform(*shape)).clamp(min=1.5 / min(height, width)) / 2
    way, spread = 2 * math.pi * draws.uniform(*shape), draws.uniform(*shape, most)
    normal = draws.normal(torch.empty(*shape, most, device="meta"))
    lengths = (LENGTH + LENGTH / 2 * normal).clamp(0, 2 * LENGTH)
    place = draws.uniform(*shape, 2)

    y, x = _centres(height, width, draws.device)
    hole = torch.zeros(batch, height, width, dtype=torch.bool, device=draws.device)
    for i in range(most):
        angle = way + (-1) ** i * (TURN + SPREAD * (2 * spread[..., i] - 1))
        step = lengths[..., i, None] * torch.stack([angle.sin(), angle.cos()], dim=-1)
        before, place = place, (place + step).clamp(0, 1)
        painted = _squared_distance(y, x, before, place) < radius[..., None, None] ** 2
        hole = hole | (painted & (is_drawn & (i < vertices))[..., None, None]).any(1)
    return hole[:, None]


def rectangles(batch: int, height: int, width: int, draws: Draws) -> Tensor:
    """One to five rectangles of one area, 10 to 40 % of the image together, less where they overlap."""
    shape = (batch, RECTANGLES)
    number = 1 + draws.integers(RECTANGLES, batch)[:, None]
    area = _between(*AREA, draws.uniform(batch, 1)) / number
    ratio = 2 ** _between(-1, 1, draws.uniform(*shape))
    rows = ((area * ratio).sqrt() * height).round().clamp(min=1)
    columns = ((area / ratio).sqrt() * width).round().clamp(min=1)
    top = (draws.uniform(*shape) * (height - rows + 1)).floor()
    left = (draws.uniform(*shape) * (width - columns + 1)).floor()
    inside = _box(top, left, rows, columns, height, width)
    is_drawn = torch.arange(RECTANGLES, device=draws.device) < number
    return (inside & is_drawn[..., None, None]).any(1, keepdim=True)


def half(batch: int, height: int, width: int, draws: Draws) -> Tensor:
    """Half of the image: one of its four sides; or, as often, all around a box in the middle."""
    around, side = draws.uniform(batch, 1, 1) < 0.5, draws.integers(4, batch)[:, None, None]
    rows, columns = (torch.arange(n, device=draws.device) for n in (height, width))
    y, x = rows[:, None], columns[None]
    sides = [y < height // 2, y >= height - height // 2, x < width // 2, x >= width - width // 2]
    at_side = torch.zeros(batch, height, width, dtype=torch.bool, device=draws.device)
    for number, missing in enumerate(sides):
        at_side = at_side | ((side == number) & missing)
    box = [max(1, round(math.sqrt(0.5) * n)) for n in (height, width)]
    top, left = (height - box[0]) // 2, (width - box[1]) // 2
    middle = (y >= top) & (y < top + box[0]) & (x >= left) & (x < left + box[1])
    return torch.where(around, ~middle, at_side)[:, None]


def _between(low: float, high: float, u: Tensor, whole: bool = False) -> Tensor:
    """Uniform between two bounds, both of them included where the values are whole."""
    return low + (u * (high + 1 - low)).floor() if whole else low + u * (high - low)


def _centres(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of pixels, (H, 1) and (1, W), in units of the image's sides."""
    y, x = ((torch.arange(n, device=device) + 0.5) / n for n in (height, width))
    return y[:, None], x[None]


def _box(top: Tensor, left: Tensor, rows: Tensor, columns: Tensor, height: int, width: int) -> Tensor:
    """Pixels inside of boxes (…), bool (…, H, W)."""
    top, left, rows, columns = (edge[..., None, None] for edge in (top, left, rows, columns))
    y, x = torch.arange(height, device=top.device)[:, None], torch.arange(width, device=top.device)[None]
    return (y >= top) & (y < top + rows) & (x >= left) & (x < left + columns)


def _squared_distance(y: Tensor, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """From pixels to the line between two points (…, 2), (…, H, W)."""
    y, x = y - start[..., 0, None, None], x - start[..., 1, None, None]
    dy, dx = (end - start)[..., None, None, :].unbind(-1)
    along = ((y * dy + x * dx) / (dy**2 + dx**2).clamp(min=1e-12)).clamp(0, 1)
    return (y - along * dy) ** 2 + (x - along * dx) ** 2
