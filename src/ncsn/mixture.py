"""The toy of Fig. 2 and 3 (Song & Ermon 2019, Sec. 3.2.1 and App. B.1): two modes far apart, of unequal weight.

    p_σ = 1/5 N((−5,−5), σ²I) + 4/5 N((5,5), σ²I),

where p = p₁ is the density of the data, and p_σ, σ > 1, that of the data perturbed by N(0, (σ² − 1)I). Its score is

    ∇ log p_σ(x) = Σ_k r_k(x) (μ_k − x)/σ²,   r_k(x) ∝ w_k N(x; μ_k, σ²I).
"""

import math

import torch
from torch import Tensor

from ncsn.random import Draws

WEIGHTS = (0.2, 0.8)
MEANS = ((-5.0, -5.0), (5.0, 5.0))


def log_density(x: Tensor, sigma: Tensor) -> Tensor:
    """log p_σ(x): (B, 2), (B,) -> (B,)."""
    return _joint(x, sigma).logsumexp(1)


def score(x: Tensor, sigma: Tensor) -> Tensor:
    """∇ log p_σ(x): (B, 2), (B,) -> (B, 2)."""
    responsibilities = _joint(x, sigma).softmax(1)
    return (responsibilities @ x.new_tensor(MEANS) - x) / sigma[:, None] ** 2


def sample(n: int, draws: Draws) -> Tensor:
    """n independent samples of p, (n, 2)."""
    minor, major = torch.tensor(MEANS)
    means = torch.where(draws.uniform(n, 1) < WEIGHTS[0], minor, major)
    return means + draws.normal(means)


def distances(x: Tensor) -> Tensor:
    """From every mode: (B, 2) -> (B, 2)."""
    return (x[:, None] - x.new_tensor(MEANS)).norm(dim=2)


def minority_weight(x: Tensor) -> float:
    """The share of the samples (B, 2) that lie nearer to the mode of weight 1/5."""
    nearer, other = distances(x).unbind(1)
    return float((nearer < other).double().mean())


def _joint(x: Tensor, sigma: Tensor) -> Tensor:
    """log w_k N(x; μ_k, σ²I), (B, 2)."""
    variance = sigma[:, None] ** 2
    return x.new_tensor(WEIGHTS).log() - distances(x) ** 2 / (2 * variance) - torch.log(2 * math.pi * variance)
