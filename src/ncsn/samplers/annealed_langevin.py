"""Annealed Langevin dynamics (Song & Ermon 2019, Algorithm 1)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ncsn import noise
from ncsn.noise import step_size_from_snr
from ncsn.samplers.divergence import stops_when_diverged, warn_of_long_steps
from ncsn.samplers.state import Hold, StartsFrom, State, free
from ncsn.score import Normal, Score


@dataclass(frozen=True)
class AnnealedLangevin:
    """Algorithm 1: Langevin dynamics at every noise level, from the largest to the smallest.

    The step size ε is the paper's, x ← x + α/2·s + √α·z. The released code steps by α·s + √(2α)·z, so its
    printed "2e-5" is ε = 4e-5 here, the default.

    Attributes:
        steps_per_level: T ≥ 1.
        step_size: ε > 0, the step at the smallest level; None takes the one that technique 4 of Song & Ermon 2020
            (`noise.step_size`) gives for the ladder and T.
        denoise: end with x + σ_L² s(x, σ_L), the conditional mean (Song & Ermon 2020).

    Raises:
        ValueError: a value out of range.
    """

    steps_per_level: int = 100
    step_size: float | None = 4e-5
    denoise: bool = False

    starts_from: ClassVar[StartsFrom] = "uniform"
    can_be_held: ClassVar[Literal[True]] = True

    def __post_init__(self) -> None:
        if self.steps_per_level < 1:
            raise ValueError(f"steps_per_level={self.steps_per_level}: must be at least 1")
        if self.step_size is not None and not 0 < self.step_size < math.inf:
            raise ValueError(f"step_size={self.step_size}: must be positive and finite")

    def epsilon(self, sigmas: Tensor) -> float:
        """ε for a ladder (L,): `step_size`, or technique 4's.

        Raises:
            ValueError: `step_size` is None and there is one level only, for which technique 4 says nothing.
        """
        if self.step_size is not None:
            return self.step_size
        if len(sigmas) < 2:
            raise ValueError("step_size=None: technique 4 needs two levels or more; give a step size")
        return noise.step_size(float(sigmas[-1]), noise.ratio(sigmas), self.steps_per_level)

    @classmethod
    def released(cls, steps_per_level: int = 100, step_lr: float = 2e-5, denoise: bool = False) -> "AnnealedLangevin":
        """With the step size in the released code's convention, x ← x + α·s + √(2α)·z: half of the paper's.

        Args:
            steps_per_level: T, n_steps_each there.
            step_lr: ε there; the default is that of Song & Ermon 2019.
            denoise: as above; on in the configurations of Song & Ermon 2020, off in those of 2019.

        Raises:
            ValueError: a value out of range.
        """
        if not 0 < step_lr < math.inf:
            raise ValueError(f"step_lr={step_lr}: must be positive and finite")
        return cls(steps_per_level, 2 * step_lr, denoise)

    @classmethod
    def from_snr(
        cls, snr: float, sigma_min: float, steps_per_level: int = 100, denoise: bool = False
    ) -> "AnnealedLangevin":
        """With the step size given as the signal-to-noise ratio of a step, ε = (2 · snr · σ_L)² (Song et al. 2021).

        They write snr = √(ε/2)/σ_L with the ε of the released code: 0.316 for 2e-5 and σ_L = 0.01.

        Args:
            snr: > 0.
            sigma_min: σ_L of the ladder.
            steps_per_level: T.
            denoise: as above.

        Raises:
            ValueError: a value out of range.
        """
        if not (0 < snr < math.inf and 0 < sigma_min < math.inf):
            raise ValueError(f"snr={snr}, sigma_min={sigma_min}: must be positive and finite")
        return cls(steps_per_level, step_size_from_snr(snr, sigma_min), denoise)

    def num_steps(self, num_levels: int) -> int:
        """Steps of a whole run, each of them one evaluation of the score."""
        return num_levels * self.steps_per_level + self.denoise

    @stops_when_diverged
    @torch.no_grad()
    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like, hold: Hold = free
    ) -> Iterator[State]:
        """Runs the chains that start at x; see `Sampler`. The step size of a state is αᵢ."""
        T, epsilon, batch = self.steps_per_level, self.epsilon(sigmas), x.shape[0]
        warn_of_long_steps(epsilon, sigmas)
        # fmt: off
        alphas = epsilon * (sigmas / sigmas[-1]) ** 2               # 3:   αᵢ ← ε · σᵢ²/σ_L², all of them at once
        for i, (sigma, alpha) in enumerate(zip(sigmas, alphas, strict=True)):  # 2: for i ← 1 to L do
            keep = hold(sigma)                                      #      Algorithm 2: z̃ is drawn here
            for t in range(T):                                      # 4:   for t ← 1 to T do
                z = normal(x)                                       # 5:     draw z_t ~ N(0, I)
                s = score(x, sigma.expand(batch))
                x = x + alpha / 2 * s + alpha.sqrt() * z            # 6:     x̃ ← x̃ + αᵢ/2 s(x̃, σᵢ) + √αᵢ z_t
                x = keep(x)                                         #      and what is known is put back
                yield State(x, i, t, alpha)
        # fmt: on
        if self.denoise:
            x = x + sigmas[-1] ** 2 * score(x, sigmas[-1].expand(batch))
            yield State(x, len(sigmas) - 1, T)
