"""EDM's augmentation: each transformation does what its label says, as often as it should."""

import math

import pytest
import torch
from torch import Tensor

from ncsn.data.augmentation import apply, draw, labels
from ncsn.random import Draws

COLUMN = {"x_flip": 0, "y_flip": 1, "scale": 2, "angle": 3, "direction": 4, "anisotropy": 5, "right": 6, "down": 7}


def parameters(**values: float) -> Tensor:
    a = torch.zeros(1, 8)
    for name, value in values.items():
        a[:, COLUMN[name]] = value
    return a


def image(size: int = 16) -> Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))


def blob(right: float, down: float, size: int = 64) -> Tensor:
    """A round spot whose centre lies so far from that of the image, in pixels."""
    place = torch.arange(size) - (size - 1) / 2
    return torch.exp(-((place[:, None] - down) ** 2 + (place - right) ** 2) / 18)[None, None]


def centre_and_spread(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance (x, y) of a spot, in pixels from the image's centre."""
    place = torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    points = torch.stack(torch.meshgrid(place, place, indexing="xy"), dim=-1).view(-1, 2)
    weights = images.flatten() / images.sum()
    mean = weights @ points
    return mean, (points - mean).T @ (weights[:, None] * (points - mean))


def test_where_nothing_is_drawn_nothing_is_done_or_said() -> None:
    a = draw(Draws(0), torch.zeros(64, dtype=torch.bool), 0.0)
    images = torch.rand(64, 3, 8, 8)
    assert torch.equal(apply(images, a), images)
    assert not labels(a).any()
    some = draw(Draws(0), torch.zeros(64, dtype=torch.bool), 0.12)
    kept = (some == 0).all(1)
    assert 0 < kept.sum() < 64
    assert torch.equal(apply(images, some)[kept], images[kept])
    assert (apply(images, some)[~kept] - images[~kept]).abs().amax((1, 2, 3)).min() > 1e-3
    assert torch.equal((labels(some) == 0).all(1), kept)


@pytest.mark.parametrize(
    ("done", "told", "expected"),
    [
        ({"y_flip": 1}, [0, 1, 0, 0, 0, 0, 0, 0, 0], lambda x: x.flip(-2)),
        ({"angle": math.pi / 2}, [0, 0, 0, -1, 1, 0, 0, 0, 0], lambda x: x.rot90(-1, (-2, -1))),
        ({"angle": -math.pi}, [0, 0, 0, -2, 0, 0, 0, 0, 0], lambda x: x.flip(-2, -1)),
        ({"y_flip": 1, "angle": -math.pi}, [0, 1, 0, -2, 0, 0, 0, 0, 0], lambda x: x.flip(-1)),
    ],
)
def test_flips_and_quarter_turns_are_those_of_torch(done: dict[str, float], told: list[float], expected) -> None:
    a = parameters(**done)
    exact = "angle" not in done
    torch.testing.assert_close(apply(image(), a), expected(image()), rtol=0, atol=0 if exact else 1e-4)
    torch.testing.assert_close(labels(a)[0], torch.tensor(told, dtype=torch.float32), rtol=0, atol=1e-6)


def test_a_translation_by_whole_pixels_is_a_roll_and_reflects_at_the_border() -> None:
    x, a = image(), parameters(right=1.5, down=-0.5)  # of 16 pixels 3 and −1
    moved = apply(x, a)
    torch.testing.assert_close(moved[..., :-1, 3:], x.roll((3, -1), (-1, -2))[..., :-1, 3:], rtol=0, atol=1e-4)
    torch.testing.assert_close(moved[..., :-1, :3], x[..., 1:, :3].flip(-1), rtol=0, atol=1e-4)
    assert labels(a).tolist() == [[0, 0, 0, 0, 0, 0, 0, 1.5, -0.5]]


def test_scale_and_anisotropy_are_as_large_as_they_say() -> None:
    x = blob(8, 3)
    mean, spread = centre_and_spread(apply(x, parameters(scale=2.5)))  # √2
    torch.testing.assert_close(mean, math.sqrt(2) * torch.tensor([8.0, 3.0]), rtol=0, atol=0.02)
    torch.testing.assert_close(spread.diag() / 9, torch.tensor([2.0, 2.0]), rtol=0.02, atol=0)
    a = parameters(direction=math.pi / 6, anisotropy=-2.5)
    mean, spread = centre_and_spread(apply(x, a))
    along = torch.tensor([math.cos(math.pi / 6), math.sin(math.pi / 6)])
    across = torch.tensor([-along[1], along[0]])
    where = torch.tensor([8.0, 3.0])
    torch.testing.assert_close(mean @ along, where @ along / math.sqrt(2), rtol=0, atol=0.02)
    torch.testing.assert_close(mean @ across, where @ across * math.sqrt(2), rtol=0, atol=0.02)
    spreads = torch.stack([along @ spread @ along, across @ spread @ across])
    torch.testing.assert_close(spreads / 9, torch.tensor([0.5, 2.0]), rtol=0.02, atol=0)
    torch.testing.assert_close(labels(a)[0, 5:7], -2.5 * along)


def test_what_is_done_together_is_done_in_the_order_of_the_table() -> None:
    turned, stretched = parameters(angle=0.7, scale=1.0), parameters(direction=0.4, anisotropy=1.5)
    moved = parameters(right=0.5, down=1.0)
    at_once, x = apply(blob(5, -9), turned + stretched + moved), blob(5, -9)
    for a in (turned, stretched, moved):
        x = apply(x, a)
    torch.testing.assert_close(at_once, x, rtol=0, atol=0.05)  # resampled once, and three times


def test_each_is_drawn_as_often_and_as_large_as_in_the_paper() -> None:
    n, p = 40_000, 0.12
    a = draw(Draws(1), torch.rand(n) < 0.5, p)
    done = a != 0
    assert torch.equal(done[:, 4], done[:, 5])
    assert torch.equal(done[:, 6], done[:, 7])
    shares = torch.tensor([0.5, p / 2, *[p] * 6])
    assert ((done.double().mean(0) - shares).abs() < 4.5 * (shares * (1 - shares) / n).sqrt()).all()
    both = done[:, 2] & done[:, 3]  # one independently of another
    assert abs(float(both.double().mean()) - p**2) < 4.5 * p / n**0.5
    normal = torch.stack([a[done[:, i], i].std() for i in (2, 5, 6, 7)])
    assert (normal - 1).abs().max() < 0.05
    for i in (3, 4):
        angles = a[done[:, i], i]
        assert angles.abs().max() < math.pi
        assert abs(float(angles.std()) - math.pi / 3**0.5) < 0.05


def test_the_image_stays_within_the_range_of_pixels() -> None:
    x = torch.randint(2, (64, 1, 8, 8)).float()
    found = apply(x, draw(Draws(2), torch.zeros(64, dtype=torch.bool), 1.0))
    assert (found.min(), found.max()) == (0, 1)
