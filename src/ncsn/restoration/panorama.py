"""Panoramas by repeated uncropping (Palette, Saharia et al. 2022, Sec. 5.4)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ncsn.known import KnownPixels
from ncsn.restoration.put_back import PutBack
from ncsn.samplers import Sampler, State, num_evaluations
from ncsn.samplers.state import StartsFrom
from ncsn.score import Network, Normal, score_given


@dataclass(frozen=True)
class Panorama:
    """A sampler that goes on with images to the right, half of their width at a time.

    Each time a network that uncrops is given the half that was drawn last as the left one, and draws the right one.

    Attributes:
        sampler: draws a half.
        images: (B, C, H, W), one per chain.
        times: how often, n.

    Raises:
        ValueError: `times` is out of range.
    """

    sampler: Sampler
    images: Tensor
    times: int

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ValueError(f"times={self.times}: must be at least 1")

    @property
    def starts_from(self) -> StartsFrom:
        return self.sampler.starts_from

    @property
    def width(self) -> int:
        """Of the panorama: W + n ⌊W/2⌋."""
        return self.images.shape[-1] + self.times * (self.images.shape[-1] // 2)

    def num_steps(self, num_levels: int) -> int:
        """Those of all halves; each ends with a step that puts back what is known."""
        return self.times * (self.sampler.num_steps(num_levels) + 1)

    def num_evaluations(self, num_levels: int) -> int:
        """Those of all halves."""
        return self.times * num_evaluations(self.sampler, num_levels)

    @torch.no_grad()
    def __call__(
        self, score: Network, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like
    ) -> Iterator[State]:
        """Runs the chains that start at x (B, C, H, W + n ⌊W/2⌋); see `Sampler`.

        Args:
            score: a network that takes `damaged`, images of which a half is missing.

        Yields:
            States as wide as x, of which the part that is still to be drawn is that of the start.
        """
        width = self.images.shape[-1]
        half = width // 2
        hole = torch.zeros_like(self.images[:, :1], dtype=torch.bool)
        hole[..., width - half :] = True
        drawn = torch.cat([self.images, x[..., width:]], dim=-1)
        for left in range(half, (self.times + 1) * half, half):
            window = slice(left, left + width)
            damaged = torch.where(hole, 0.5 + normal(self.images) / 2, drawn[..., window])
            given = score_given(score, {"damaged": damaged, "hole": hole})
            before, after = drawn[..., :left], drawn[..., left + width :]
            sampler = PutBack(self.sampler, KnownPixels(~hole), damaged)
            for state in sampler(given, x[..., window], sigmas, normal=normal):
                drawn = torch.cat([before, state.x, after], dim=-1)
                yield state._replace(x=drawn)
