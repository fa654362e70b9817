"""Fig. 1 (Song & Ermon 2019, Sec. 3.1): without noise, sliced score matching of images does not settle.

Images lie on a set of lower dimension, and their values are a few grey levels: such data have no score. In directions
v that leave the data, vᵀ∇s v can fall without bound at no cost, because ‖s‖ has to be small only on the data. So the
loss has no minimum, and the network moves from one steep region to the next. Noise from N(0, 0.0001), which is
invisible, gives the data a density everywhere, and the loss the bound

    E[vᵀ∇s v + ½‖s‖²] ≥ −½E‖∇ log q_σ‖² ≥ −½D/σ².

The settings are those of App. B.1: a residual autoencoder whose encoder has five pre-activation blocks of 32, 64, 64,
128 and 128 filters, the second and the fourth of which halve the resolution, and whose decoder mirrors them, with
ELU, and with group normalisation as in the released code; sliced score matching (eq. 3: variance-reduced,
v ~ N(0, I)); Adam with learning rate 1e-3; batches of 128. The paper uses CIFAR-10 and 50,000 iterations:

    python figures/fig1.py --data cifar10 --steps 50000        # needs a GPU

By default the images are CIFAR-10 if its files and a GPU are available, else scikit-learn's digits, with a quarter of
the filters. Two more things differ. There are fewer iterations: 1,200 on the digits, minutes on a CPU, and 100 on
CIFAR-10, where each takes 4 s on a CPU core, too few to show more than the beginning. And the network starts at zero,
with its output multiplied by 1/σ = 100, the size of the score to be learned (Song & Ermon 2020, technique 3);
otherwise it would spend these iterations on growing its weights. Both curves come from the same network, with the
same initial weights, the same batches and the same v.

A curve has *settled* if its spread, the interquartile range of the losses of the last fifth of the iterations over
their absolute median, is at most 0.5. Both fluctuations and trends increase the spread. A settled curve need not have
converged: the loss on noisy digits still falls, but slowly and steadily (`drift`).
"""

import argparse
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from common import options, save
from matplotlib.figure import Figure
from torch import Tensor, nn
from torchvision.datasets import CIFAR10 as Published
from tqdm import tqdm

from ncsn.data import CIFAR10, Digits
from ncsn.data.stream import BatchStream
from ncsn.data.transforms import to_unit_interval
from ncsn.objectives import sliced_score_matching_loss
from ncsn.random import Draws, key_to_seed

FILTERS = {"cifar10": (32, 64, 64, 128, 128), "digits": (8, 16, 16, 32, 32)}
STEPS = {"cifar10": 100, "digits": 1200}
NOISE = {"clean": 0.0, "noisy": 0.01}
TITLES = {"clean": "images as they are", "noisy": "images + N(0, 0.0001)"}
COLOURS = {"clean": "tab:red", "noisy": "tab:blue"}
BATCH, LEARNING_RATE, GROUPS = 128, 1e-3, 8
OUTPUT_SCALE = 1 / NOISE["noisy"]
SETTLED, TAIL = 0.5, 0.2


class Tail(NamedTuple):
    """The last fifth of a loss curve.

    Attributes:
        spread: interquartile range over absolute median.
        drift: median of the second half minus that of the first, over the absolute median of both.
        settled: the spread is at most `SETTLED`.
    """

    spread: float
    drift: float
    settled: bool


