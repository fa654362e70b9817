"""How many levels, and how large a step: techniques 2 and 4 of Song & Ermon, NeurIPS 2020 (Sec. 3.2 and 3.4).

Seen from one training image, its copies perturbed with σᵢ lie in a shell of radius about √D σᵢ and width σᵢ/√2.
Technique 2 chooses the ratio γ = σᵢ₋₁/σᵢ of two levels such that a given share of the samples of one level lies in
the shell of the next:

    Φ(√(2D)(γ − 1) + 3γ) − Φ(√(2D)(γ − 1) − 3γ) = overlap.

The paper's text has "≈ 0.5". All five published ladders have 0.567, with L rounded down; 0.5 itself would give 219
levels on CIFAR-10, not 232.

Let chains carry noise of variance vσ² at a level σ whose score is that of the noise alone, s = −n/σ. T steps of
Langevin dynamics, with η = ε/σ² and ε in the convention of the released code, x ← x + ε s + √(2ε) z, leave

    qv + c(1 − q),   q = (1 − η)^{2T},   c = 2/(2 − η)

(c is what the paper writes as 2ε/(σ² − σ²(1 − ε/σ²)²)). Technique 4 takes chains that come with exactly the noise of
the level before, v = γ², and asks for the ε that leaves s² = qγ² + c(1 − q) ≈ 1. No ε gives s² = 1, which would be a
mean of γ² and c, both above 1. So ε is the one that comes closest, the minimiser.

But chains leave a level with more than its own noise, and take the excess to the next. Over a ladder v settles where
v = qγ²v + c(1 − q),

    v = c(1 − q)/(1 − qγ²),

if qγ² < 1; otherwise the noise grows from level to level. With the published settings for CIFAR-10 s² is 1.055, and
v is 1.128.

Step sizes here are as the 2019 paper and this project's samplers write them, x ← x + ε/2 s + √ε z: twice the code's.
"""

import math
from collections.abc import Callable

OVERLAP = 0.567

_THREE_SIGMA = math.erf(3 / math.sqrt(2))  # Φ(3) − Φ(−3), the overlap of a level with itself


def level_overlap(gamma: float, dimensions: int) -> float:
    """Φ(√(2D)(γ − 1) + 3γ) − Φ(√(2D)(γ − 1) − 3γ), the share of a level's samples that the next level covers.

    Args:
        gamma: ratio of the two levels, at least 1.
        dimensions: D = C·H·W.
    """
    shift = math.sqrt(2 * dimensions) * (gamma - 1)
    return (math.erf((shift + 3 * gamma) / math.sqrt(2)) - math.erf((shift - 3 * gamma) / math.sqrt(2))) / 2


def level_ratio(dimensions: int, overlap: float = OVERLAP) -> float:
    """γ > 1 with `level_overlap(γ, D)` = `overlap`: technique 2.

    Raises:
        ValueError: a value out of range, or so few dimensions that all levels overlap more.
    """
    if not 0 < overlap < _THREE_SIGMA:
        raise ValueError(f"overlap={overlap}: must lie between 0 and {_THREE_SIGMA:.4f}")
    if dimensions < 1:
        raise ValueError(f"dimensions={dimensions}: must be at least 1")
    low, high = 1.0, 2.0
    while level_overlap(high, dimensions) > overlap:
        low, high = high, 2 * high
        if high > 1e6:
            raise ValueError(f"dimensions={dimensions}: so few that no two levels overlap as little as {overlap}")
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if level_overlap(middle, dimensions) > overlap else (low, middle)
    return high


