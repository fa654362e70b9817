"""Fig. 2 (Song & Ermon 2019, Sec. 3.2.1): estimated scores are accurate only where there are data.

Score matching weighs the error of s(x) by p(x). For p = 1/5 N((−5,−5), I) + 4/5 N((5,5), I) it therefore learns the
score near the modes, and next to nothing far from both of them, where Langevin dynamics would start.

The settings are those of App. B.1: a multilayer perceptron of 3 layers with 128 hidden units and softplus; sliced
score matching (eq. 3: variance-reduced, v ~ N(0, I)) without noise; Adam with learning rate 1e-3; 10,000 iterations
on 128 new samples each. One thing is added: the scores are those of the moving average of the weights (m = 0.999,
Song & Ermon 2020). With a constant learning rate, the last weights themselves are a matter of luck: of 120 networks
from iterations 8,000 to 10,000 of three runs, 16 % were wrong by more than 0.15 near the modes; the average, by 0.03.

Errors are averages over the points of a grid on [−8, 8]², 0.1 apart, that lie in a region. Near: at most two
standard deviations from a mode; far: more than four from both. With e(x) = s(x) − ∇ log p(x),

    rms_error = √mean ‖e‖²,   relative_error_near = √(mean ‖e‖² / mean ‖∇ log p‖²).
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from common import options, save
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import trange

from ncsn import mixture
from ncsn.objectives import sliced_score_matching_loss
from ncsn.random import Draws, key_to_seed

HALF_SIDE = 8.0
NEAR, FAR = 2.0, 4.0
HIDDEN, BATCH, LEARNING_RATE, DECAY = 128, 128, 1e-3, 0.999
DIFFERENT = 0.25

Field = Callable[[Tensor], Tensor]
"""(B, 2) -> (B, 2)."""


class Errors(NamedTuple):
    """How far a field is from the score of the data."""

    relative_error_near: float
    rms_error_near: float
    rms_error_far: float


def exact(x: Tensor) -> Tensor:
    """∇ log p(x): (B, 2) -> (B, 2)."""
    return mixture.score(x, x.new_ones(len(x)))


def grid(spacing: float, half_side: float = HALF_SIDE) -> Tensor:
    """The points of a square grid around the origin, (N, 2), the first coordinate slowest."""
    side = torch.linspace(-half_side, half_side, round(2 * half_side / spacing) + 1)
    return torch.cartesian_prod(side, side)


def train(iterations: int, seed: int) -> tuple[nn.Module, nn.Module]:
    """The network after `iterations`, and the moving average of its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key_to_seed(seed, "network"))
        network = nn.Sequential(
            nn.Linear(2, HIDDEN), nn.Softplus(), nn.Linear(HIDDEN, HIDDEN), nn.Softplus(), nn.Linear(HIDDEN, 2)
        )
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    for k in trange(iterations, desc="sliced score matching", leave=False):
        draws = Draws(seed, "train", k)
        x = mixture.sample(BATCH, draws)
        loss = sliced_score_matching_loss(network, x, draws.normal(x)[None], variance_reduced=True).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(network)
    return network, average


@torch.no_grad()
def errors(estimate: Field) -> Errors:
    """The errors of an estimate of the score, averaged over the grid near the modes and far from them."""
    x = grid(0.1)
    distance = mixture.distances(x).amin(1)
    near, far = distance <= NEAR, distance > FAR
    square = (estimate(x) - exact(x)).square().sum(1)
    scale = exact(x[near]).square().sum(1).mean()
    return Errors(
        relative_error_near=float((square[near].mean() / scale).sqrt()),
        rms_error_near=float(square[near].mean().sqrt()),
        rms_error_far=float(square[far].mean().sqrt()),
    )


@torch.no_grad()
def draw(estimate: Field) -> Figure:
    """The data's score and its estimate, as arrows of one scale over the density; grey, where the two differ."""
    arrows, fine = grid(1.0, HALF_SIDE - 0.5), grid(0.1)
    side = round(len(fine) ** 0.5)
    density = mixture.log_density(fine, torch.ones(len(fine))).exp()
    error = (estimate(fine) - exact(fine)).norm(dim=1)
    x, y, density, error = (values.view(side, side).numpy() for values in (*fine.T, density, error))
    limits = (-HALF_SIDE, HALF_SIDE)

    figure = Figure(figsize=(11, 5.6), layout="constrained")
    panels = (("data score, $\\nabla \\log p(x)$", exact), ("estimated score, $s(x)$", estimate))
    for axes, (title, field) in zip(figure.subplots(1, 2, sharex=True, sharey=True), panels, strict=True):
        image = axes.pcolormesh(x, y, density, cmap="Oranges", shading="gouraud", rasterized=True)
        axes.contourf(x, y, error, levels=[DIFFERENT, 1e9], colors="0.5", alpha=0.22)
        axes.contour(x, y, error, levels=[DIFFERENT], colors="tab:red", linewidths=1.8)
        axes.quiver(
            *arrows.T.numpy(),
            *field(arrows).T.numpy(),
            angles="xy",
            pivot="mid",
            scale=150,
            width=0.0034,
            color="0.15",
        )
        axes.set(title=title, xlabel="$x_1$", aspect="equal", xlim=limits, ylim=limits)
    figure.axes[0].set_ylabel("$x_2$")
    norm = "\\Vert s(x) - \\nabla \\log p(x) \\Vert"
    keys = [
        Patch(facecolor="white", edgecolor="tab:red", linewidth=1.8, label=f"${norm} \\leq {DIFFERENT:g}$"),
        Patch(facecolor="0.5", alpha=0.35, label=f"${norm} > {DIFFERENT:g}$"),
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=2, frameon=False)
    figure.colorbar(image, ax=figure.axes, label="density $p(x)$", shrink=0.85)
    return figure


def numbers(estimate: Field, last: Field, iterations: int, seed: int) -> dict[str, Any]:
    """What fig2.json holds: the errors of the averaged network, and beside them those of the last weights."""
    return {
        **errors(estimate)._asdict(),
        "without_average": errors(last)._asdict(),
        "regions": f"points of a grid, 0.1 apart, on [-{HALF_SIDE:g}, {HALF_SIDE:g}]^2; near: at most {NEAR:g} "
        f"from a mode; far: more than {FAR:g} from both",
        "settings": {
            "network": f"2-{HIDDEN}-{HIDDEN}-2, softplus",
            "objective": "sliced score matching, variance-reduced, one Gaussian projection",
            "iterations": iterations,
            "batch_size": BATCH,
            "optimizer": "Adam",
            "learning_rate": LEARNING_RATE,
            "average_of_weights": DECAY,
            "seed": seed,
        },
    }


def main(arguments: list[str] | None = None) -> None:
    parser: argparse.ArgumentParser = options(__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10_000, help="iterations (default: 10,000)")
    chosen = parser.parse_args(arguments)
    start = time.perf_counter()
    network, average = train(chosen.steps, chosen.seed)
    results = numbers(average, network, chosen.steps, chosen.seed)
    save("fig2", chosen.out, draw(average), {**results, "seconds": round(time.perf_counter() - start, 1)})


if __name__ == "__main__":
    main()
