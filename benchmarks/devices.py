"""Several devices: the speed of two processes on one CPU, measured, and of many GPUs, calculated.

    python benchmarks/devices.py [--rounds 3]

Measured: `train.py` and `sample.py` with one and with two processes of one thread each, with the same batch per
process. Two processes share memory, caches and perhaps a core, so the same training is also run twice at the same
time without any communication. What this pair loses is not the cost of communication; its speed is the ceiling. The
processes of `sample.py` do not communicate while they draw, so it needs no such pair.

Calculated: the time to sum the gradients of a step over n GPUs, against the time for the arithmetic of the step. For
this, only the parameters and operations are counted; nothing is measured. The assumptions are saved with the result.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from harness import flops, save
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ncsn.networks import NCSN, NCSNv2
from ncsn.objectives import denoising_score_matching

ROOT = Path(__file__).parents[1]
BATCH, STEPS, LOG_EVERY, FILTERS = 64, 40, 4, 16  # of training; the batch is per process
CHAINS, BATCHES, STEPS_PER_LEVEL = 64, 5, 2  # of sampling; chains per batch, batches per process
WARM_UP = 2  # logged rows, and batches of samples, that are not counted

ASSUMPTIONS: dict[str, Any] = {
    "gpus_per_node": 8,
    "bytes_per_s_within_a_node": 450e9,  # per GPU and direction: NVLink of the H200
    "bytes_per_s_between_nodes": 50e9,  # per GPU: 400 Gbit/s
    "seconds_per_hop": 5e-6,  # latency of a message
    "peak_flops_per_s": 989e12,  # bfloat16, dense: data sheet of the H200
    "share_of_peak_reached": 0.4,
    "bytes_per_gradient": 4,
    "bucket_bytes": 25 * 2**20,  # PyTorch sums gradients in pieces of this size; the last has no backward pass left
    "backward_share_of_a_step": 2 / 3,
}
GPUS = [8, 16, 32, 64, 128, 256, 512, 1024]


def networks() -> dict[str, tuple[Callable[[Tensor], nn.Module], tuple[int, int, int], int]]:
    """Network, shape of an image, and images per GPU."""
    mnist = partial(NCSN, image_size=28, in_channels=1, num_filters=64)
    cifar10 = partial(NCSN, image_size=32, num_filters=128)
    deepest = partial(NCSNv2, image_size=256, depth="deepest")
    return {
        "MNIST, 64 filters": (mnist, (1, 28, 28), 128),
        "CIFAR-10, 128 filters": (cifar10, (3, 32, 32), 128),
        "NCSNv2 at 256 pixels, 128 filters": (deepest, (3, 256, 256), 8),
    }


def counted(make: Callable[[Tensor], nn.Module], shape: tuple[int, int, int]) -> tuple[int, int]:
    """Parameters of a network, and operations of a training step per image; counted on tensors without content."""
    with FakeTensorMode(), torch.device("cpu"):
        network = make(torch.ones(10))
        x, sigma = torch.rand(1, *shape), torch.ones(1)
        count = flops(lambda: denoising_score_matching(network, x, sigma).mean().backward())
        return sum(p.numel() for p in network.parameters()), count


def ring_seconds(bytes_: float, gpus: int, bandwidth: float) -> float:
    """A sum over a ring: every GPU sends 2(n − 1)/n of the bytes, in 2(n − 1) hops."""
    return 2 * (gpus - 1) / gpus * bytes_ / bandwidth + 2 * (gpus - 1) * ASSUMPTIONS["seconds_per_hop"]


def sum_seconds(bytes_: float, gpus: int) -> dict[str, float]:
    """One ring, as fast as its slowest link; or two levels: a ring within each node, and rings across the nodes, in
    which each GPU has its share of the bytes."""
    node = ASSUMPTIONS["gpus_per_node"]
    within, between = (ASSUMPTIONS[f"bytes_per_s_{where}"] for where in ("within_a_node", "between_nodes"))
    if gpus <= node:
        seconds = ring_seconds(bytes_, gpus, within)
        return {"ring": seconds, "two_levels": seconds}
    levels = ring_seconds(bytes_, node, within) + ring_seconds(bytes_ / node, gpus // node, between)
    return {"ring": ring_seconds(bytes_, gpus, between), "two_levels": levels}


def predicted() -> list[dict[str, Any]]:
    a = ASSUMPTIONS
    found = []
    for name, (make, shape, batch) in networks().items():
        parameters, operations = counted(make, shape)
        compute = operations * batch / (a["peak_flops_per_s"] * a["share_of_peak_reached"])
        bytes_ = a["bytes_per_gradient"] * parameters
        rows = []
        for gpus in GPUS:
            row: dict[str, Any] = {"gpus": gpus, "bytes_sent_by_each": round(2 * (gpus - 1) / gpus * bytes_)}
            for how, seconds in sum_seconds(bytes_, gpus).items():
                last = seconds * min(1, a["bucket_bytes"] / bytes_)
                left = max(last, seconds - a["backward_share_of_a_step"] * compute)
                row[how] = {
                    "seconds": float(f"{seconds:.3g}"),
                    "efficiency_without_overlap": round(compute / (compute + seconds), 4),
                    "efficiency_with_overlap": round(compute / (compute + left), 4),
                }
            rows.append(row)
        found.append(
            {
                "network": name,
                "parameters": parameters,
                "gflop_per_image": operations / 1e9,
                "images_per_gpu": batch,
                "compute_seconds": float(f"{compute:.3g}"),
                "by_gpus": rows,
            }
        )
    return found


def start(script: str, *arguments: str, cwd: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "WANDB_MODE": "disabled"}
    command = [sys.executable, str(ROOT / script), *arguments, "trainer.accelerator=cpu"]
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen[str]) -> None:
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(process.args)}\n{output[-3000:]}")  # type: ignore[arg-type]


def training(folder: Path, devices: int) -> list[str]:
    return [
        "data=digits",
        f"data.root={folder.parent}",
        f"data.batch_size={BATCH * devices}",
        f"model.num_filters={FILTERS}",
        f"trainer.devices={devices}",
        f"trainer.max_steps={STEPS}",
        f"trainer.log_every_n_steps={LOG_EVERY}",
        f"trainer.val_check_interval={STEPS}",
        "trainer.limit_val_batches=1",
        "callbacks.progress=null",
        "callbacks.samples.every_n_steps=0",
        f"hydra.run.dir={folder}",
    ]


def trained_per_second(folder: Path) -> float:
    """Images per second of a run, over its processes: the median of the logged values."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [float(row["images_per_second"]) for row in csv.DictReader(file) if row["images_per_second"]]
    return statistics.median(rows[WARM_UP:])


