"""Fig. 3 (Song & Ermon 2019, Sec. 3.2.2, 4.3): Langevin dynamics ignores the modes' weights, annealing recovers them.

Where the modes of p = 1/5 p₁ + 4/5 p₂ hardly overlap, ∇ log p is ∇ log p₁ near the one and ∇ log p₂ near the other;
neither depends on the weights. So Langevin dynamics, even with the exact score, leaves in each mode the share of the
chains that started on its side. With noise wide enough to bridge the gap, the score does depend on the weights, and
annealed Langevin dynamics carries the shares from there down to p. Not exactly: at the levels in between, chains
cross only rarely, and a hundred steps are too few for equilibrium, which leaves 0.22 in place of 0.2.

The settings are those of App. B.1: chains that start uniformly on [−8, 8]²; T = 1000 and ε = 0.1 for Langevin
dynamics; T = 100, ε = 0.1 and L = 10 levels for annealed Langevin dynamics. The levels run geometrically from σ = 20
to 1; at each level the components of the mixture have the standard deviation σ (`mixture.score`), so the last is p
itself, as in the released code. The paper prints 10 to 0.1, with which α₁ = ε·10²/0.1² = 1000 and the chains diverge.

The picture shows 1,280 samples as in the paper; the weights in fig3.json are estimated from 12,800, of which these
are the first.
"""

import argparse
import math
import time
from typing import Any, NamedTuple

from common import options, save
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from ncsn import mixture, noise
from ncsn.random import Draws
from ncsn.samplers import AnnealedLangevin, Langevin, Sampler

HALF_SIDE = 8.0
SHOWN = 1280
SIGMA_MAX, SIGMA_MIN, LEVELS = 20.0, 1.0, 10
LANGEVIN = Langevin(steps=1000, step_size=0.1)
ANNEALED = AnnealedLangevin(steps_per_level=100, step_size=0.1)
COLOURS = ("tab:orange", "tab:blue")


class Estimate(NamedTuple):
    """A share of independent samples, and its standard error."""

    value: float
    standard_error: float


def compute(num_chains: int, seed: int) -> dict[str, Tensor]:
    """Samples of p, (num_chains, 2) each: independent, by Langevin and by annealed Langevin dynamics."""
    return {
        "iid": mixture.sample(num_chains, Draws(seed, "iid")),
        "langevin": _run(LANGEVIN, num_chains, Draws(seed, "langevin"), "Langevin"),
        "annealed": _run(ANNEALED, num_chains, Draws(seed, "annealed"), "annealed Langevin"),
    }


def _run(sampler: Sampler, num_chains: int, draws: Draws, name: str) -> Tensor:
    sigmas = noise.geometric(SIGMA_MAX, SIGMA_MIN, LEVELS)
    x = HALF_SIDE * (2 * draws.uniform(num_chains, 2) - 1)
    states = sampler(mixture.score, x, sigmas, normal=draws.normal)
    for state in tqdm(states, name, sampler.num_steps(LEVELS), leave=False):
        x = state.x
    return x


def minority_weight(x: Tensor) -> Estimate:
    """The weight that samples give to the mode of weight 1/5."""
    w = mixture.minority_weight(x)
    return Estimate(w, math.sqrt(w * (1 - w) / len(x)))


def draw(samples: dict[str, Tensor]) -> Figure:
    """The first `SHOWN` samples of every method, coloured by the nearer mode."""
    titles = {"iid": "(a) i.i.d. samples", "langevin": "(b) Langevin", "annealed": "(c) annealed Langevin"}
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    for axes, (key, title) in zip(figure.subplots(1, 3, sharex=True, sharey=True), titles.items(), strict=True):
        x, share = samples[key][:SHOWN], minority_weight(samples[key]).value
        minority = mixture.distances(x).argmin(1) == 0
        for points, colour, weight in zip((x[minority], x[~minority]), COLOURS, (share, 1 - share), strict=True):
            axes.scatter(*points.T.numpy(), s=5, alpha=0.6, color=colour, linewidths=0, label=f"{weight:.1%}")
        axes.set(
            title=title, xlabel="$x_1$", xlim=(-9.5, 9.5), ylim=(-9.5, 9.5), aspect="equal", xticks=range(-8, 9, 4)
        )
        axes.set_yticks(range(-8, 9, 4))
        axes.legend(title=f"share of {len(samples[key]):,}", loc="upper left", markerscale=3)
        axes.label_outer()
    figure.axes[0].set_ylabel("$x_2$")
    return figure


def numbers(samples: dict[str, Tensor], seed: int) -> dict[str, Any]:
    """What fig3.json holds."""
    estimates = {key: minority_weight(x) for key, x in samples.items()}
    return {
        "minority_weight": {key: estimate.value for key, estimate in estimates.items()},
        "standard_error": {key: estimate.standard_error for key, estimate in estimates.items()},
        "exact_weight": mixture.WEIGHTS[0],
        "settings": {
            "chains": len(samples["iid"]),
            "shown": SHOWN,
            "start": f"uniform on [-{HALF_SIDE:g}, {HALF_SIDE:g}]^2",
            "langevin": {"steps": LANGEVIN.steps, "step_size": LANGEVIN.step_size},
            "annealed": {
                "steps_per_level": ANNEALED.steps_per_level,
                "step_size": ANNEALED.step_size,
                "sigma_max": SIGMA_MAX,
                "sigma_min": SIGMA_MIN,
                "num_levels": LEVELS,
            },
            "seed": seed,
        },
    }


def main(arguments: list[str] | None = None) -> None:
    parser: argparse.ArgumentParser = options(__doc__.splitlines()[0])
    parser.add_argument(
        "--chains", type=int, default=12_800, help="for the weights; the picture shows 1,280 (default: 12,800)"
    )
    chosen = parser.parse_args(arguments)
    start = time.perf_counter()
    samples = compute(chosen.chains, chosen.seed)
    results = {**numbers(samples, chosen.seed), "seconds": round(time.perf_counter() - start, 1)}
    save("fig3", chosen.out, draw(samples), results)


if __name__ == "__main__":
    main()
