"""The picture of the README: samples, completions of half an image, and how noise flows along a score to the data.

`python figures/banner.py --ckpt=runs/mnist` draws the first two panels with a network of yours, of its classes in
turn where it has any; the third is the mixture of Fig. 2 and 3, whose score is exact.
"""

import numpy as np
import torch
from common import ROOT, save
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from network import drawn, facts, images, network_options, trained
from torch import Tensor

from ncsn import mixture, noise
from ncsn.checkpoint import TrainedScore
from ncsn.conditions import Label
from ncsn.data.transforms import to_unit_interval
from ncsn.images import grid
from ncsn.random import Draws
from ncsn.samplers import DDPM, DPMSolverPP, Heun
from ncsn.sampling.tasks import Generate, Inpaint

COLUMNS, COMPLETED, COMPLETIONS, CHAINS, HALF_SIDE = 12, 8, 6, 70, 9.5
INK, PATH = "#1d2b53", "#c8553d"


def main() -> None:
    parser = network_options(__doc__.splitlines()[0])
    parser.set_defaults(out=ROOT / "docs" / "images")
    arguments = parser.parse_args()
    score = trained(arguments)
    figure = Figure(figsize=(15, 4.9))
    panels = [figure.add_axes((left, 0.02, 0.32, 0.9)) for left in (0.005, 0.34, 0.675)]
    titles = ("samples", "half an image, completed", "from noise along the score, σ from 10 to 0")
    for axes, title in zip(panels, titles, strict=True):
        axes.set_axis_off()
        axes.set_title(title, fontsize=13, color=INK, pad=6)
    for axes, picture in zip(
        panels, (samples(score, arguments.seed), completions(score, arguments.seed)), strict=False
    ):
        axes.imshow(picture, interpolation="nearest")
    field(panels[2], arguments.seed)
    samplers = {"samples": "SDE-DPM-Solver++(2M), 20 steps", "completions": "ancestral sampling, 100 steps"}
    save("banner", arguments.out, figure, facts(score) | {"sampler": samplers, "seed": arguments.seed})


def samples(score: TrainedScore, seed: int) -> np.ndarray:
    """A square of new images, by SDE-DPM-Solver++(2M) with 20 evaluations of the score each."""
    label, guidance = ("all", 1.5) if isinstance(score.condition, Label) else (None, 1.0)
    sampler = DPMSolverPP(steps=20, spacing="karras", eta=1.0, clip=True)
    task = Generate(score=score, sampler=sampler, num_samples=COLUMNS**2, label=label, guidance=guidance)
    return np.asarray(grid(drawn(task, seed)[-1][1], COLUMNS, min_side=900))


def completions(score: TrainedScore, seed: int) -> np.ndarray:
    """Rows of held-out images: original, what is known, and completions by ancestral sampling."""
    task = Inpaint(score=score, sampler=DDPM(steps=100), num_samples=COMPLETIONS, num_images=COMPLETED, mask="left")
    completed = drawn(task, seed)[-1][1].unflatten(0, (-1, COMPLETIONS))
    originals = to_unit_interval(images(score, "val")[:COMPLETED])
    rows = torch.cat([originals[:, None], task.measured[:, None], completed], dim=1).flatten(0, 1)
    return np.asarray(grid(rows, COMPLETIONS + 2, min_side=900))


def noisy_score(x: Tensor, sigma: Tensor) -> Tensor:
    """∇ log q_σ(x) of the mixture under noise of σ: (B, 2), (B,) -> (B, 2)."""
    return mixture.score(x, (1 + sigma**2).sqrt())


def field(axes: Axes, seed: int) -> None:
    """The density of the mixture, its score under noise of σ = 2 as arrows, and the probability flow from σ = 10."""
    side = torch.linspace(-HALF_SIDE, HALF_SIDE, 200)
    points = torch.cartesian_prod(side, side)
    density = mixture.log_density(points, torch.ones(len(points))).exp().sqrt().view(200, 200).T
    place = (-HALF_SIDE, HALF_SIDE) * 2
    axes.imshow(density, extent=place, origin="lower", cmap="Blues", vmax=1.6 * float(density.max()))
    arrows = torch.cartesian_prod(*[torch.linspace(-HALF_SIDE, HALF_SIDE, 19)[1:-1]] * 2)
    scores = noisy_score(arrows, torch.full((len(arrows),), 2.0))
    axes.quiver(
        *arrows.T,
        *(scores / (0.4 + scores.norm(dim=1, keepdim=True))).T,
        color=INK,
        alpha=0.55,
        scale=26,
        width=0.004,
    )

    draws = Draws(seed, "banner")
    x = 10 * draws.normal(torch.empty(CHAINS, 2))
    paths = [x]
    for state in Heun(steps=80)(noisy_score, x, noise.karras(sigma_max=10.0, sigma_min=0.01), normal=draws.normal):
        paths.append(state.x)
    path = torch.stack(paths)  # (steps, chains, 2)
    axes.plot(path[..., 0], path[..., 1], color=PATH, linewidth=0.9, alpha=0.7)
    axes.scatter(path[-1, :, 0], path[-1, :, 1], s=9, color=PATH, zorder=3)
    axes.set(xlim=(-HALF_SIDE, HALF_SIDE), ylim=(-HALF_SIDE, HALF_SIDE))


if __name__ == "__main__":
    main()