def sampling(checkpoint: Path, folder: Path, devices: int) -> list[str]:
    return [
        f"ckpt={checkpoint}",
        f"batch_size={CHAINS}",
        f"num_samples={CHAINS * BATCHES * devices}",
        f"sampler.steps_per_level={STEPS_PER_LEVEL}",
        f"trainer.devices={devices}",
        f"out={folder}",
    ]


def sampled_per_second(folder: Path, devices: int) -> float:
    """Images per second of a call, over its processes, from the times at which their batches were written."""
    total = 0.0
    for rank in range(devices):
        times = [path.stat().st_mtime for path in sorted((folder / "batches").glob("*.npy"))[rank::devices]]
        total += CHAINS * (len(times) - WARM_UP) / (times[-1] - times[WARM_UP - 1])
    return total


def measured(rounds: int) -> dict[str, Any]:
    """Images per second of one process, of two processes of one run, and of two separate runs."""
    training_speeds: dict[str, list[float]] = {"one": [], "two": [], "pair": []}
    sampling_speeds: dict[str, list[float]] = {"one": [], "two": []}
    with TemporaryDirectory() as temporary:
        here = Path(temporary)
        checkpoint = here / "one 0" / "checkpoints" / "last.ckpt"
        for k in range(rounds):
            for name, copies, devices in (("one", 1, 1), ("two", 1, 2), ("pair", 2, 1)):
                folders = [here / f"{name} {k}{'b' * copy}" for copy in range(copies)]
                for process in [start("train.py", *training(f, devices), cwd=here) for f in folders]:
                    finish(process)
                training_speeds[name].append(sum(map(trained_per_second, folders)))
            for name, devices in (("one", 1), ("two", 2)):
                folder = here / f"sampled {name} {k}"
                finish(start("sample.py", *sampling(checkpoint, folder, devices), cwd=here))
                sampling_speeds[name].append(sampled_per_second(folder, devices))
            speeds = {"training": training_speeds, "sampling": sampling_speeds}
            print({what: {n: round(s[-1], 1) for n, s in of.items()} for what, of in speeds.items()}, flush=True)
    return {what: efficiencies(of) for what, of in speeds.items()}


def efficiencies(speeds: Mapping[str, list[float]]) -> dict[str, Any]:
    """Half the speed of two processes over that of one, as a ratio of medians and as quartiles of the rounds."""
    found: dict[str, Any] = {
        f"images_per_second_{name}": round(statistics.median(of), 1) for name, of in speeds.items()
    }
    for name in speeds.keys() - {"one"}:
        key = {"two": "efficiency", "pair": "ceiling"}[name]
        ratios = [two / (2 * one) for two, one in zip(speeds[name], speeds["one"], strict=True)]
        quartiles = statistics.quantiles(ratios, n=4, method="inclusive")[::2]
        median = statistics.median(speeds[name]) / (2 * statistics.median(speeds["one"]))
        found |= {key: round(median, 3), f"{key}_quartiles": [round(q, 3) for q in quartiles]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    results = {
        "what": "two processes on one CPU, measured; many GPUs, calculated",
        "rounds": rounds,
        "measured": {
            "what": "data=digits, one thread per process, the same batch per process",
            "filters": FILTERS,
            "batch_per_process": BATCH,
            "steps": STEPS,
            "chains_per_process": CHAINS,
            **measured(rounds),
        },
        "calculated": {
            "what": "calculated, not measured: efficiency at a fixed batch per GPU",
            "assumptions": ASSUMPTIONS,
            "networks": predicted(),
        },
    }
    save("devices", results, torch.device("cpu"))


if __name__ == "__main__":
    main()
