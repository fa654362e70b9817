"""A run's folder as training, sampling and evaluating leave it, of made-up numbers and pictures."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

SIGMAS = (1.0, 0.599, 0.359, 0.215, 0.129, 0.0774, 0.0464, 0.0278, 0.0167, 0.01)
STEPS = 20_000
SAMPLER = {"_target_": "ncsn.samplers.AnnealedLangevin", "steps_per_level": 100, "step_size": 4e-5, "denoise": True}
CHECKSUM = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"

CONFIG: dict[str, Any] = {
    "data": {
        "_target_": "ncsn.data.CIFAR10",
        "name": "cifar10",
        "root": "data",
        "image_size": 32,
        "channels": 3,
        "batch_size": 128,
        "flip": True,
    },
    "model": {"_target_": "ncsn.networks.NCSN", "image_size": 32, "in_channels": 3, "num_filters": 128},
    "noise": {"_target_": "ncsn.noise.geometric", "sigma_max": 1.0, "sigma_min": 0.01, "num_levels": 10},
    "objective": {"_target_": "ncsn.objectives.denoising_score_matching", "_partial_": True},
    "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.001, "betas": [0.9, 0.999]},
    "sampler": SAMPLER,
    "trainer": {"max_steps": STEPS, "precision": "32-true"},
    "callbacks": {"ema": {"_target_": "ncsn.training.ema.EMA", "rate": 0.999, "warmup": True}},
    "name": "cifar10",
    "seed": 0,
}
RECORD = {
    "id": "c0318dd2",
    "started": "2026-11-22T00:59:34",
    "command": "train.py experiment=cifar10",
    "git": "b40ef5a2af3674b524c2e30ffbf6bffd7f360c84+changes",
    "versions": {"python": "3.11.7", "ncsn": "0.1.0", "torch": "2.15.0", "lightning": "2.6.6"},
    "machine": "workstation",
    "device": "NVIDIA H200",
}
CURVE = {
    "criterion": "fid_1k",
    "best": 15_000,
    "checkpoints": [
        {"step": 5_000, "scores": {"fid_1k": 91.2, "is_1k": 5.1, "is_1k_std": 0.21}},
        {"step": 10_000, "scores": {"fid_1k": 61.9, "is_1k": 6.9, "is_1k_std": 0.31}},
        {"step": 15_000, "scores": {"fid_1k": 47.25, "is_1k": 7.6, "is_1k_std": 0.25}},
        {"step": 20_000, "scores": {"fid_1k": 49.5, "is_1k": 7.5, "is_1k_std": 0.28}},
    ],
}


def evaluation(**changes: Any) -> dict[str, Any]:
    """What `evaluation.json` holds."""
    return {
        "scores": {
            "is_1k": 7.612,
            "is_1k_std": 0.2513,
            "fid_1k": 47.25,
            "kid_1k": 0.02134,
            "kid_1k_std": 0.00112,
            "precision_1k": 0.71,
            "recall_1k": 0.43,
        },
        "num_samples": 1000,
        "features": {"name": "inception", "checksum": CHECKSUM, "published_weights": True},
        "settings": {"splits": 10, "kid_subsets": 100, "kid_subset_size": 500, "neighbours": 3, "seed": 2020},
        "reference": {"name": "cifar10", "split": "train", "image_size": 32, "count": 50_000, "files": CHECKSUM},
        "checkpoint": {
            "path": "run/checkpoints/step_0015000.ckpt",
            "step": 15_000,
            "sha256": CHECKSUM,
            "weights": "ema",
        },
        "sampler": SAMPLER,
        "denoise": True,
        "network_evaluations": 1001,
        "seed": 0,
        "seconds": {"sampling": 412.3, "features": 12.4, "scores": 3.2},
        "versions": {"ncsn": "0.1.0", "torch": "2.15.0", "torch-fidelity": "0.4.0"},
        "memorisation": {
            "pixels": {"samples_to_training": [6.1, 7.3, 8.8], "held_out_to_training": [6.4, 7.9, 9.6]},
            "features": {"samples_to_training": [9.7, 11.2, 12.9], "held_out_to_training": [9.1, 10.8, 12.7]},
        },
        "classes": {"shares": [0.08, 0.11, 0.12, 0.1, 0.09, 0.1, 0.13, 0.07, 0.11, 0.09], "mean_confidence": 0.941},
        "by_class": {"classes": ["cat", "dog"], "counts": [500, 500], "accuracy": [0.9, 1], "frechet": [3.5, 4]},
        "held_out": {
            "sigmas": list(SIGMAS),
            "twice_the_loss_per_dim": [0.1 + 0.085 * k for k in range(10)],
            "squared_score_per_dim": [0.89 - 0.085 * k for k in range(10)],
        },
        **changes,
    }


def make_run(path: Path) -> Path:
    """Writes such a folder, with everything that there can be in one."""
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    write_json(path / "run.json", RECORD)
    result = {"overrides": {"experiment": "cifar10", "data.root": "data"}, "status": "finished", "metrics": {}}
    write_json(path / "result.json", result)
    write_metrics(path / "metrics.csv")
    for step in range(1000, STEPS + 1, 1000):
        save_picture(path / "pictures" / f"step_{step:07d}.png", noise=1 - step / STEPS)
    samples = path / "samples" / "step_0015000_ema_1f3a5b7c"
    task = {"_target_": "ncsn.sampling.tasks.Generate", "init": "uniform"}
    settings = {"checkpoint": "step_0015000.ckpt", "sha256": CHECKSUM, "weights": "ema", "seed": 0, "batch_size": 100}
    write_json(samples / "settings.json", settings | {"precision": "32-true", "sampler": SAMPLER, "task": task})
    write_json(samples / "evaluation.json", evaluation())
    save_picture(samples / "grid.png", noise=0.05, columns=10)
    save_picture(samples / "trajectory.png", noise=0.3, columns=18, rows=8)
    save_picture(samples / "neighbours.png", noise=0.1, columns=9, rows=10)
    sets = {"uniform noise": 9.0, "cifar10 val": 3.5, "cifar10 val, shuffled": 6.5}
    for number, (of, mean) in enumerate(sets.items()):
        write_likelihoods(path / "likelihood" / f"step_0015000_ema_0000000{number}", of, mean)
    write_bound(path / "bound" / "step_0015000_ema_00000000")
    write_json(path / "evaluation" / "curve.json", CURVE)
    return path


def write_bound(folder: Path) -> None:
    bound = {"of": "cifar10 val", "standard_error": 0.02, "prior": 0.002, "diffusion": 1.78, "decoder": 1.968}
    bound |= {"dimensions": 3072, "images": 20, "evaluations": 1000.0}
    estimator = {"_target_": "ncsn.bound.VariationalBound", "num_levels": None, "variance": "fixed_small"}
    protocol = {"estimator": estimator, "levels": 1000, "grey_levels_at": "k/255", "seed": 0}
    checkpoint = {"path": "step_0015000.ckpt", "sha256": CHECKSUM, "step": 15_000, "weights": "ema"}
    scores = {"elbo_bits_per_dim_20": 3.75}
    write_json(
        folder / "bound.json", {"protocol": protocol, "checkpoint": checkpoint, "scores": scores, "bound": bound}
    )


def write_likelihoods(folder: Path, of: str, mean: float) -> None:
    """Of twenty images, the bits per dimension of each a tenth from the mean."""
    bits = mean + 0.1 * np.array([-1, 1] * 10)
    images = {"name": "cifar10", "split": "val", "files": CHECKSUM, "count": 20} | (
        {} if mean < 4 else {"control": of}
    )
    likelihood = {"of": of, "standard_error": 0.023, "dimensions": 3072, "images": 20}
    likelihood |= {"nats_per_image": -1.0, "evaluations": 198.0, "solver_error": 0.0012}
    if mean < 4:
        by_class = {"classes": ["cat", "dog"], "counts": [10, 10], "bits_per_dim": [3.4, 3.6]}
        likelihood |= {"by_class": by_class | {"standard_error": [0.1, 0.1]}}
    protocol = {
        "checkpoint": {"sha256": CHECKSUM, "weights": "ema"},
        "images": images,
        "prior": {"name": "cifar10", "split": "train", "files": CHECKSUM},
        "dequantisation": "uniform",
        "solver": {"_target_": "ncsn.flow.HeunSteps", "steps": 100, "spacing": "karras", "rho": 7.0},
        "num_projections": 1,
        "projection": "rademacher",
        "seed": 0,
        "batch_size": 256,
    }
    checkpoint = {"path": "step_0015000.ckpt", "sha256": CHECKSUM, "step": 15_000, "weights": "ema"}
    record = {"protocol": protocol, "checkpoint": checkpoint, "scores": {"bits_per_dim_20": mean}}
    write_json(folder / "likelihood.json", record | {"likelihood": likelihood})
    np.savez(folder / "likelihood.npz", nats=(8 - bits) * 3072 * math.log(2))


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_metrics(path: Path) -> None:
    """A row of training every 50 steps, one of validation every 1,000."""
    random = np.random.default_rng(0)
    dimensions = 3072
    levels = {f"loss_sigma_{sigma:.3g}": 0.08 + 0.03 * number for number, sigma in enumerate(SIGMAS)}
    rows: list[dict[str, float]] = []
    for step in range(50, STEPS + 1, 50):
        excess = math.exp(-step / 900) + 0.02 * float(random.normal()) * math.exp(-step / 3000)
        for stage, shift in (("train", 0.0), ("val", 0.01)):
            if stage == "val" and step % 1000:
                continue
            losses = {
                f"{stage}/{name}": dimensions * (final + shift + 0.3 * excess) for name, final in levels.items()
            }
            loss = sum(losses.values()) / len(losses)
            row = {"step": step, f"{stage}/loss": loss, f"{stage}/loss_per_dim": loss / dimensions, **losses}
            if stage == "train":
                speed = 2400 + 90 * float(random.normal())
                row |= {"lr": 1e-3 * min(1.0, step / 1000), "images_per_second": speed}
            rows.append(row)
    names = sorted({name for row in rows for name in row})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def save_picture(path: Path, noise: float, columns: int = 8, rows: int | None = None, side: int = 20) -> None:
    """Coloured discs on a grid, more or less noisy."""
    rows = rows or columns
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(rows * columns)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    disc = np.hypot(x, y)[..., None] < 0.7
    colours = random.uniform(0, 1, (rows, columns, 1, 1, 3))
    images = disc * colours + ~disc * colours[..., ::-1] * 0.6
    images = np.clip(images + noise * random.normal(size=images.shape), 0, 1)
    whole = (images * 255).astype(np.uint8).transpose(0, 2, 1, 3, 4).reshape(rows * side, columns * side, 3)
    Image.fromarray(whole).save(path)
