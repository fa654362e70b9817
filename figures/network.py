"""The networks of figures 4 to C.2: a user's checkpoint, or a small network that is trained once for all of them."""

import argparse
import subprocess
import sys
from dataclasses import replace
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
from ncsn.runs.folder import Run
from ncsn.samplers import Sampler, State
from ncsn.sampling.drawing import draw, evenly
from ncsn.sampling.tasks import Generate, Task
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
        help="training data of the small network; auto: MNIST if its files and a GPU are available, else digits",
    )
    parser.add_argument("--root", type=_absolute, default=str(ROOT / "data"), help="folder of the data sets")
    return parser


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def trained(arguments: argparse.Namespace, name: str = "demo", *overrides: str) -> TrainedScore:
    """The network of `--ckpt`, or that of `train.py experiment=demo <overrides>`, trained if it is missing.

    Args:
        arguments: of `network_options`.
        name: distinguishes this network from others for the same data.
        overrides: what differs from experiment=demo.
    """
    if arguments.ckpt and not overrides:
        return at(arguments.root, load_score(arguments.ckpt, device=DEVICE))
    data = arguments.data
    if data == "auto":
        data = (
            "mnist"
            if DEVICE == "cuda" and any(Path(arguments.root, "MNIST", "raw").glob("train-images-idx3-ubyte*"))
            else "digits"
        )
    folder = ROOT / "runs" / "figures" / f"{name}-{data}"
    run = Run(folder)
    result = run.result()
    if result is None or result["status"] != "finished":
        settings = ["experiment=demo", f"data={data}", f"data.root={arguments.root}", *overrides]
        resume = [f"resume={folder}"] if run.checkpoints() else [f"hydra.run.dir={folder}"]
        if data != "digits":
            settings.append("model.num_filters=16")
        subprocess.run([sys.executable, str(ROOT / "train.py"), *settings, *resume], check=True, cwd=ROOT)
    return at(arguments.root, load_score(folder, device=DEVICE))


def at(root: str, score: TrainedScore) -> TrainedScore:
    """The same network, with the folder its data set is in."""
    return replace(score, config=score.config | {"data": score.config["data"] | {"root": root}})


def sampler_of(score: TrainedScore) -> Sampler:
    """The sampler of a network's configuration."""
    return build(OmegaConf.create(score.config["sampler"]), "sampler")


def samples(score: TrainedScore, count: int, seed: int, sampler: Sampler | None = None) -> Tensor:
    """New images, (count, C, H, W), on the CPU, not clamped."""
    return drawn(Generate(score=score, sampler=sampler or sampler_of(score), num_samples=count), seed)[-1][1]


def drawn(task: Task, seed: int, frames: int = 1) -> list[tuple[int | None, Tensor]]:
    """Draws all chains of a task at once: level and images at the start and after `frames` evenly spread steps.

    The start has no level; the last step is always among them; images are on the CPU, not clamped.
    """
    keep, kept, step = evenly(task.num_steps, frames), [], 0
    with tqdm(desc="Sampling", total=task.num_steps, leave=False, mininterval=1) as bar:

        def watch(x: Tensor, state: State | None) -> None:
            nonlocal step
            if state is None or step in keep:
                kept.append((None if state is None else state.level, x.cpu()))
            if state is not None:
                step += 1
                bar.update()

        for _ in draw(task, batch_size=task.num_chains, seed=seed, device=DEVICE, watch=watch):
            pass
    return kept


def images(score: TrainedScore, split: str) -> Tensor:
    """The data that a network was trained on, or that was held out: uint8 (N, C, H, W)."""
    data = training_data(score)
    data.prepare_data()
    return data.images("train" if split == "train" else "val")


def facts(score: TrainedScore) -> dict[str, object]:
    """What a reader of the numbers has to know about the network."""
    data = score.config["data"]
    return {"data": data["name"], "image_size": data["image_size"], "training_steps": score.step} | {
        "weights": score.weights,
        "sigmas": [round(sigma, 6) for sigma in score.sigmas.tolist()],
        "sampler": score.config["sampler"],
    }


def tiles(rows: Tensor, columns: int, titles: list[str] | None = None) -> Figure:
    """Images (N, C, H, W) in a number of columns, each with its title."""
    picture = grid(rows, columns, min_side=1024)
    height, width = picture.shape[:2]
    figure = Figure(figsize=(0.75 * columns, 0.75 * columns * height / width))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture, interpolation="nearest")
    axes.set_axis_off()
    for column, text in enumerate(titles or []):
        axes.text((column + 0.5) * width / columns, -0.01 * width, text, ha="center", va="bottom", fontsize=8)
    return figure
