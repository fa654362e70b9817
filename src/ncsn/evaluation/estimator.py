"""How likelihoods of images are estimated.

Images are dequantised as training images are, (k + u)/256 with u uniform in [0, 1), whatever the network was trained
on. What is drawn for an image, u and the vectors v that estimate the divergence, is a function of the seed and of
its number, and not of its batch; so, with steps of a fixed length, is its likelihood.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ncsn.checkpoint import TrainedScore
from ncsn.data.transforms import dequantize, to_unit_interval
from ncsn.flow import HeunSteps, Solver
from ncsn.likelihood import Projection, check_projections, log_likelihood
from ncsn.random import Draws

MOMENTS_IMAGES = 16_384  # of the training images at most, whose mean and variance the prior has


@dataclass(frozen=True)
class Estimator:
    """How likelihoods are computed; the attributes are arguments of `log_likelihood`."""

    solver: Solver
    num_projections: int | None
    projection: Projection
    seed: int

    def __post_init__(self) -> None:
        check_projections(self.num_projections, self.projection)

    def __call__(
        self, score: TrainedScore, images: Tensor, first: int, moments: tuple[Tensor, Tensor], device: torch.device
    ) -> dict[str, Tensor]:
        """By name, float64 (B,): log p of images in `nats`, and `evaluations` of the network.

        Args:
            images: uint8 (B, C, H, W).
            first: the number of the first of them.
            moments: mean and variance of the data, (C, H, W).
        """
        draws = [Draws(self.seed, "likelihood", first + row) for row in range(len(images))]
        u = torch.cat([d.uniform(1, *images.shape[1:]) for d in draws])
        found = log_likelihood(
            score.network,
            dequantize(to_unit_interval(images), u).to(device),
            score.sigmas.to(device),
            mean=moments[0],
            variance=moments[1],
            solver=self.solver,
            num_projections=self.num_projections,
            projection=self.projection,
            normal=lambda x: torch.cat([d.normal(u[:1]) for d in draws]).to(x),
        )
        nats = found.nats.cpu().double()
        return {"nats": nats, "evaluations": torch.full_like(nats, found.evaluations)}


def with_half_the_steps(solver: Solver, num_levels: int) -> tuple[HeunSteps | None, float]:
    """A solver of fixed steps with half of them, and how much longer these are; None if there is none."""
    if not isinstance(solver, HeunSteps) or (steps := (solver.steps or num_levels) - 1) < 2:
        return None, 1.0
    half, spacing = steps // 2, solver.spacing if solver.steps else "uniform"
    return replace(solver, steps=half + 1, spacing=spacing), steps / half


def moments_of(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of every pixel of dequantised images, uint8 (N, C, H, W), float64 (C, H, W)."""
    some = images[:: -(-len(images) // MOMENTS_IMAGES)]
    total, squares = torch.zeros(2, *images.shape[1:], dtype=torch.float64)
    for batch in some.split(256):
        pixels = (batch.double() + 0.5) / 256
        total += pixels.sum(0)
        squares += pixels.square().sum(0)
    mean = total / len(some)
    return mean, squares / len(some) - mean**2 + 1 / (12 * 256**2)
