"""Restoration by annealed Langevin dynamics (Song & Ermon 2019, App. B.3, Algorithm 2)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ncsn.restoration.known import Known
from ncsn.samplers import AnnealedLangevin, State
from ncsn.samplers.divergence import stops_when_diverged, warn_of_long_steps
from ncsn.samplers.state import StartsFrom
from ncsn.score import Normal, Score


@dataclass(frozen=True)
class Restoration:
    """Algorithm 2: annealed Langevin dynamics that puts back, after every step, what is known of the image.

    The paper inpaints, with a mask m of the known pixels. Here m ⊙ x is any orthogonal projection P(x), and
    x ⊙ (1 − m) + y ⊙ m is x − P(x) + P(y). The known part carries the noise of the level, drawn once per level as in
    the paper; after the last step it carries none.

    Attributes:
        sampler: whose step size, number of steps and denoising step are used.
        project: P, what is known.
        image: one per chain, (B, C, H, W), of which only P(image) matters.
    """

    sampler: AnnealedLangevin
    project: Known
    image: Tensor

    @property
    def starts_from(self) -> StartsFrom:
        return self.sampler.starts_from

    def num_steps(self, num_levels: int) -> int:
        """Steps of a whole run; the last puts the known part back without noise."""
        return self.sampler.num_steps(num_levels) + 1

    @stops_when_diverged
    @torch.no_grad()
    def __call__(
        self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Normal = torch.randn_like
    ) -> Iterator[State]:
        """Runs the chains that start at x (B, C, H, W); see `Sampler`. The step size of a state is αᵢ."""
        T, epsilon, batch, P = self.sampler.steps_per_level, self.sampler.epsilon(sigmas), x.shape[0], self.project
        warn_of_long_steps(epsilon, sigmas)
        known = P(self.image)
        # fmt: off
        for i, sigma in enumerate(sigmas):                          # 2: for i ← 1 to L do
            alpha = epsilon * (sigma / sigmas[-1]) ** 2             # 3:   αᵢ ← ε · σᵢ²/σ_L²
            z = normal(x)                                           # 4:   draw z̃ ~ N(0, σᵢ² I)
            y = known + sigma * P(z)                                # 5:   y ← x + z̃
            for t in range(T):                                      # 6:   for t ← 1 to T do
                z = normal(x)                                       # 7:     draw z_t ~ N(0, I)
                s = score(x, sigma.expand(batch))
                x = x + alpha / 2 * s + alpha.sqrt() * z            # 8:     x̃ ← x̃ + αᵢ/2 s(x̃, σᵢ) + √αᵢ z_t
                x = x - P(x) + y                                    # 9:     x̃ ← x̃ ⊙ (1 − m) + y ⊙ m
                yield State(x, i, t, alpha)
        # fmt: on
        if self.sampler.denoise:
            x = x + sigmas[-1] ** 2 * score(x, sigmas[-1].expand(batch))
            yield State(x, len(sigmas) - 1, T)
        yield State(x - P(x) + known, len(sigmas) - 1, T + self.sampler.denoise)