def num_levels(sigma_max: float, sigma_min: float, dimensions: int, overlap: float = OVERLAP) -> int:
    """L, at least 2, of the geometric ladder from σ₁ to σ_L whose ratio is that of technique 2 or the next above.

    Args:
        sigma_max: σ₁.
        sigma_min: σ_L.
        dimensions: D = C·H·W.
        overlap: of neighbouring levels; see `level_overlap`.

    Raises:
        ValueError: a value out of range.
    """
    if not 0 < sigma_min < sigma_max < math.inf:
        raise ValueError(f"sigma_max={sigma_max}: must be greater than sigma_min ({sigma_min}), which is positive")
    ratios = math.log(sigma_max / sigma_min) / math.log(level_ratio(dimensions, overlap))
    return max(2, 1 + math.floor(ratios + 1e-9))


def variance_ratio(step_size: float, sigma_min: float, gamma: float, steps_per_level: int) -> float:
    """s², the noise that T steps at one level leave of exactly the noise of the level before, in units of σ².

    Args:
        step_size: ε as the 2019 paper writes it, at σ_L.
        sigma_min: σ_L.
        gamma: ratio of neighbouring levels.
        steps_per_level: T.
    """
    return _variance_ratio(step_size / 2 / sigma_min**2, gamma, steps_per_level)


def ladder_variance_ratio(step_size: float, sigma_min: float, gamma: float, steps_per_level: int) -> float:
    """v, the noise that chains carry after each level of a long ladder, in units of σ²; 1 would be the level's own.

    Infinite where steps are so short that the noise grows from level to level, or so long that it does at one.

    Args:
        step_size: ε as the 2019 paper writes it, at σ_L.
        sigma_min: σ_L.
        gamma: ratio of neighbouring levels.
        steps_per_level: T.
    """
    eta = step_size / 2 / sigma_min**2
    if eta >= 2:
        return math.inf
    q = (1 - eta) ** (2 * steps_per_level)
    if q * gamma**2 >= 1:
        return math.inf
    return 2 / (2 - eta) * (1 - q) / (1 - q * gamma**2)


def step_size(sigma_min: float, gamma: float, steps_per_level: int) -> float:
    """ε for which `variance_ratio` comes closest to 1: technique 4.

    Args:
        sigma_min: σ_L.
        gamma: ratio of neighbouring levels, above 1.
        steps_per_level: T.

    Returns:
        ε as the 2019 paper writes it; the "step_lr" of the released code is half of it.

    Raises:
        ValueError: a value out of range.
    """
    if not 0 < sigma_min < math.inf:
        raise ValueError(f"sigma_min={sigma_min}: must be positive")
    if not 1 < gamma < math.inf:
        raise ValueError(f"gamma={gamma}: must be greater than 1")
    if steps_per_level < 1:
        raise ValueError(f"steps_per_level={steps_per_level}: must be at least 1")
    eta = _minimize(lambda eta: _variance_ratio(eta, gamma, steps_per_level))
    return 2 * eta * sigma_min**2


def snr(step_size: float, sigma_min: float) -> float:
    """The signal-to-noise ratio r of a step as Song et al. (ICLR 2021) write it, √(ε/2)/σ_L in the code's convention.

    Args:
        step_size: ε as the 2019 paper writes it.
        sigma_min: σ_L.
    """
    return math.sqrt(step_size / 4) / sigma_min


def step_size_from_snr(ratio: float, sigma_min: float) -> float:
    """ε, as the 2019 paper writes it, of a signal-to-noise ratio r: the inverse of `snr`."""
    return 4 * (ratio * sigma_min) ** 2


def _variance_ratio(eta: float, gamma: float, steps: int) -> float:
    limit = 2 / (2 - eta)
    return (1 - eta) ** (2 * steps) * (gamma**2 - limit) + limit


def _minimize(f: Callable[[float], float]) -> float:
    """The minimiser of f in (0, 1): on a logarithmic grid, then by golden section between the neighbours."""
    grid = [10 ** (-k / 100) for k in range(1000, -1, -1)]
    best = min(range(len(grid)), key=lambda k: f(grid[k]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    golden = (math.sqrt(5) - 1) / 2
    while high - low > 1e-9 * high:
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if f(a) < f(b) else (a, high)
    return (low + high) / 2
