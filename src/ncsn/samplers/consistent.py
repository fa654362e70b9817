"""Consistent annealed sampling (Jolicoeur-Martineau et al., ICLR 2021, Algorithm 2).

In annealed Langevin dynamics the chains carry more noise, when a level begins, than the σ that the score is given.
Here every step leaves exactly the noise of the next level. For x = x₀ + σᵢn the best score is −n/σᵢ, so that

    x ← x + η σᵢ² s(x, σᵢ)   leaves the noise  (1 − η) σᵢ n,

and adding β σᵢ₊₁ z brings its variance to σᵢ₊₁² if

    (1 − η)² σᵢ² + β² σᵢ₊₁² = σᵢ₊₁²,   that is   β = √(1 − (1 − η)²/γ²),   γ = σᵢ₊₁/σᵢ.

β is real if a step takes away enough, η ≥ 1 − γ. At equality no noise is added (β = 0) and the chain is
deterministic; at η = 1 every step removes all the noise and perturbs anew.

The argument takes x₀ as known. With the true score, which averages over all x₀ that x may come from, a drift of
η σ² s calls for noise of variance 2η σ², while the chain adds (2η − η²) σ². Where η is much larger than 1 − γ,
samples therefore vary too little: the variance of a Gaussian shrinks by a factor of 1 − η/2. Hence many levels and a
small η.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ncsn.samplers.divergence import stops_when_diverged
from ncsn.samplers.state import Hold, StartsFrom, State, free
from ncsn.score import Normal, Score


@dataclass(frozen=True)
class ConsistentAnnealedSampling:
    """Algorithm 2: one step at every level of a fine ladder.

    A trained network's ladder is too coarse for one step per level, so `steps_per_level` − 1 levels are put between
    any two of its own, geometrically. The start should carry noise of about σ₁.

    Attributes:
        steps_per_level: T ≥ 1, steps from one given level to the next.
        eta: η in (0, 1], the share of the noise that a step takes away, ε/σ_L² in the authors' notation; None takes
            twice the least that the ladder allows, 2(1 − γ).
        denoise: end with x + σ_L² s(x, σ_L).

    Raises:
        ValueError: a value out of range.
    """

    steps_per_level: int = 100
    eta: float | None = None
    denoise: bool = False

    starts_from: ClassVar[StartsFrom] = "noise"
    can_be_held: ClassVar[Literal[True]] = True

    def __post_init__(self) -> None:
        if self.steps_per_level < 1:
            raise ValueError(f"steps_per_level={self.steps_per_level}: must be at least 1")
        if self.eta is not None and not 0 < self.eta <= 1:
            raise ValueError(f"eta={self.eta}: must be in (0, 1]")

    def num_steps(self, num_levels: int) -> int:
        """Steps of a whole run, each of them one evaluation of the score."""
        return (num_levels - 1) * self.steps_per_level + 1 + self.denoise

    @stops_when_diverged
    @torch.no_grad()
    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like, hold: Hold = free
    ) -> Iterator[State]:
        """Runs the chains that start at x; see `Sampler`. The step size of a state is η σᵢ².

        Raises:
            ValueError: also if η is too small for the ladder, so that β would be imaginary.
        """
        ladder, T, batch = refine(sigmas, self.steps_per_level), self.steps_per_level, x.shape[0]
        eta = self._eta(ladder)
        gammas = ladder[1:] / ladder[:-1]
        betas = (1 - (1 - eta) ** 2 / gammas**2).clamp(min=0).sqrt()  # rounding may take β² = 0 below it
        x = hold(ladder[0])(x)
        for i, sigma in enumerate(ladder):
            step_size = eta * sigma**2
            x = x + step_size * score(x, sigma.expand(batch))
            if i + 1 < len(ladder):  # σ_{L+1} = 0: the last step adds no noise
                keep = hold(ladder[i + 1])
                x = keep(x + betas[i] * ladder[i + 1] * normal(x))
            yield State(x, i // T, i % T, step_size)
        if self.denoise:
            x = x + sigmas[-1] ** 2 * score(x, sigmas[-1].expand(batch))
            yield State(x, len(sigmas) - 1, 1)

    def _eta(self, ladder: Tensor) -> float:
        """η, with which β is real at every step of the ladder."""
        gamma = float((ladder[1:] / ladder[:-1]).min()) if len(ladder) > 1 else 0.0
        if self.eta is None:
            return min(1.0, 2 * (1 - gamma))
        if len(ladder) > 1 and self.eta < 1 - gamma - 1e-6:
            steps = math.ceil(self.steps_per_level * math.log(gamma) / math.log1p(-self.eta))
            raise ValueError(
                f"eta={self.eta}: a step would leave more noise than the next level has; must be at least "
                f"{1 - gamma:.4g} with this ladder, or steps_per_level at least {steps}"
            )
        return self.eta


def refine(sigmas: Tensor, steps: int) -> Tensor:
    """The ladder with steps − 1 levels put between any two, geometrically: (L,) -> ((L − 1)·steps + 1,).

    The levels themselves stay exactly what they are, so that a network sees its own.
    """
    fractions = torch.arange(steps, dtype=sigmas.dtype, device=sigmas.device) / steps
    gammas = sigmas[1:, None] / sigmas[:-1, None]
    return torch.cat([(sigmas[:-1, None] * gammas**fractions).flatten(), sigmas[-1:]])
