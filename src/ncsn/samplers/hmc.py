"""Hamiltonian Monte Carlo (Duane et al. 1987; Neal 2011), annealed over the noise levels.

A chain is given a momentum p ~ N(0, I) and moves like a particle in the potential E; its motion conserves
H(x, p) = E(x) + ½‖p‖². It is followed by leapfrog steps of length h,

    p ← p + h/2·s(x),   x ← x + h·p,   p ← p + h/2·s(x),

which are reversible and preserve volume. Their error is corrected by accepting the end (y, q) of a trajectory with

    log r = H(x, p) − H(y, q).

With a single leapfrog step it is MALA with α = h²; more of them carry a chain farther before its direction is drawn
anew. In D dimensions a step of h ~ D^(−1/4) keeps the share of accepted trajectories (Beskos et al. 2013).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ncsn.samplers.divergence import stops_when_diverged
from ncsn.samplers.metropolis import accepts, choose, energy_of, half_square
from ncsn.samplers.state import StartsFrom, State
from ncsn.score import Normal, Score


@dataclass(frozen=True)
class HamiltonianMonteCarlo:
    """Hamiltonian Monte Carlo at every level or at the last one alone.

    Attributes:
        steps_per_level: trajectories per level, at least 1.
        leapfrog_steps: per trajectory, at least 1.
        step_size: h > 0, the leapfrog step at the smallest level, as a length. None takes 0.6 σ_L, and
            0.6 σ_L (64/D)^¼ for images of more than 64 values. At N(0, σ²I) at least seven trajectories in ten are
            then accepted. For other densities see `MetropolisLangevin`.
        annealed: go through all levels, hᵢ = h σᵢ/σ_L; otherwise start at the smallest.

    Raises:
        ValueError: a value out of range.
    """

    steps_per_level: int = 30
    leapfrog_steps: int = 3
    step_size: float | None = None
    annealed: bool = True

    starts_from: ClassVar[StartsFrom] = "uniform"
    needs_energy: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for key in ("steps_per_level", "leapfrog_steps"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)}: must be at least 1")
        if self.step_size is not None and not 0 < self.step_size < math.inf:
            raise ValueError(f"step_size={self.step_size}: must be positive and finite")

    def num_steps(self, num_levels: int) -> int:
        """Trajectories of a whole run, each of `leapfrog_steps` evaluations of the score and one of the energy."""
        return self.steps_per_level * (num_levels if self.annealed else 1)

    @stops_when_diverged
    @torch.no_grad()
    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like
    ) -> Iterator[State]:
        """Runs the chains that start at x; see `Sampler`. A state is that after a trajectory; its step size is hᵢ.

        `normal` draws p, and then the (B,) values that decide which chains accept.
        """
        energy, L = energy_of(score, self), len(sigmas)
        step_size = self.step_size or 0.6 * min(1, 64 / x[0].numel()) ** (1 / 4) * sigmas[-1]
        for i in range(0 if self.annealed else L - 1, L):
            sigma = sigmas[i].expand(x.shape[0])
            h = step_size * sigmas[i] / sigmas[-1]
            E, s = energy(x, sigma), score(x, sigma)
            for t in range(self.steps_per_level):
                p = normal(x)
                y, q, s_y = x, p, s
                for _ in range(self.leapfrog_steps):
                    q = q + h / 2 * s_y
                    y = y + h * q
                    s_y = score(y, sigma)
                    q = q + h / 2 * s_y
                E_y = energy(y, sigma)
                accepted = accepts(E + half_square(p) - E_y - half_square(q), normal)
                x, E, s = choose(accepted, y, x), choose(accepted, E_y, E), choose(accepted, s_y, s)
                yield State(x, i, t, h, accepted.float().mean())
