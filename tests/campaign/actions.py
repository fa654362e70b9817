"""What a user does, on runs that take a second, and what comes of it."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Command, run
from PIL import Image
from tiny_runs import left_by_training, tiny_quick, tiny_unet

from ncsn.data import Digits, ImageFolder
from ncsn.evaluation import Classifier, classifier

CPU = ["trainer.accelerator=cpu", "trainer.devices=1"]
NEW = Path("new")  # the folder of the run that is trained
QUIET = "trainer.enable_progress_bar=false"


@dataclass(frozen=True)
class Action:
    """A command.

    Args:
        command: of a working folder, as it is typed there; where a run was begun there, it goes on.
        result: of a working folder, all that has to be the same, however often the command was cut short.
    """

    command: Callable[[Path], Command]
    result: Callable[[Path], Any]


def _training(overrides: list[str]) -> Callable[[Path], Command]:
    def command(folder: Path) -> Command:
        begun = any((folder / NEW / "checkpoints").glob("step_*.ckpt"))
        return ["train", QUIET, f"resume={NEW}"] if begun else ["train", QUIET, *overrides, f"hydra.run.dir={NEW}"]

    return command


def _made(folder: Path, *patterns: str) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(folder.glob(pattern))


def arrays(folder: Path, *patterns: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in _made(folder, *patterns):
        with np.load(path) as file:
            found |= {f"{path.name}:{name}": torch.from_numpy(file[name]) for name in file.files}
    return found


def _scores(folder: Path) -> Any:
    (path,) = folder.glob("run/samples/*/evaluation.json")
    record = json.loads(path.read_text())
    return [record["scores"], arrays(path.parent, "samples.npz")]


def _cache() -> None:
    ImageFolder(root="images", image_size=8, channels=1, cache_dir="cache").prepare_data()


TRAIN, PALETTE = tiny_unet("data"), [*tiny_quick("data"), "condition=multitask", "condition.damages=[uncrop,jpeg]"]
CHECKPOINT = "ckpt=run/checkpoints/step_0000006.ckpt"
SAMPLE = ["sample", CHECKPOINT, "num_samples=12", "batch_size=2", *CPU]
EVALUATE = ["evaluate", CHECKPOINT, "features=classifier", "num_samples=40", "batch_size=16", "data.root=data", *CPU]
EVALUATE += ["sampler.steps_per_level=1"]
BITS = ["evaluate", CHECKPOINT, "scores=[bits_per_dim]", "num_images=8", "batch_size=2", "data.root=data", *CPU]
BITS += ["solver=heun", "solver.steps=10"]

ACTIONS = {
    "training": Action(_training(TRAIN), lambda folder: left_by_training(folder / NEW)),
    "Palette": Action(
        _training([*PALETTE, "trainer.max_steps=4", "callbacks.checkpoint.save_top_k=-1"]),
        lambda folder: [
            left_by_training(folder / NEW),
            [p.read_bytes() for p in _made(folder, "new/pictures/*.png")],
        ],
    ),
    "sampling": Action(lambda _: SAMPLE, lambda folder: arrays(folder, "run/samples/*/samples.npz")),
    "evaluating": Action(lambda _: EVALUATE, _scores),
    "likelihood": Action(lambda _: BITS, lambda folder: arrays(folder, "run/likelihood/*/likelihood.npz")),
    "caching": Action(lambda _: _cache, lambda folder: [p.read_bytes() for p in _made(folder, "cache/*/images.npy")]),
}


@dataclass
class Bench:
    """What attacks start from, made once: a trained run, its data with a classifier, a folder of images.

    Args:
        folder: for them and for the attacks.
    """

    folder: Path
    results: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @cached_property
    def base(self) -> Path:
        """The folder that the working folder of an attack is a copy of."""
        base = self.folder / "base"
        base.mkdir(parents=True)
        classifier.MIN_STEPS, classifier.EPOCHS = 40, 0  # in two seconds instead of twenty
        generator = np.random.default_rng(0)
        (base / "images").mkdir()
        for number in range(300):
            Image.fromarray(generator.integers(0, 256, (12, 12), dtype=np.uint8)).save(base / f"images/{number}.png")
        for command in (self._classifier, ["train", QUIET, *TRAIN, "hydra.run.dir=run"]):
            outcome = run(command, base)
            assert outcome.status == 0, outcome.err
        return base

    def _classifier(self) -> None:
        data = Digits(root="data")
        data.prepare_data()
        Classifier.for_data(data)

    def working_folder(self, name: str) -> Path:
        """A copy of the base."""
        return shutil.copytree(self.base, self.folder / name, symlinks=True)

    def result(self, name: str) -> Any:
        """What an action leaves that nothing has disturbed."""
        if name not in self.results:
            import time

            folder = self.working_folder(f"undisturbed-{name}")
            start = time.monotonic()
            outcome = run(ACTIONS[name].command(folder), folder)
            assert outcome.verdict.word == "ok", outcome
            self.seconds[name] = time.monotonic() - start
            self.results[name] = ACTIONS[name].result(folder)
        return self.results[name]
