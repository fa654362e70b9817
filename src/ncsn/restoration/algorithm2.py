"""Restoration by annealed Langevin dynamics (Song & Ermon 2019, App. B.3, Algorithm 2)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ncsn.restoration.known import Known
from ncsn.samplers import AnnealedLangevin, State, stops_when_diverged
from ncsn.score import Normal, Score


@dataclass(frozen=True)
class Restoration:
    """Algorithm 2: annealed Langevin dynamics that puts back, after every step, what is known of the image.

    The paper inpaints, with a mask m of the known pixels; here m ⊙ x is any orthogonal projection P(x), and
    x ⊙ (1 − m) + y ⊙ m is x − P(x) + P(y). The known part carries the noise of the level, drawn once a level as in
    the paper, and after the last step none.

    Attributes:
        sampler: its step size and number of steps are used, and its denoising step.
        project: P, what is known.
        image: an image for each chain, (B, C, H, W), of which only P(image) matters.
    """

    sampler: AnnealedLangevin
    project: Known
    image: Tensor

    def num_steps(self, num_levels: int) -> int:
        """Steps of a whole run; the last puts the known part back without noise."""
        return self.sampler.num_steps(num_levels) + 1

    @stops_when_diverged
    @torch.no_grad()
    def __call__(
        self,
        score: Score,
        x: Tensor,
        sigmas: Tensor,
        *,
        normal: Normal = torch.randn_like,
    ) -> Iterator[State]:
        """Runs the chains that start at x.

        Args:
            score: s(x, σ).
            x: the start (B, C, H, W).
            sigmas: σ₁ > … > σ_L, shape (L,).
            normal: draws z; `normal(x)` has the shape of x.

        Yields:
            The state after every step; its step size is αᵢ.

        Raises:
            DivergedError: the chains are no longer finite.
        """
        T, epsilon, batch, P = self.sampler.steps_per_level, self.sampler.epsilon(sigmas), x.shape[0], self.project
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
