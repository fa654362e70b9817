"""The Metropolis-adjusted Langevin algorithm, MALA (Roberts & Tweedie 1996), annealed as in Algorithm 1.

A Langevin step y = x + α/2·s(x) + √α·z is taken as a proposal. Its density is exp(−½‖z‖²) up to a constant, and that
of the way back exp(−½‖z′‖²), where z′ is the noise that would lead from y to x, x = y + α/2·s(y) + √α·z′. Hence

    log r = E(x) − E(y) + ½‖z‖² − ½‖z′‖²,   z′ = −z − √α/2·(s(x) + s(y)),

in which the difference x − y, small beside both, does not occur. In D dimensions a step of α ~ D^(−1/3) keeps the
share of accepted proposals (Roberts & Rosenthal 1998).
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
class MetropolisLangevin:
    """Langevin dynamics with the Metropolis–Hastings correction, at every level or at the last one alone.

    Attributes:
        steps_per_level: T ≥ 1.
        step_size: ε > 0, the step at the smallest level, in the paper's form. None takes 0.4 σ_L², which at
            σ_L = 0.01 is the default of `AnnealedLangevin`, and 0.4 σ_L² (64/D)^⅓ for images of more than 64 values.
            At N(0, σ²I) at least four proposals in five are then accepted. For perturbed data it may be fewer:
            −∇² log q_σ ≤ I/σ² always holds, but between modes the curvature has the other sign, and any size.
        annealed: go through all levels, αᵢ = ε σᵢ²/σ_L²; otherwise start at the smallest.

    Raises:
        ValueError: a value out of range.
    """

    steps_per_level: int = 100
    step_size: float | None = None
    annealed: bool = True

    starts_from: ClassVar[StartsFrom] = "uniform"
    needs_energy: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.steps_per_level < 1:
            raise ValueError(f"steps_per_level={self.steps_per_level}: must be at least 1")
        if self.step_size is not None and not 0 < self.step_size < math.inf:
            raise ValueError(f"step_size={self.step_size}: must be positive and finite")

    def num_steps(self, num_levels: int) -> int:
        """Steps of a whole run, each of them one evaluation of the energy and one of the score."""
        return self.steps_per_level * (num_levels if self.annealed else 1)

    @stops_when_diverged
    @torch.no_grad()
    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like
    ) -> Iterator[State]:
        """Runs the chains that start at x; see `Sampler`. The step size of a state is αᵢ.

        `normal` draws z, and then the (B,) values that decide which chains accept.
        """
        energy, L = energy_of(score, self), len(sigmas)
        epsilon = self.step_size or 0.4 * min(1, 64 / x[0].numel()) ** (1 / 3) * sigmas[-1] ** 2
        for i in range(0 if self.annealed else L - 1, L):
            sigma = sigmas[i].expand(x.shape[0])
            alpha = epsilon * (sigmas[i] / sigmas[-1]) ** 2
            E, s = energy(x, sigma), score(x, sigma)
            for t in range(self.steps_per_level):
                z = normal(x)
                y = x + alpha / 2 * s + alpha.sqrt() * z
                E_y, s_y = energy(y, sigma), score(y, sigma)
                z_back = -z - alpha.sqrt() / 2 * (s + s_y)
                accepted = accepts(E - E_y + half_square(z) - half_square(z_back), normal)
                x, E, s = choose(accepted, y, x), choose(accepted, E_y, E), choose(accepted, s_y, s)
                yield State(x, i, t, alpha, accepted.float().mean())
