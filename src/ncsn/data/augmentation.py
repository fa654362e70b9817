"""EDM's augmentation of training images, and the labels that tell the network of it (Karras et al. 2022, App. F.2).

              parameters                       the image is                                     labels
x-flip        a₀ = 0 or 1                      mirrored left to right                           a₀
y-flip        a₁ = 0 or 1                      turned upside down                               a₁
scale         a₂ ~ N(0, 1)                     scaled by 2^(a₂/5)                               a₂
rotation      a₃ uniform in (−π, π)            rotated clockwise by a₃                          cos a₃ − 1, sin a₃
anisotropy    a₄ uniform in (−π, π),           scaled by 2^(a₅/5) along the direction a₄,       a₅ cos a₄, a₅ sin a₄
              a₅ ~ N(0, 1)                     by 2^(−a₅/5) across
translation   a₆, a₇ ~ N(0, 1)                 moved by a₆/8 and a₇/8 of its width, x and y     a₆, a₇

The flips are fair coins. The first is `data.flip`; each of the other rows is applied with probability p, and has
parameters and labels of zero otherwise. Directions are from the x axis towards y, which points down.

Theirs resamples with a wavelet filter at twice the resolution; here it is bicubic, which is less sharp.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ncsn.random import Draws

NUM_LABELS = 9

STRENGTH = math.log(2) / 5  # of scale and anisotropy
SHIFT = 1 / 4  # an eighth of the width, which is 2 in the coordinates below


def draw(draws: Draws, flipped: Tensor, probability: float) -> Tensor:
    """a₀, …, a₇ of each image, (B, 8).

    Args:
        draws: of the batch.
        flipped: a₀, bool (B,).
        probability: p.
    """
    y_flip, scale, rotation, anisotropy, translation = (
        (draws.uniform(len(flipped), 5) < probability).float().unbind(1)
    )
    coin, *turns = draws.uniform(len(flipped), 3).unbind(1)
    a3, a4 = (math.pi * (2 * turn - 1) for turn in turns)
    a2, a5, a6, a7 = draws.normal(flipped.new_empty(len(flipped), 4)).unbind(1)
    rows = [flipped, y_flip * (coin < 0.5), scale * a2, rotation * a3, anisotropy * a4, anisotropy * a5]
    return torch.stack([*rows, translation * a6, translation * a7], dim=1)


def labels(a: Tensor) -> Tensor:
    """What the network is told of the parameters (B, 8): (B, 9)."""
    x_flip, y_flip, scale, angle, direction, anisotropy, right, down = a.unbind(1)
    along = anisotropy * direction.cos(), anisotropy * direction.sin()
    return torch.stack([x_flip, y_flip, scale, angle.cos() - 1, angle.sin(), *along, right, down], dim=1)


def apply(images: Tensor, a: Tensor) -> Tensor:
    """The images (B, C, N, N) in [0, 1] with all but the x-flip done to them, in the order of the table.

    What comes in from beyond the border is the image's reflection.
    """
    _, y_flip, scale, angle, direction, anisotropy, right, down = a[:, :, None, None].unbind(1)
    images = torch.where(y_flip[:, None] > 0, images.flip(-2), images)
    # Where each pixel comes from, as a complex number x + iy with x and y in [−1, 1]: all is undone in reverse
    centres = (torch.arange(images.shape[-1], device=images.device) + 0.5) * (2 / images.shape[-1]) - 1
    place = torch.complex(*torch.meshgrid(centres, centres, indexing="xy"))
    place = place - SHIFT * torch.complex(right, down)
    stretch, axis = STRENGTH * anisotropy, torch.polar(torch.ones_like(direction), 2 * direction)
    place = stretch.cosh() * place - stretch.sinh() * axis * place.conj()
    place = place * torch.polar((-STRENGTH * scale).exp(), -angle)
    grid = torch.view_as_real(place)
    warped = F.grid_sample(images, grid, mode="bicubic", padding_mode="reflection", align_corners=False).clamp(0, 1)
    return torch.where((a[:, 2:] != 0).any(1)[:, None, None, None], warped, images)
