"""Held-out loss by noise level: has a network converged, and which of two is better?

A perfect s(x̃, σ) is the conditional mean of −z/σ, so that over images and noise

    E‖σ s + z‖² + E‖σ s‖² = E‖z‖² = D:

twice the loss and the size of the score add up to D at every level. If the sum is larger, the score is too large for
its error; if it is smaller, too small. The data decide how the two share it: where the noise is so strong that images
cannot be distinguished, ‖σ s‖² alone is nearly D.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from ncsn.data.transforms import to_unit_interval
from ncsn.random import Draws
from ncsn.score import Score

BATCH = 256


class LossByLevel(NamedTuple):
    """Means over images and noise, per dimension, of each level.

    Attributes:
        sigmas: the levels, (L,).
        twice_the_loss_per_dim: E‖σ s + z‖²/D, twice the loss of denoising score matching with λ(σ) = σ².
        squared_score_per_dim: E‖σ s‖²/D.
    """

    sigmas: list[float]
    twice_the_loss_per_dim: list[float]
    squared_score_per_dim: list[float]

    @property
    def loss_per_dim(self) -> float:
        """Mean over the levels of the loss (Song & Ermon 2019, eq. 6), per dimension."""
        return sum(self.twice_the_loss_per_dim) / (2 * len(self.sigmas))


@torch.no_grad()
def loss_by_level(
    score: Score,
    images: Tensor,
    sigmas: Tensor,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> LossByLevel:
    """The loss of a network on images that it was not trained on.

    The noise is a function of the seed and the image, the same at all levels and for all networks, so that losses can
    be compared more exactly than each of them is known.

    Args:
        score: s(x, σ), on `device`.
        images: uint8 (N, C, H, W).
        sigmas: the levels, (L,).
        seed: of the noise.
        progress: show a bar, if it takes more than two seconds.
    """
    loss, size = torch.zeros(2, len(sigmas), dtype=torch.float64)
    with tqdm(
        total=len(images) * len(sigmas), desc="Held-out loss", unit="evaluation", delay=2, disable=not progress
    ) as bar:
        for number, batch in enumerate(images.split(BATCH)):
            x = to_unit_interval(batch).to(device)
            z = Draws(seed, "held out", number, device=device).normal(x)
            for level, sigma in enumerate(sigmas.to(device)):
                scaled = sigma * score(x + sigma * z, sigma.expand(len(x)))
                loss[level] += (scaled + z).cpu().double().square().sum()  # Apple's GPUs have no float64
                size[level] += scaled.cpu().double().square().sum()
                bar.update(len(x))
    count = images.numel()
    return LossByLevel(sigmas.tolist(), (loss / count).tolist(), (size / count).tolist())
