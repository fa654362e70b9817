"""Interpolation between samples: chains that share their noise (Song & Ermon 2020, Sec. 5 and released code)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ncsn.samplers.state import Sampler, StartsFrom, State, num_evaluations
from ncsn.score import Normal, Score


@dataclass(frozen=True)
class Interpolation:
    """Runs any sampler on groups of chains whose noise turns from one draw to another, one angle per chain.

    A group has `num_angles` chains at angles φ from 0 to π/2. Each is driven by z_φ = z_p cos φ + z_q sin φ, with z_p
    and z_q drawn once for the group. Every z_φ is standard normal, so each chain is a sample like any other;
    neighbours have nearly the same noise and end at nearly the same image.

    Attributes:
        sampler: runs the chains.
        num_angles: chains per group, at least 2.

    Raises:
        ValueError: a value out of range.
    """

    sampler: Sampler
    num_angles: int

    def __post_init__(self) -> None:
        if self.num_angles < 2:
            raise ValueError(f"num_angles={self.num_angles}: must be at least 2")

    @property
    def starts_from(self) -> StartsFrom:
        return self.sampler.starts_from

    def num_steps(self, num_levels: int) -> int:
        return self.sampler.num_steps(num_levels)

    def num_evaluations(self, num_levels: int) -> int:
        return num_evaluations(self.sampler, num_levels)

    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like
    ) -> Iterator[State]:
        """Runs the chains that start at x (N · num_angles, …), those of a group next to each other; see `Sampler`.

        All chains of a group should have the same start, or their ends differ by their starts too. Where the sampler
        draws (N · num_angles, …) once, `normal` is asked for (N, …) twice.

        Raises:
            ValueError: also if the number of chains is no multiple of `num_angles`.
        """
        if len(x) % self.num_angles:
            raise ValueError(f"{len(x)} chains: must be a multiple of num_angles={self.num_angles}")

        def shared(like: Tensor) -> Tensor:
            group = like[:: self.num_angles]
            p, q = normal(group), normal(group)
            phi = torch.linspace(0, math.pi / 2, self.num_angles, dtype=like.dtype, device=like.device)
            phi = phi.view(-1, *[1] * (like.ndim - 1))
            return (p[:, None] * phi.cos() + q[:, None] * phi.sin()).flatten(0, 1)

        return self.sampler(score, x, sigmas, normal=shared)


def spherical(p: Tensor, q: Tensor, num_angles: int) -> Tensor:
    """From p to q on a great circle (Shoemake 1985), so that what lies between two noises is as long as they are:

        sin((1 − t) θ)/sin θ · p + sin(t θ)/sin θ · q,    θ the angle between p and q,

    and a straight line where the two have the same direction.

    Args:
        p, q: the ends (B, …).
        num_angles: A, for t from 0 to 1.

    Returns:
        (B, A, …).
    """
    theta = torch.cosine_similarity(p.flatten(1), q.flatten(1)).clamp(-1, 1).acos()[:, None]
    t = torch.linspace(0, 1, num_angles, dtype=p.dtype, device=p.device)
    straight = theta.sin() < 1e-6
    of_p = torch.where(straight, 1 - t, ((1 - t) * theta).sin() / theta.sin())
    of_q = torch.where(straight, t, (t * theta).sin() / theta.sin())
    rows = (len(p), num_angles, *[1] * (p.ndim - 1))
    return of_p.view(rows) * p[:, None] + of_q.view(rows) * q[:, None]
