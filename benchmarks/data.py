"""Training images per second: the project's stream and PyTorch's loader with its default settings.

    python benchmarks/data.py [--rounds 15]

Both return shuffled float32 batches, flipped at random and dequantised, on the device that trains. The loader takes
one image at a time from a data set that transforms it; the stream takes a batch of uint8 images and transforms all of
them at once, on the device.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from harness import RESULTS, compare, device, save
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ncsn.data import cache, transforms
from ncsn.data.stream import BatchStream
from ncsn.random import Draws

BATCH, IMAGES = 128, 20_000
SHAPES = [(1, 28, 28), (3, 32, 32)]
BATCHES_PER_CALL = 10
READ_AHEAD = 2  # as in the data module for images that stay on disk
WHERE = device()


class OneImageAtATime(Dataset):
    """A data set as usually written: it transforms and returns one image at a time."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        image = self.images[index].float() / 255
        if torch.rand(()) < 0.5:
            image = image.flip(-1)
        return image * (255 / 256) + torch.rand(image.shape) / 256


def plain_batches(images: Tensor) -> Iterator[Tensor]:
    loader = DataLoader(OneImageAtATime(images), BATCH, shuffle=True, drop_last=True)
    while True:
        for batch in loader:
            yield batch.to(WHERE)


def our_batches(images: Tensor, read_ahead: int = 0) -> Iterator[Tensor]:
    """As in `ImageDataModule`: `train_dataloader`, then `on_after_batch_transfer`."""
    pin = WHERE.type == "cuda" and images.device.type == "cpu"
    for batch in BatchStream(images, BATCH, seed=0, length=10**9, pin_memory=pin, read_ahead=read_ahead):
        x = transforms.to_unit_interval(batch.images.to(WHERE))
        draws = Draws(0, "augment", batch.number, device=WHERE)
        x = transforms.flip(x, draws.uniform(len(x)) < 0.5)
        yield transforms.dequantize(x, draws.uniform(*x.shape))


def taking(batches: Iterator[Tensor]) -> Callable[[], object]:
    def run() -> None:
        for _ in range(BATCHES_PER_CALL):
            next(batches)

    return run


def measure(kept: str, plain: Iterator[Tensor], ours: Iterator[Tensor], rounds: int) -> dict[str, Any]:
    found = compare({"plain": taking(plain), "stream": taking(ours)}, rounds)
    for entry in found.values():
        entry["images_per_second"] = round(BATCH * BATCHES_PER_CALL / entry["seconds"])
    return {"kept": kept, "variants": found}


def shares(settings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The share of a training step that loading takes, where steps have been measured on this kind of device.

    Seconds of loading per image over seconds of the step per image, which include loading. For the loader it is
    calculated: the step's time with the loader's time in place of the stream's.
    """
    path = RESULTS / f"training_{WHERE.type}.json"
    if not path.exists():
        print(f"{path.name}: missing, so no shares of a step; run training.py first")
        return []
    found = []
    for step in json.loads(path.read_text())["settings"]:
        for setting in settings:
            if (setting["channels"], setting["size"]) != (step["channels"], step["size"]):
                continue
            if setting["kept"] == "memory-mapped":
                continue
            image = {name: 1 / v["images_per_second"] for name, v in setting["variants"].items()}
            share: dict[str, Any] = {key: step[key] for key in ("filters", "channels", "size", "batch")}
            for name in ("eager", "fast"):
                rest = step["variants"][name]["seconds"] / step["batch"] - image["stream"]
                share[name] = {how: float(f"{t / (rest + t):.3g}") for how, t in image.items()}
            found.append(share)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    settings: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for shape in SHAPES:
            images = torch.randint(256, (IMAGES, *shape), dtype=torch.uint8)
            place = Path(folder, "x".join(map(str, shape)))
            cache.build(place, {}, lambda images=images: (images.numpy(), None), shape)
            mapped = cache.load_images(place, shape)
            for setting in (
                measure("memory", plain_batches(images), our_batches(images.to(WHERE)), rounds),
                measure("memory-mapped", plain_batches(mapped), our_batches(mapped, READ_AHEAD), rounds),
            ):
                settings.append({"channels": shape[0], "size": shape[1], **setting})
                speeds = {name: v["images_per_second"] for name, v in setting["variants"].items()}
                print(shape, setting["kept"], speeds, flush=True)
    results = {
        "what": "images per second of the training stream, flipped and dequantised; plain: one image at a time",
        "note": "the memory-mapped file is in the system's cache after the first reading: no disk is measured",
        "rounds": rounds,
        "batch": BATCH,
        "images": IMAGES,
        "settings": settings,
        "share_of_a_step": shares(settings),
    }
    save("data", results, WHERE)


if __name__ == "__main__":
    main()
