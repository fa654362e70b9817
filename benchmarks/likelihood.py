"""Bits per dimension of trained networks; of one whose data have a known entropy; and the memory that they take.

    python benchmarks/likelihood.py NAME=RUN … [--images 250] [--seeds 3] [--folder runs/likelihood]
    python benchmarks/likelihood.py --gaussian [--steps 4000] [--folder runs/likelihood]
    python benchmarks/likelihood.py --memory RUN

Of each RUN, `evaluate.py` computes the held-out images' bits by the flow (RK45, the published tolerances) and their
variational bound, with as many seeds of dequantisation; with the first one also those of the same images with their
pixels shuffled, and of noise. Networks should be trained with `data.dequantize=true`. The Gaussian has 8×8 pixels,
with covariance 0.12² · 0.7^(Δrow + Δcolumn); `experiment=quick` learns it from 20,000 grey images. Memory is the peak
of the whole process for three numbers of images. What lies in the folder is not computed again.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import RESULTS, save

from ncsn import load_score
from ncsn.images import save_png

HERE = Path(__file__).parents[1]
SCORES = "scores=[bits_per_dim,elbo_bits_per_dim]"
STREAMED = (500, 2000, 8000)  # images, for the slope of memory
DEVIATION, CORRELATION, SIDE = 0.12, 0.7, 8  # of the Gaussian, in pixels of [0, 1]


def run(command: list[str]) -> int:
    """Runs a command of the project on one core; its peak memory in KiB."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen([sys.executable, *command], cwd=HERE, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return usage.ru_maxrss


def records(checkpoint: Path, out: Path, options: list[str]) -> dict[str, dict[str, Any]]:
    """By kind, likelihood or bound, what `evaluate.py` writes of each set of images, by the name of the set."""
    done = out / "done"
    if not done.is_file():
        run(["evaluate.py", f"ckpt={checkpoint}", f"out={out}", *options])
        done.touch()
    found: dict[str, dict[str, Any]] = {}
    for file in out.glob("*/*/*.json"):
        record = json.loads(file.read_text())
        found.setdefault(file.stem, {})[record[file.stem]["of"]] = record
    return found


def last(folder: Path) -> Path:
    return folder / "checkpoints" / "last.ckpt"


def bits(path: Path, out: Path, arguments: argparse.Namespace, all_sigmas: bool) -> dict[str, Any]:
    """Of one network: those by each seed, and of the controls; a bound of a thousand levels if it knows them."""
    by_seed = []
    for seed in range(arguments.seeds):
        how = [SCORES, f"num_images={arguments.images}", f"batch_size={arguments.images}", f"seed={seed}"]
        how += ["bound.num_levels=100", *(["bound.steps=1000"] if all_sigmas else [])]
        how += ["controls=[shuffled,noise]"] if seed == 0 else []
        by_seed.append(records(path, Path(f"{out}_{seed}"), how))
    main = min(by_seed[0]["likelihood"], key=lambda of: ("shuffled" in of, of == "uniform noise"))
    found: dict[str, Any] = {}
    for kind in ("likelihood", "bound"):
        of_main = [one[kind][main] for one in by_seed]
        found[kind] = {
            "bits": [next(iter(record["scores"].values())) for record in of_main],
            "standard_error": of_main[0][kind]["standard_error"],
            "evaluations": of_main[0][kind]["evaluations"],
            "controls": {
                "shuffled" if "shuffled" in of else "noise": next(iter(record["scores"].values()))
                for of, record in by_seed[0][kind].items()
                if of != main
            },
        }
    return found | {"images": of_main[0]["bound"]["images"]}


def networks(arguments: argparse.Namespace) -> None:
    for named in arguments.runs:
        name, _, folder = named.partition("=")
        path = last(Path(folder).resolve())
        score = load_score(path)
        data = score.config["data"]["name"]
        file = RESULTS / f"likelihood_{data}_cpu.json"
        found = json.loads(file.read_text()) if file.is_file() else {"data": data, "networks": {}}
        all_sigmas = score.config["noise"]["_target_"] == "ncsn.noise.LogNormal"
        entry = bits(path, arguments.folder / f"{data}_{name}", arguments, all_sigmas) | {"steps": score.step}
        found["networks"][name] = entry
        print(name, json.dumps(entry, indent=1), flush=True)
        save(f"likelihood_{data}", found, torch.device("cpu"))


def gaussian(arguments: argparse.Namespace) -> None:
    """Trains a network on the Gaussian and holds its bits against the entropy."""
    line = CORRELATION ** torch.arange(SIDE).sub(torch.arange(SIDE)[:, None]).abs().double()
    covariance = DEVIATION**2 * torch.kron(line, line)
    entropy = 0.5 * (math.log2(2 * math.pi * math.e) + torch.linalg.eigvalsh(covariance).log2().mean().item()) + 8
    images, folder = arguments.folder / "gaussian_images", arguments.folder / "gaussian"
    if not images.is_dir():
        normal = torch.randn(20_000, SIDE**2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        values = 0.5 + normal @ torch.linalg.cholesky(covariance).T
        grey = (256 * values).floor().clamp(0, 255).to(torch.uint8).numpy()
        images.mkdir(parents=True)
        for number, image in enumerate(grey.reshape(-1, SIDE, SIDE, 1)):
            save_png(np.ascontiguousarray(image), images / f"{number:05d}.png")
    if not last(folder).is_file():
        data = ["data=image_folder", f"data.root={images}", f"data.image_size={SIDE}", "data.channels=1"]
        length = ["trainer.max_time=null", f"trainer.max_steps={arguments.steps}", "scheduler=cosine"]
        how = ["data.dequantize=true", "data.batch_size=128", "model.num_filters=16", *length]
        run(["train.py", "experiment=quick", *data, *how, f"hydra.run.dir={folder}"])
    how = ["scores=[bits_per_dim]", f"num_images={arguments.images}", f"batch_size={arguments.images}"]
    (record,) = records(last(folder), arguments.folder / "gaussian_bits", how)["likelihood"].values()
    measured = next(iter(record["scores"].values()))
    found = {"steps": arguments.steps, "images": arguments.images, "entropy": entropy, "bits": measured}
    found |= {"standard_error": record["likelihood"]["standard_error"], "too_many": measured / entropy - 1}
    print(json.dumps(found, indent=1))
    save("likelihood_gaussian", found, torch.device("cpu"))


def memory(arguments: argparse.Namespace) -> None:
    """The peak of the process by the number of images; in long steps of the flow, since values do not count."""
    path = last(Path(arguments.memory).resolve())
    peaks = {}
    for number in STREAMED:
        how = ["scores=[bits_per_dim]", "solver=heun", "solver.steps=3", f"num_images={number}", "batch_size=250"]
        peaks[number] = run(["evaluate.py", f"ckpt={path}", f"out={arguments.folder}/memory_{number}", *how]) / 1024
    fit = statistics.linear_regression(list(peaks), list(peaks.values()))
    found = {"mib": peaks, "kib_per_image": 1024 * fit.slope, "mib_for_50000_more": 50_000 * fit.slope}
    print(json.dumps(found, indent=1))
    save("likelihood_memory", found, torch.device("cpu"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--images", type=int, default=250)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("runs/likelihood"))
    parser.add_argument("--gaussian", action="store_true")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--memory", default=None)
    arguments = parser.parse_args()
    arguments.folder = arguments.folder.resolve()
    networks(arguments)
    if arguments.gaussian:
        gaussian(arguments)
    if arguments.memory is not None:
        memory(arguments)


if __name__ == "__main__":
    main()
