"""What comes of a number of minutes: `experiment=quick` beside a course's recipe and this project's narrow NCSN.

    python benchmarks/budget.py [--minutes 20] [--data mnist] [--root data] [--only quick course ncsn]

All three train for the same time on one core, and draw 500 images each, scored by the Fréchet distance of the data
set's own classifier to the training images:

    quick    `experiment=quick`, 20 evaluations per image
    course   the network of diffusers' course for MNIST at half its width, with DDPM's noise, AdamW and batches of 64;
             DDIM with 50 steps
    ncsn     `experiment=demo` with Adam, 16 filters and batches of 32, its rate falling to zero in the same time; 97
             evaluations

A part that was measured is not measured again while its record lies in the folder.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import save
from peers import Course

from ncsn.data import ImageDataModule
from ncsn.evaluation.classifier import Classifier
from ncsn.evaluation.features import extract
from ncsn.evaluation.image_sets import images_of
from ncsn.evaluation.reference import Reference
from ncsn.evaluation.scores import compute_scores

HERE = Path(__file__).parents[1]
SAMPLES = 500
EVALUATIONS = {"quick": 20, "course": 50, "ncsn": 97}  # per image
ON_ONE_CORE = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def ours(folder: Path, options: list[str], samples: int = SAMPLES) -> tuple[int, Path]:
    """Trains and samples with the project's own commands: steps taken, and the samples."""
    run(["train.py", *options, f"hydra.run.dir={folder}"])
    run(["sample.py", f"ckpt={folder}", f"num_samples={samples}", "format=npz", f"out={folder}/drawn"])
    step = max(int(path.stem[5:]) for path in (folder / "checkpoints").glob("step_*.ckpt"))
    return step, next((folder / "drawn").glob("*.npz"))


def run(command: list[str]) -> None:
    subprocess.run([sys.executable, *command], cwd=HERE, env=os.environ | ON_ONE_CORE, check=True)


def course(folder: Path, data: ImageDataModule, seconds: float) -> tuple[int, Path]:
    """diffusers' course network, trained as the course does."""
    torch.manual_seed(0)
    peer, step, start = Course(data.images("train")[:]), 0, time.monotonic()
    while time.monotonic() - start < seconds:
        peer.step()
        step += 1
    np.savez(folder / "samples.npz", peer.draw(SAMPLES).numpy())
    return step, folder / "samples.npz"


def distance(samples: Path, data: ImageDataModule) -> dict[str, float]:
    """The scores of a file of samples."""
    classifier = Classifier.for_data(data)
    reference = Reference.of(data, "train", classifier, Path(data.root, "references"))
    drawn = extract(classifier, images_of(samples, data.channels).batches(250))
    return compute_scores(drawn, reference, which=["frechet", "precision_recall"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--data", choices=["mnist", "cifar10"], default="mnist")
    parser.add_argument("--root", default="data")
    parser.add_argument("--folder", type=Path, default=Path("runs/budget"))
    parser.add_argument("--only", nargs="+", choices=["quick", "course", "ncsn"], default=["quick", "course", "ncsn"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.environ |= ON_ONE_CORE

    seconds = round(60 * arguments.minutes)
    clock = f"{seconds // 86400:02}:{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    data = _data(arguments.data, arguments.root)
    common = [f"data={arguments.data}", f"data.root={Path(arguments.root).resolve()}", f"trainer.max_time={clock}"]
    narrow = [
        "experiment=demo",
        "optimizer=adam",
        "model.num_filters=16",
        "data.batch_size=32",
        "trainer.max_steps=-1",
    ]
    of_each: dict[str, Any] = {
        "quick": lambda folder: ours(folder, ["experiment=quick", *common]),
        "course": lambda folder: course(folder, data, seconds),
        "ncsn": lambda folder: ours(folder, [*narrow, "scheduler=over_time", *common]),
    }
    results: dict[str, Any] = {"minutes": arguments.minutes, "data": arguments.data, "samples": SAMPLES}
    for name in ("quick", "course", "ncsn"):
        folder = (arguments.folder / f"{arguments.data}_{name}").resolve()
        record = folder / "record.json"
        if name in arguments.only and not record.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            started = time.monotonic()
            steps, samples = of_each[name](folder)
            found = {
                "evaluations": EVALUATIONS[name],
                "steps": steps,
                "seconds": round(time.monotonic() - started),
                **distance(samples, data),
            }
            record.write_text(json.dumps(found))
        if record.is_file():
            results[name] = json.loads(record.read_text())
            print(name, results[name], flush=True)
    print(save(f"budget_{arguments.data}", results, torch.device("cpu")))


def _data(name: str, root: str) -> ImageDataModule:
    from ncsn.data import CIFAR10, MNIST

    data = MNIST(root=root) if name == "mnist" else CIFAR10(root=root)
    data.prepare_data()
    return data


if __name__ == "__main__":
    main()
