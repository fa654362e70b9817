"""A small classifier of a labelled data set, whose features score samples where Inception's are of little use.

Inception was trained on photographs: its features say little about handwritten digits, and without its weights there
are none. This network is trained on the data set itself, in seconds or a few minutes, with one fixed recipe. Scores
made with it compare only with scores made with the same weights; therefore its name, its checksum and its accuracy
are recorded with every score.
"""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ncsn.checkpoint.tensors import check_weights, load_tensors
from ncsn.checkpoint.trust import plain
from ncsn.data import ImageDataModule
from ncsn.data.module import Split
from ncsn.data.transforms import flip, to_unit_interval
from ncsn.errors import ConfigError, DataError
from ncsn.evaluation.features import Device, FeatureNetwork, Features, extract_batches
from ncsn.files import one_process_at_a_time, save_tensors
from ncsn.random import Draws

log = logging.getLogger(__name__)

FORMAT = 1  # raise it when the network or its recipe changes: classifiers kept before are then trained anew
EPOCHS, MIN_STEPS, BATCH_SIZE = 3, 300, 128
LEARNING_RATE, WEIGHT_DECAY = 5e-3, 1e-2
SHIFT = 1 / 14  # of the image's side, at most: 2 pixels of 28


class Classifier(FeatureNetwork):
    """Four convolutions, each with batch norm and ReLU, the mean over the pixels, and a linear layer.

    The features are, as Inception's, the last activations averaged over the pixels. Means of many rectified values
    come closer to the Gaussian that the Fréchet distance takes them for than single rectified values would.

    Args:
        data: name of the data set.
        image_size, channels: of its images; others are refused.
        num_classes: K.

    Attributes:
        record: how it was trained and its accuracy on held-out images; plain values.
    """

    dimension = 128

    def __init__(self, data: str, image_size: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.name = f"classifier-{data}"
        self.image_shape = (channels, image_size, image_size)
        self.num_classes = num_classes
        self.record: dict[str, Any] = {
            "data": data,
            "image_size": image_size,
            "channels": channels,
            "num_classes": num_classes,
        }
        self.body = nn.Sequential(
            _convolution(channels, 32, stride=1 if image_size <= 16 else 2),
            _convolution(32, 64, stride=2),
            _convolution(64, 128, stride=1),
            _convolution(128, self.dimension, stride=2),
        )
        self.head = nn.Linear(self.dimension, num_classes)

    def forward(self, images: Tensor) -> Features:
        """uint8 images (B, C, H, W) to features (B, 128) and logits (B, K).

        Raises:
            ConfigError: they are not of the shape that the network was trained on.
        """
        if tuple(images.shape[1:]) != self.image_shape:
            raise ConfigError(
                f"features=classifier: {self.name} takes images of {_size(self.image_shape)}, found "
                f"{_size(images.shape[1:])}; set data to the data set of these images, or features=inception"
            )
        features = self.body(to_unit_interval(images)).mean(dim=(2, 3))
        return Features(features, self.head(features))

    @property
    def checksum(self) -> str:
        """sha256 over names, shapes and values of the weights."""
        digest = hashlib.sha256()
        for name, value in self.state_dict().items():
            digest.update(repr((name, value.dtype, tuple(value.shape))).encode())
            digest.update(value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), **self.record}

    def save(self, path: Path) -> None:
        """Writes weights and record, all or nothing; `torch.load(weights_only=True)` reads it."""
        state = {name: value.cpu() for name, value in self.state_dict().items()}
        save_tensors({"record": self.record, "state": state}, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            DataError: the file is damaged, or something else.
        """
        try:
            saved = load_tensors(path)
            record = plain(saved["record"], path)
            of = [record[key] for key in ("data", "image_size", "channels", "num_classes")]
            with torch.device("meta"):  # no memory is taken at the sizes that a file states before it keeps to them
                check_weights(cls(*of), saved["state"], path)
            network = cls(*of)
            network.load_state_dict(saved["state"])
        except Exception as error:  # bytes that are no checkpoint fail in many ways
            raise DataError(
                f"{path}: expected a classifier, but it cannot be read ({' '.join(str(error).split())[:200]}); "
                "delete it and it will be trained anew"
            ) from error
        network.record = record
        return network.eval()

    @classmethod
    def for_data(
        cls, data: ImageDataModule, folder: str | Path | None = None, device: Device = "cpu"
    ) -> "Classifier":
        """The classifier of a data set that is prepared: loaded, or trained and kept.

        Args:
            data: with labels.
            folder: where classifiers are kept, `<data.root>/classifiers` if None.
            device: to train on, if need be.

        Raises:
            ConfigError: the data set has no labels.
            DataError: the file is damaged, or holds the classifier of other data.
        """
        folder = Path(data.root, "classifiers") if folder is None else Path(folder).expanduser()
        expected = _classifier_of(data).record  # has the set labels?
        path = folder / f"{data.labelled_name}-{data.image_size}px-{data.channels}ch-v{FORMAT}.pt"
        with one_process_at_a_time(path):
            if not path.is_file():
                train_classifier(data, device=device).save(path)
        network = cls.load(path)
        found = {key: network.record.get(key) for key in expected}
        if found != expected:
            raise DataError(f"{path}: expected a classifier of {expected}, found one of {found}; delete or move it")
        return network


def train_classifier(
    data: ImageDataModule, *, seed: int = 0, steps: int | None = None, device: Device = "cpu"
) -> Classifier:
    """Trains a classifier on the training images and measures its accuracy on the held-out ones.

    AdamW, the rate up and down once (Smith & Topin 2017), on images shifted by up to a fourteenth of their side
    and, where the data module says so, mirrored. The result is a function of data, seed and steps.

    Args:
        data: prepared, with labels.
        seed: of weights, order and shifts.
        steps: batches of 128, by default those of three epochs, but 300 at least.
        device: to train on.

    Raises:
        ConfigError: the data set has no labels.
    """
    images, labels = _labelled(data, "train")
    images = images.to(device, copy=True)  # memory-mapped until here
    labels = labels.to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _classifier_of(data).to(device).train()
    steps = max(MIN_STEPS, EPOCHS * len(images) // BATCH_SIZE) if steps is None else steps
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    rows = _rows(len(images), seed)
    bar = tqdm(range(steps), desc=f"Training {network.name}", unit="step", delay=2)
    for step in bar:
        batch = next(rows).to(device)
        x = _augment(images[batch], Draws(seed, "classifier", step), mirror=data.flip)
        loss = F.cross_entropy(network(x).logits, labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    held_out, accuracy = _accuracy(network, data, device)
    network.record |= {"accuracy": accuracy, "held_out": held_out, "seed": seed, "steps": steps}
    log.info(f"{network.name}: {accuracy:.2%} of {held_out} held-out images right, after {steps} steps")
    return network.cpu().eval()


def _classifier_of(data: ImageDataModule) -> Classifier:
    _, labels = _labelled(data, "train")
    return Classifier(data.labelled_name, data.image_size, data.channels, num_classes=int(labels.max()) + 1)


def _labelled(data: ImageDataModule, split: Split) -> tuple[Tensor, Tensor]:
    images, labels = data.images(split), data.labels(split)
    if labels is None:
        raise ConfigError(
            f"features=classifier: data={data.name} has no labels to train a classifier on; set features=inception "
            "(with features.weights_path=… on a machine without a network), or a data set with labels, "
            "such as digits, mnist or cifar10, an image_folder with a subfolder for each class, or celeba with "
            "data.attribute=Smiling"
        )
    return images, labels


def _rows(count: int, seed: int) -> Iterator[Tensor]:
    """Batches without end, a new order every epoch; the images left over wait for another one."""
    generator = torch.Generator().manual_seed(seed)
    size = min(BATCH_SIZE, count)
    while True:
        yield from torch.randperm(count, generator=generator)[: count - count % size].split(size)


def _augment(images: Tensor, draws: Draws, mirror: bool) -> Tensor:
    """Shifts each image (B, C, H, W) by its own whole numbers of pixels, repeating the edge."""
    count, _, height, width = images.shape
    most = max(1, round(SHIFT * width))
    down, right = (draws.integers(2 * most + 1, count).to(images.device) - most for _ in range(2))
    rows = (torch.arange(height, device=images.device) + down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) + right[:, None]).clamp(0, width - 1)
    every = torch.arange(count, device=images.device)[:, None, None]
    shifted = images.permute(0, 2, 3, 1)[every, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return flip(shifted, draws.uniform(count).to(images.device) < 0.5) if mirror else shifted


def _accuracy(network: Classifier, data: ImageDataModule, device: Device) -> tuple[int, float]:
    images, labels = _labelled(data, "val")
    batches = extract_batches(network, images.split(500), device)
    right = torch.cat([batch.logits.argmax(dim=1) for batch in batches]) == labels
    return len(right), right.double().mean().item()


def _convolution(channels: int, filters: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(filters), nn.ReLU())


def _size(shape: tuple[int, ...] | torch.Size) -> str:
    channels, height, width = shape
    return f"{height}×{width}×{channels}"
