"""One process for a long time: does it grow?

    python tests/campaign/soak.py --steps 50000 --samplings 5000

Prints what a training of so many tiny steps, and so many samplings one after another, add to the process: memory,
open files and threads, as slopes over the second half, when all caches are filled.
"""

import argparse
import gc
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"  # before tqdm is imported

import numpy as np

sys.path.insert(1, str(Path(__file__).parents[1]))  # what tests share

from actions import QUIET, TRAIN
from lightning import Trainer

from ncsn import load_score
from ncsn.commands import cli
from ncsn.samplers import AnnealedLangevin
from ncsn.sampling.drawing import draw_into
from ncsn.sampling.folder import SampleFolder
from ncsn.sampling.tasks import Generate

EVERY = 2.0  # seconds


class Watch:
    """Measures this process now and then, without what the next collection of garbage takes away."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float, int, int]] = []  # seconds, MiB, files, threads

    @contextmanager
    def over(self, what: str, count: int, unit: str) -> Iterator[None]:
        """Watches what is done within, and prints how it grew."""
        self.rows.clear()
        done, start = threading.Event(), time.monotonic()

        def measure() -> None:
            while not done.wait(EVERY):
                gc.collect()
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                files, threads = (len(os.listdir(f"/proc/self/{name}")) for name in ("fd", "task"))
                size = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
                self.rows.append((time.monotonic() - start, size, files, threads))

        thread = threading.Thread(target=measure, daemon=True)
        thread.start()
        yield
        done.set()
        thread.join()
        seconds = time.monotonic() - start
        later = np.array(self.rows[len(self.rows) // 2 :])
        done_by_then = later[:, 0] / seconds * count / 1000
        slopes = [np.polyfit(done_by_then, later[:, column], 1)[0] for column in (1, 2, 3)]
        size, files, threads = later[-1, 1:]
        memory, opened, started = slopes
        print(f"{what}: {count} {unit}, {seconds:.0f} s; {size:.0f} MiB, {files:.0f} files, {threads:.0f} threads")
        print(f"  per 1,000 {unit}: {memory:+.3f} MiB, {opened:+.4f} files, {started:+.4f} threads", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser("soak")
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--samplings", type=int, default=5_000)
    given = parser.parse_args()
    watch = Watch()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        os.chdir(folder)
        often = {"max_steps": given.steps, "log_every_n_steps": 100, "val_check_interval": 1000}
        own = ["callbacks.checkpoint.every_n_train_steps=1000"]
        with watch.over("training", given.steps, "steps"):
            cli.main(
                ["train", QUIET, *TRAIN, *own, *(f"trainer.{k}={v}" for k, v in often.items()), "hydra.run.dir=run"]
            )
        score = load_score("run")
        sampler = AnnealedLangevin(steps_per_level=2, step_size=4e-5)
        with watch.over("sampling", given.samplings, "samplings"):
            for seed in range(given.samplings):
                task = Generate(score=score, sampler=sampler, num_samples=2)
                trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False)
                place = SampleFolder(Path(f"out-{seed}"), {"seed": seed})
                draw_into(place, task, trainer, batch_size=2, seed=seed)


if __name__ == "__main__":
    main()
