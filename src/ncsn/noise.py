"""Noise levels: the ladder σ₁ > … > σ_L at which the data is perturbed and its score learned.

A ladder is a float32 tensor of shape (L,), largest σ first, as the paper numbers it.
"""

import math

import torch
from torch import Tensor


def geometric(sigma_max: float = 1.0, sigma_min: float = 0.01, num_levels: int = 10) -> Tensor:
    """The geometric sequence σ₁ = `sigma_max`, …, σ_L = `sigma_min` (Song & Ermon 2019, Sec. 3.2 and 5).

    Args:
        sigma_max: largest standard deviation of the noise, in units of pixel values in [0, 1].
        sigma_min: smallest standard deviation.
        num_levels: L ≥ 1; with one level, `sigma_max` and `sigma_min` must be equal.

    Returns:
        σ of shape (L,), float32, descending.

    Raises:
        ValueError: a value out of range.
    """
    if num_levels < 1:
        raise ValueError(f"num_levels={num_levels}: must be at least 1")
    if not sigma_min > 0:
        raise ValueError(f"sigma_min={sigma_min}: must be positive")
    if num_levels == 1 and sigma_max != sigma_min:
        raise ValueError(f"sigma_max={sigma_max}: one level needs sigma_max equal to sigma_min ({sigma_min})")
    if num_levels > 1 and not sigma_min < sigma_max < math.inf:
        raise ValueError(f"sigma_max={sigma_max}: must be greater than sigma_min ({sigma_min})")
    log_max, log_min = torch.tensor([sigma_max, sigma_min], dtype=torch.float64).log().tolist()
    return torch.linspace(log_max, log_min, num_levels, dtype=torch.float64).exp().float()
