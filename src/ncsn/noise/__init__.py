"""Noise levels: ladders of σ, distributions of σ, and the rules that choose a ladder from the data.

These rules are techniques 1, 2 and 4 of Song & Ermon 2020, Sec. 3:

    sigma_max = max_pairwise_distance(images).distance              # technique 1
    L = num_levels(sigma_max, 0.01, dimensions=images[0].numel())   # technique 2
    sigmas = geometric(sigma_max, 0.01, L)
    epsilon = step_size(0.01, ratio(sigmas), steps_per_level=5)     # technique 4

`ncsn noise data=…` prints all of it as a table.
"""

from ncsn.noise.diffusion import cosine, ddpm, karras, scaled_linear
from ncsn.noise.distance import MaxDistance, Progress, max_pairwise_distance
from ncsn.noise.distributions import VE, VP, Distribution, LogNormal, ladder
from ncsn.noise.ladder import MOST_LEVELS, PUBLISHED, check, check_count, geometric, position, published, ratio
from ncsn.noise.techniques import (
    OVERLAP,
    ladder_variance_ratio,
    level_overlap,
    level_ratio,
    num_levels,
    snr,
    step_size,
    step_size_from_snr,
    variance_ratio,
)

__all__ = [
    "MOST_LEVELS",
    "OVERLAP",
    "PUBLISHED",
    "VE",
    "VP",
    "Distribution",
    "LogNormal",
    "MaxDistance",
    "Progress",
    "check",
    "check_count",
    "cosine",
    "ddpm",
    "geometric",
    "karras",
    "ladder",
    "ladder_variance_ratio",
    "level_overlap",
    "level_ratio",
    "max_pairwise_distance",
    "num_levels",
    "position",
    "published",
    "ratio",
    "scaled_linear",
    "snr",
    "step_size",
    "step_size_from_snr",
    "variance_ratio",
]
