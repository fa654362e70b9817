"""The networks that figures 4 to C.2 look into: a user's checkpoint, or one that is trained once for all of them."""

import argparse
import subprocess
import sys
from pathlib import Path

import torch
from common import ROOT, options
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from torch import Tensor
from tqdm import tqdm

from ncsn import load_score
from ncsn.checkpoint import TrainedScore
from ncsn.config import build
from ncsn.images import grid
from ncsn.random import Draws
from ncsn.runs.folder import newest_checkpoint, read_result
from ncsn.samplers import Sampler
from ncsn.sampling.drawing import evenly
from ncsn.sampling.tasks.images import training_data

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def network_options(description: str) -> argparse.ArgumentParser:
    """Options of a figure that shows a trained network."""
    parser = options(description)
    parser.add_argument("--ckpt", help="a checkpoint or a run's folder; by default a small network is trained first")
    parser.add_argument(
        "--data",
        choices=("auto", "digits", "mnist"),
        default="auto",
        help="what the small network is trained on; auto: MNIST if it and a GPU are there, else digits",
    )
    parser.add_argument("--root", type=_absolute, default=str(ROOT / "data"), help="folder of the data sets")
    return parser


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def trained(arguments: argparse.Namespace, name: str = "demo", *overrides: str) -> TrainedScore:
    """The network of `--ckpt`, or that of `train.py experiment=demo <overrides>`, trained unless it is there.

    Args:
        arguments: of `network_options`.
        name: tells this network from others of the same data.
        overrides: what is not as in experiment=demo.
    """
    if arguments.ckpt and not overrides:
        return load_score(arguments.ckpt, device=DEVICE)
    data = arguments.data
    if data == "auto":
        data = (
            "mnist"
            if DEVICE == "cuda" and any(Path(arguments.root, "MNIST", "raw").glob("train-images-idx3-ubyte*"))
            else "digits"
        )
    folder = ROOT / "runs" / "figures" / f"{name}-{data}"
    result = read_result(folder)
    if result is None or result["status"] != "finished":
        settings = ["experiment=demo", f"data={data}", f"data.root={arguments.root}", *overrides]
        resume = [f"resume={folder}"] if newest_checkpoint(folder) else [f"hydra.run.dir={folder}"]
        if data != "digits":
            settings.append("model.num_filters=16")
        subprocess.run([sys.executable, str(ROOT / "train.py"), *settings, *resume], check=True, cwd=ROOT)
    return load_score(folder, device=DEVICE)


def sampler_of(score: TrainedScore) -> Sampler:
    """The sampler that a network was trained to be used with."""
    return build(OmegaConf.create(score.config["sampler"]), "sampler")


def draw(score: TrainedScore, sampler: Sampler, x: Tensor, draws: Draws, frames: int = 1) -> list[tuple[int, Tensor]]:
    """Runs chains from x; level and images of `frames` steps spread evenly, the last included, on the CPU."""
    steps = sampler.num_steps(len(score.sigmas))
    keep = evenly(steps, frames)
    states = sampler(score, x, score.sigmas, normal=draws.normal)
    bar = tqdm(states, "Sampling", steps, leave=False, mininterval=1)
    return [(state.level, state.x.cpu()) for step, state in enumerate(bar) if step in keep]


def samples(score: TrainedScore, count: int, seed: int, sampler: Sampler | None = None) -> Tensor:
    """New images, (count, C, H, W), on the CPU, not clamped; from uniform noise."""
    draws = Draws(seed, "sample", 0, device=DEVICE)
    x = draws.uniform(count, *score.image_shape)
    return draw(score, sampler or sampler_of(score), x, draws)[-1][1]


def images(score: TrainedScore, split: str, arguments: argparse.Namespace) -> Tensor:
    """The data that a network was trained on, or that was held out: uint8 (N, C, H, W)."""
    data = training_data(score, arguments.root)
    data.prepare_data()
    return data.images("train" if split == "train" else "val")


def facts(score: TrainedScore) -> dict[str, object]:
    """What a reader of the numbers has to know of the network."""
    data = score.config["data"]
    return {"data": data["name"], "image_size": data["image_size"], "training_steps": score.step} | {
        "weights": score.weights,
        "sigmas": [round(sigma, 6) for sigma in score.sigmas.tolist()],
        "sampler": score.config["sampler"],
    }


def tiles(rows: Tensor, columns: int, titles: list[str] | None = None) -> Figure:
    """Images (N, C, H, W) in so many columns, each with its title."""
    picture = grid(rows, columns, min_side=1024)
    height, width = picture.shape[:2]
    figure = Figure(figsize=(0.75 * columns, 0.75 * columns * height / width))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture, interpolation="nearest")
    axes.set_axis_off()
    for column, text in enumerate(titles or []):
        axes.text((column + 0.5) * width / columns, -0.01 * width, text, ha="center", va="bottom", fontsize=8)
    return figure
