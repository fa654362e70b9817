"""Files that somebody has damaged or changed: success with the same result, or one line; nothing in them is run.

A changed bit or a file cut short has to be noticed wherever there is a checksum. What is changed with its checksum,
or lies in a file that people edit, may mean something else; it must be no traceback, no hang and no execution.
"""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
from actions import CPU, QUIET, SAMPLE, arrays
from harness import CANARY, DIFFERENT, EXECUTED, OK, Command, Trial, Verdict, is_same, run
from mutators import array, calls, content, cut, flip, header, members, picture, replaced, splice, text
from tiny_runs import left_by_training

from ncsn.data import CIFAR10, MNIST, ImageFolder
from ncsn.data.module import ImageDataModule

SECONDS = 30.0


class Target(NamedTuple):
    """A kind of file, and who reads it.

    Args:
        make: writes the file in a working folder, or finds it there.
        command: that reads it.
        mutators: for its format.
        result: of the folder afterwards, the same if the file was good; None where that is not to be known.
    """

    make: Callable[[Path], Path]
    command: Command
    mutators: tuple[Callable[[Path, Random], bool], ...]
    result: Callable[[Path], Any] | None = None


RAW = (flip, cut, splice, replaced)


# Who reads what.


def _checkpoint(folder: Path) -> Path:
    return folder / "run/checkpoints/step_0000006.ckpt"


def _safetensors(folder: Path) -> Path:
    run(["convert", str(_checkpoint(folder)), "model.safetensors"], folder)
    return folder / "model.safetensors"


def _in_run(name: str) -> Callable[[Path], Path]:
    return lambda folder: folder / "run" / name


def _drawn(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        run(SAMPLE, folder)
        (found,) = folder.glob(f"run/samples/*/{name}")
        return found

    return make


def _foreign(folder: Path) -> Path:
    np.savez(folder / "foreign.npz", np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8))
    return folder / "foreign.npz"


def _cached(folder: Path) -> Path:
    run(_decoding(ImageFolder, root="images", image_size=8, channels=1), folder)
    return sorted(folder.glob("decoded/*/images.npy"))[0]


def _idx(folder: Path) -> Path:
    raw = folder / "mnist/MNIST/raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 20), ("t10k", 10)):
        images = bytes(range(28)) * 28
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + images * count)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + bytes(count))
    return raw / "t10k-images-idx3-ubyte"


def _cifar(folder: Path) -> Path:
    batches = folder / "cifar/cifar-10-batches-py"
    batches.mkdir(parents=True)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        whole = {"data": np.zeros((10, 3072), np.uint8), "labels": [0] * 10}
        (batches / name).write_bytes(pickle.dumps(whole, 4))
    return batches / "data_batch_3"


def _decoding(data: Callable[..., ImageDataModule], **arguments: Any) -> Command:
    return lambda: data(cache_dir="decoded", **arguments).prepare_data()


def _decoded(folder: Path) -> Any:
    return [torch.from_numpy(np.load(path)) for path in sorted(folder.glob("decoded/*/images.npy"))]


def _scored(folder: Path) -> Any:
    found = list(folder.glob("foreign_evaluation/evaluation.json"))
    return [json.loads(path.read_text())["scores"] for path in found]


_DRAW = ["num_samples=2", "out=out", *CPU]
_NEWEST = "run/checkpoints/step_0000006.ckpt"
_SCORE = ["evaluate", "samples=foreign.npz", "data=digits", "data.root=data", "features=classifier", *CPU]
_RESUME = ["train", QUIET, "resume=run", "trainer.max_steps=8"]
_READ_FOLDER = _decoding(ImageFolder, root="images", image_size=8, channels=1)
_TORCH = (*RAW, members, content, content, calls)


def _out(folder: Path) -> Any:
    return arrays(folder, "out/samples.npz")


def _drawn_in_run(folder: Path) -> Any:
    return arrays(folder, "run/samples/*/samples.npz")


def _resumed(folder: Path) -> Any:
    return left_by_training(folder / "run")


TARGETS = {
    "checkpoint": Target(_checkpoint, ["sample", f"ckpt={_NEWEST}", *_DRAW], _TORCH, _out),
    "resumed checkpoint": Target(_checkpoint, ["train", QUIET, f"resume={_NEWEST}"], _TORCH),
    "newest of a run": Target(_checkpoint, ["sample", "ckpt=run", *_DRAW], (*RAW, members)),
    "newest of a resumed run": Target(_checkpoint, _RESUME, RAW, _resumed),
    "safetensors": Target(_safetensors, ["sample", "ckpt=model.safetensors", *_DRAW], (*RAW, header, header), _out),
    "overrides.yaml": Target(_in_run("overrides.yaml"), _RESUME, (*RAW, text, text), _resumed),
    "run.json": Target(_in_run("run.json"), _RESUME, (*RAW, text)),
    "metrics.csv": Target(_in_run("metrics.csv"), _RESUME, (*RAW, text)),
    "config.yaml, in a report": Target(_in_run("config.yaml"), ["report", "run"], (*RAW, text, text)),
    "metrics.csv, in a report": Target(_in_run("metrics.csv"), ["report", "run"], (*RAW, text)),
    "settings.json": Target(_drawn("settings.json"), SAMPLE, (*RAW, text)),
    "batches": Target(_drawn("batches/00001.npy"), SAMPLE, (flip, cut, splice), _drawn_in_run),
    "npz": Target(_foreign, _SCORE, (*RAW, members, array, array), _scored),
    "PNG": Target(lambda folder: folder / "images/7.png", _READ_FOLDER, (*RAW, picture, picture)),
    "cache": Target(_cached, _READ_FOLDER, (flip, cut, splice), _decoded),
    "idx": Target(_idx, _decoding(MNIST, root="mnist", download=False), RAW),
    "CIFAR": Target(_cifar, _decoding(CIFAR10, root="cifar", download=False), (*RAW, calls, calls)),
}


def attack(name: str, trial: Trial) -> Verdict:
    target = TARGETS[name]
    expected = _expected(name, target, trial.bench)
    path = target.make(trial.folder)
    mutator = trial.random.choice(target.mutators)
    can_be_known = mutator(path, trial.random)
    outcome = run(target.command, trial.folder, seconds=SECONDS)
    verdict = outcome.verdict
    told = not can_be_known or "changed since" in outcome.out
    if verdict.word == OK and not told and target.result and not is_same(target.result(trial.folder), expected):
        return Verdict(DIFFERENT, mutator.__name__)
    if (trial.folder / CANARY).exists():
        return Verdict(EXECUTED, mutator.__name__)
    return Verdict(verdict.word, f"{mutator.__name__}: {verdict.seen}")


def _expected(name: str, target: Target, bench: Any) -> Any:
    key = f"damage: {name}"
    if key not in bench.results:
        folder = bench.working_folder(f"undamaged-{name.replace(' ', '-')}")
        target.make(folder)
        outcome = run(target.command, folder)
        assert outcome.verdict.word == OK, (name, outcome)
        bench.results[key] = target.result(folder) if target.result else None
    return bench.results[key]


ATTACKS = {f"damage: {name}": (lambda trial, name=name: attack(name, trial)) for name in TARGETS}
