"""Does speed=fast learn the same? The demo's training with three seeds, with speed=eager and with speed=fast.

    python benchmarks/accuracy.py [--steps 500] [--filters 16]

With the same seed, both start from the same weights and see the same images and noise. So the difference between the
two speeds with one seed can be compared with the difference between seeds at one speed, which is the effect of
chance.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Any

from harness import device, save

ROOT = Path(__file__).parents[1]
SEEDS = (0, 1, 2)


def train(folder: Path, root: str, seed: int, speed: str, steps: int, filters: int) -> dict[str, list[float]]:
    """The curves of a run: the training loss per dimension as logged, and the held-out loss at the end."""
    arguments = [
        "experiment=demo", f"speed={speed}", f"seed={seed}", f"trainer.max_steps={steps}", f"data.root={root}",
        f"trainer.val_check_interval={steps}", f"model.num_filters={filters}", f"hydra.run.dir={folder}",
        "callbacks.samples.every_n_steps=0", "callbacks.progress=null", "trainer.enable_progress_bar=false",
    ]  # fmt: skip
    subprocess.run([sys.executable, str(ROOT / "train.py"), *arguments], check=True, stdout=subprocess.DEVNULL)
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {
        stage: [float(row[f"{stage}/loss_per_dim"]) for row in rows if row.get(f"{stage}/loss_per_dim")]
        for stage in ("train", "val")
    }


def apart(one: list[float], other: list[float]) -> float:
    """Mean relative distance between two curves."""
    return statistics.mean(abs(a - b) / abs(a) for a, b in zip(one, other, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--filters", type=int, default=16)
    options = parser.parse_args()
    curves: dict[str, dict[int, dict[str, list[float]]]] = {"eager": {}, "fast": {}}
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{temporary}/compiled"  # compiled once for all runs
        for seed in SEEDS:
            for speed, found in curves.items():
                folder = Path(temporary, f"{speed}_{seed}")
                found[seed] = train(folder, temporary, seed, speed, options.steps, options.filters)
                print(speed, seed, found[seed]["val"][-1], flush=True)
    pairs = list(combinations(SEEDS, 2))
    results: dict[str, Any] = {"what": "speed=fast against speed=eager, the demo on digits", **vars(options)}
    for stage in ("train", "val"):
        results[stage] = {
            "between_eager_and_fast": [apart(curves["eager"][s][stage], curves["fast"][s][stage]) for s in SEEDS],
            "between_seeds": [apart(curves["eager"][a][stage], curves["eager"][b][stage]) for a, b in pairs],
            "last": {speed: [found[s][stage][-1] for s in SEEDS] for speed, found in curves.items()},
        }
        print(stage, results[stage], flush=True)
    save("accuracy", results | {"curves": curves}, device())


if __name__ == "__main__":
    main()