class Block(nn.Module):
    """Pre-activation residual block that keeps, halves or doubles the resolution."""

    def __init__(self, in_channels: int, out_channels: int, resize: Literal["", "down", "up"] = "") -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(GROUPS, in_channels), nn.GroupNorm(GROUPS, out_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=2 if resize == "down" else 1, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if resize else nn.Identity()
        self.resize = resize

    def forward(self, x: Tensor) -> Tensor:
        h = F.elu(self.norm2(self.conv1(F.elu(self.norm1(x)))))
        x = self.shortcut(F.avg_pool2d(x, 2) if self.resize == "down" else x)
        if self.resize == "up":
            h, x = _double(h), _double(x)
        return x + self.conv2(h)


class ResidualAutoencoder(nn.Sequential):
    """App. B.1's network for Fig. 1, (B, C, H, W) -> (B, C, H, W); the resolution is a multiple of four.

    Args:
        channels: C.
        filters: of the five blocks of the encoder, each a multiple of eight; the second equals the third, and the
            fourth the fifth.
    """

    def __init__(self, channels: int, filters: tuple[int, int, int, int, int]) -> None:
        a, b, c, d, e = filters
        super().__init__(
            *[nn.Conv2d(channels, a, 3, padding=1), Block(a, a), Block(a, b, "down"), Block(b, c)],
            *[Block(c, d, "down"), Block(d, e), Block(e, d), Block(d, c, "up"), Block(c, b), Block(b, a, "up")],
            *[Block(a, a), nn.GroupNorm(GROUPS, a), nn.ELU(), _zeros(nn.Conv2d(a, channels, 3, padding=1))],
        )

    def forward(self, x: Tensor) -> Tensor:
        return OUTPUT_SCALE * super().forward(2 * x - 1)


def _zeros(layer: nn.Conv2d) -> nn.Conv2d:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _double(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def choose(data: str, root: str) -> str:
    """The data set that `auto` stands for: CIFAR-10 if its files and a GPU are available, else the digits."""
    if data != "auto":
        return data
    if not torch.cuda.is_available():
        return "digits"
    there = any(Path(root, name).exists() for name in (Published.base_folder, Published.filename))
    return "cifar10" if there else "digits"


def load(data: str, root: str) -> Tensor:
    """The training images, uint8 (N, C, H, W)."""
    module = CIFAR10(root=root, download=False) if data == "cifar10" else Digits(root=root)
    module.prepare_data()
    return module.images("train").clone()


def compute(images: Tensor, filters: tuple[int, int, int, int, int], steps: int, seed: int) -> dict[str, np.ndarray]:
    """The loss of every step, (steps,), of two runs that differ only in the noise."""
    return {key: train(images, filters, steps, seed, sigma, TITLES[key]) for key, sigma in NOISE.items()}


def train(
    images: Tensor, filters: tuple[int, int, int, int, int], steps: int, seed: int, sigma: float, name: str
) -> np.ndarray:
    """The loss of every step, (steps,), of a run on images with noise N(0, σ²I)."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key_to_seed(seed, "network"))
        network = ResidualAutoencoder(images.shape[1], filters).to(device)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    losses = torch.empty(steps, device=device)
    batches = BatchStream(images.to(device), min(BATCH, len(images)), seed, length=steps)
    for batch in tqdm(batches, name, leave=False):
        draws = Draws(seed, "train", batch.number, device=device)
        x = to_unit_interval(batch.images)
        v, z = draws.normal(x), draws.normal(x)
        loss = sliced_score_matching_loss(network, x + sigma * z, v[None], variance_reduced=True).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses[batch.number] = loss.detach()
    return losses.cpu().double().numpy()


def tail(losses: np.ndarray) -> Tail:
    """Whether a curve has settled in its last fifth."""
    last = losses[-round(TAIL * len(losses)) :]
    if not np.isfinite(last).all():
        return Tail(np.inf, np.inf, False)
    low, median, high = np.percentile(last, [25, 50, 75])
    first_half, second_half = np.array_split(last, 2)
    spread = (high - low) / abs(median)
    drift = (np.median(second_half) - np.median(first_half)) / abs(median)
    return Tail(float(spread), float(drift), bool(spread <= SETTLED))


def draw(curves: dict[str, np.ndarray], data: str) -> Figure:
    """Both curves: every loss, and the running median over a fiftieth of the steps."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    for axes, (key, losses) in zip(figure.subplots(1, 2), curves.items(), strict=True):
        steps, window = np.arange(1, len(losses) + 1), max(1, len(losses) // 50)
        medians = np.median(np.lib.stride_tricks.sliding_window_view(losses, window), axis=1)
        axes.plot(steps, losses, color=COLOURS[key], alpha=0.35, linewidth=0.7, label="each iteration")
        axes.plot(steps[window // 2 :][: len(medians)], medians, color=COLOURS[key], label=f"median of {window}")
        axes.axvspan(steps[-1] * (1 - TAIL), steps[-1], color="0.5", alpha=0.15, linewidth=0)
        axes.margins(x=0)
        # A few outliers would hide the rest.
        low, high = np.percentile(losses, [0.5, 99.5])
        axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
        axes.set(title=f"{TITLES[key]}: spread {tail(losses).spread:.2g} in the last fifth", xlabel="iteration")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.legend(loc="lower left")
    figure.axes[0].set_ylabel(f"sliced score matching loss, {data}")
    return figure


def numbers(curves: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the curves say, and up to 400 of the values of each."""
    every = -(-len(curves["clean"]) // 400)
    tails = {key: tail(losses) for key, losses in curves.items()}
    return {
        "statistic": "spread: interquartile range of the losses of the last fifth of the iterations, over their "
        f"absolute median; a curve has settled if it is at most {SETTLED}",
        "threshold": SETTLED,
        **{key: tails[key]._asdict() for key in curves},
        "ratio_of_spreads": tails["clean"].spread / tails["noisy"].spread,
        "curves": {
            "iteration": list(range(1, len(curves["clean"]) + 1, every)),
            **{key: [float(f"{value:.5g}") for value in losses[::every]] for key, losses in curves.items()},
        },
    }


def main(arguments: list[str] | None = None) -> None:
    parser: argparse.ArgumentParser = options(__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("auto", "digits", "cifar10"), default="auto")
    parser.add_argument("--root", default="data", help="folder of the data (default: data)")
    parser.add_argument("--steps", type=int, help="iterations per curve; the paper has 50,000")
    chosen = parser.parse_args(arguments)
    data = choose(chosen.data, chosen.root)
    steps = STEPS[data] if chosen.steps is None else chosen.steps
    start = time.perf_counter()
    curves = compute(load(data, chosen.root), FILTERS[data], steps, chosen.seed)
    settings = {
        "data": data,
        "filters": FILTERS[data],
        "output_scale": OUTPUT_SCALE,
        "starts_at_zero": True,
        "noise_standard_deviation": NOISE["noisy"],
        "iterations": steps,
        "iterations_in_the_paper": 50_000,
        "batch_size": BATCH,
        "optimizer": "Adam",
        "learning_rate": LEARNING_RATE,
        "seed": chosen.seed,
    }
    results = {**numbers(curves), "settings": settings, "seconds": round(time.perf_counter() - start, 1)}
    save("fig1", chosen.out, draw(curves, data), results)


if __name__ == "__main__":
    main()
