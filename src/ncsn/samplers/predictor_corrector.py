"""Predictor–corrector sampling (Song et al. 2021, "Score-Based Generative Modeling through SDEs", Algorithm 2)."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from ncsn.samplers.descent import Descent, ScoreAt, Steps
from ncsn.score import Normal, expand


@dataclass(frozen=True)
class PredictorCorrector(Descent):
    """One Langevin step at every level, and one to the next; see `Descent` for the settings that are not its own.

    As in the released code the corrector comes first, and the last step adds no noise. There, however, the norms
    in the corrector's step size are averaged over the batch; here every chain has its own, so that a sample does not
    depend on what it is drawn with.

    Attributes:
        snr: r > 0; the corrector steps by ε = 2(r ‖z‖/‖s‖)², x ← x + ε s + √(2ε) z.
        predictor: "reverse_diffusion" adds noise of variance σᵢ² − σᵢ₊₁², "ancestral" σᵢ₊₁²(1 − σᵢ₊₁²/σᵢ²).

    Raises:
        ValueError: a value out of range.
    """

    snr: float = 0.16
    predictor: Literal["reverse_diffusion", "ancestral"] = "reverse_diffusion"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.snr < math.inf:
            raise ValueError(f"snr={self.snr}: must be positive and finite")
        if self.predictor not in ("reverse_diffusion", "ancestral"):
            raise ValueError(f"predictor={self.predictor}: must be reverse_diffusion or ancestral")

    def num_evaluations(self, num_levels: int) -> int:
        """2N."""
        return 2 * self.num_steps(num_levels)

    def descend(self, score: ScoreAt, x: Tensor, sigmas: list[float], normal: Normal) -> Steps:
        for sigma, below in pairwise(sigmas):
            s, z = score(x, sigma), normal(x)
            epsilon = expand(2 * (self.snr * _norms(z) / _norms(s)) ** 2, x)
            x = x + epsilon * s + (2 * epsilon).sqrt() * z
            removed = sigma**2 - below**2
            x = x + removed * score(x, sigma)
            if below > 0:
                x = x + math.sqrt(removed) * (below / sigma if self.predictor == "ancestral" else 1) * normal(x)
            x = yield x


def _norms(x: Tensor) -> Tensor:
    """Of every row: (B, …) -> (B,)."""
    return torch.linalg.vector_norm(x.flatten(1), dim=1)
