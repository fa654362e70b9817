"""The data module that all data sets share."""

import hashlib
import math
import os
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor

from ncsn.data import augmentation, cache, transforms
from ncsn.data.decoding import DecodedFiles
from ncsn.data.stream import Batch, BatchStream, OrderedBatches
from ncsn.errors import ConfigError
from ncsn.random import Draws

Split = Literal["train", "val"]

IN_MEMORY_BYTES = 4 * 2**30  # larger training sets stay on disk, memory-mapped


@dataclass(kw_only=True, eq=False)
class ImageDataModule(LightningDataModule, ABC):
    """Images in [0, 1] for training and validation; a subclass only says where they come from.

    With a trainer it is used like any data module. Without one:

        data = MNIST(root="data")
        data.prepare_data()
        data.setup()
        data.images("train")  # uint8 (60000, 1, 28, 28)

    Args:
        name: of the data set; part of its cache's name.
        root: folder of the raw files.
        image_size: height and width in pixels.
        channels: 1 for grey, 3 for RGB.
        batch_size: images per batch, over all devices together.
        flip: mirror training images left to right with probability 1/2.
        augment: probability of each further transformation of training images, of which the network is told; see
            `ncsn.data.augmentation`.
        dequantize: add uniform noise, one grey level wide, to training images: x·255/256 + u/256.
        seed: for the order of the images, the augmentation and the dequantisation.
        cache_dir: folder for the decoded images, `<root>/cache` if None.
        device_resident: keep the training set on the accelerator; "auto": on a CUDA device, up to 4 GiB.

    Raises:
        ConfigError: a value is out of range.
    """

    name: str
    root: str = "data"
    image_size: int
    channels: int
    batch_size: int = 128
    flip: bool = False
    augment: float = 0.0
    dequantize: bool = False
    seed: int = 0
    cache_dir: str | None = None
    device_resident: bool | Literal["auto"] = "auto"

    only_size: ClassVar[int | None] = None  # for data sets that come in one size
    only_channels: ClassVar[int | None] = None
    paired: ClassVar[bool] = False  # whether each image comes with one that is damaged
    cache_keys: ClassVar[tuple[str, ...]] = ("name", "image_size", "channels")  # what the cache depends on

    def __post_init__(self) -> None:
        super().__init__()
        self.root = os.path.expanduser(self.root)
        if self.cache_dir is not None:
            self.cache_dir = os.path.expanduser(self.cache_dir)
        self._require("batch_size", self.batch_size >= 1, "must be at least 1")
        self._require("image_size", self.image_size >= 1, "must be at least 1")
        self._require("channels", self.channels in (1, 3), "must be 1 (grey) or 3 (RGB)")
        self._require("augment", 0 <= self.augment <= 1, "must be from 0 to 1")
        self._require("device_resident", self.device_resident in (True, False, "auto"), "must be true, false or auto")
        for key, only in (("image_size", self.only_size), ("channels", self.only_channels)):
            self._require(key, only in (None, getattr(self, key)), f"must be {only} for {self.name}")

    def __str__(self) -> str:
        return repr(self)  # Lightning's goes through all loaders for it

    # What a data set provides.

    @abstractmethod
    def files(self, split: Split) -> list[Path]:
        """The files that the images of a split come from; downloads them if they are missing and it may.

        Raises:
            DataError: a file is missing.
        """

    @abstractmethod
    def read(self, split: Split, files: list[Path]) -> tuple[np.ndarray | DecodedFiles, np.ndarray | None]:
        """The images of a split, uint8 (N, C, H, W), and their labels, int (N,), or None.

        Of a set that is `paired` they are (N, 2C, H, W): images, and the same damaged.

        Raises:
            DataError: a file is damaged, or not what it should be.
        """

    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes, by their labels; None if the set has no labels.

        Raises:
            DataError: the images, where these say it, are missing.
        """
        return None

    # What any caller may use.

    @property
    def labelled_name(self) -> str:
        """A name for the data set with these labels, where it may have several kinds of them."""
        return self.name

    def images(self, split: Split) -> Tensor:
        """The images of a split, uint8 (N, C, H, W), memory-mapped.

        Raises:
            DataError: `prepare_data` has not been called.
        """
        return self._decoded(split)[:, : self.channels]

    def damaged(self, split: Split) -> Tensor | None:
        """The images of a split as they were damaged, like `images`; None if the set does not have them."""
        return self._decoded(split)[:, self.channels :] if self.paired else None

    def labels(self, split: Split) -> Tensor | None:
        """The labels of a split, int64 (N,), None if the set has none."""
        return cache.load_labels(self.cache_folder(split), len(self._decoded(split)), self._num_classes)

    def identity(self, split: Split) -> dict[str, Any]:
        """What identifies the images of a split: data set, preprocessing, and a fingerprint of their files.

        Raises:
            DataError: `prepare_data` has not been called.
        """
        return {**cache.load_meta(self.cache_folder(split)), "split": split}

    # What Lightning calls.

    def prepare_data(self) -> None:
        """Decode the images into the cache unless they are there already.

        Any process may call it, and all of them at once: one decodes, the others wait for it.
        """
        classes = self._classes_on_disk()
        for split in ("train", "val"):
            files = self.files(split)
            meta = {
                **self._cache_parameters(),
                "format": cache.FORMAT,
                "files": cache.fingerprint(files, Path(self.root)),
                **classes,
            }
            folder = self.cache_folder(split)
            if not cache.is_current(folder, meta):
                cache.build(folder, meta, partial(self.read, split, files), self._decoded_shape, self._num_classes)

    def setup(self, stage: str | None = None) -> None:
        """Check that the batch size fits the data set and the number of devices.

        Raises:
            ConfigError: it does not.
            DataError: `prepare_data` has not been called.
        """
        total, devices = len(self.images("train")), self._share["world_size"]
        self._require(
            "batch_size", self.batch_size <= total, f"must be at most {total}, the number of training images"
        )
        self._require("batch_size", self.batch_size % devices == 0, f"must be divisible by the {devices} devices")

    def train_dataloader(self) -> BatchStream:
        """The training images as an endless stream of uint8 batches."""
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        images, labels = self._decoded("train"), self.labels("train")
        fits = images.nbytes <= IN_MEMORY_BYTES
        resident = fits and device.type == "cuda" if self.device_resident == "auto" else self.device_resident
        if resident or fits:
            images = images.to(device if resident else "cpu", copy=True)
        if resident and labels is not None:
            labels = labels.to(device)
        return BatchStream(
            images[: self._overfitted(len(images))],
            self.batch_size,
            self.seed,
            labels=labels,
            length=self._steps(),
            # Lightning restores a loader's state only from within an epoch, but its count of batches always.
            number=0 if self.trainer is None else self.trainer.fit_loop.total_batch_idx + 1,
            pin_memory=device.type == "cuda" and not resident,
            read_ahead=0 if resident or fits else 2,
            **self._share,
        )

    def val_dataloader(self) -> OrderedBatches:
        """The held-out images in order, in uint8 batches."""
        return OrderedBatches(self._decoded("val"), self.batch_size, labels=self.labels("val"), **self._share)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """On the device: uint8 to float32 in [0, 1], and in training augmentation and dequantisation."""
        images, told = transforms.to_unit_interval(batch.images), None
        training = self.trainer is not None and self.trainer.training
        draws = Draws(self.seed, "augment", batch.number, device=images.device, **self._share)
        if training:
            flipped = torch.zeros(len(images), dtype=torch.bool, device=images.device)
            if self.flip:
                flipped = draws.uniform(len(images)) < 0.5
                images = transforms.flip(images, flipped)
            if self.augment:
                parameters = augmentation.draw(draws, flipped, self.augment)
                images, told = augmentation.apply(images, parameters), augmentation.labels(parameters)
        damaged = images[:, self.channels :] if self.paired else None
        images = images[:, : self.channels]
        if training and self.dequantize:
            images = transforms.dequantize(images, draws.uniform(*images.shape))
        return Batch(images, batch.number, batch.labels, told, damaged)

    def _decoded(self, split: Split) -> Tensor:
        return cache.load_images(self.cache_folder(split), self._decoded_shape)

    @property
    def _num_classes(self) -> int | None:
        names = self.classes()
        return None if names is None else len(names)

    @property
    def _decoded_shape(self) -> tuple[int, int, int]:
        return self.channels * (1 + self.paired), self.image_size, self.image_size

    def _require(self, key: str, condition: bool, rule: str) -> None:
        if not condition:
            raise ConfigError(f"data.{key}={getattr(self, key)}: {rule}")

    @property
    def _share(self) -> dict[str, int]:
        if self.trainer is None:
            return {"rank": 0, "world_size": 1}
        return {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size}

    def _steps(self) -> int | None:
        """Batches in Lightning's "epoch": the whole run unless it counts epochs, otherwise None: a real epoch."""
        if self.trainer is None or self.trainer.max_epochs not in (None, -1):
            return None
        if self.trainer.max_steps < 1:  # a time ends it
            return sys.maxsize
        # One more than needed: the last step must not end the epoch, or a longer run could not continue from it.
        return self.trainer.max_steps * self.trainer.accumulate_grad_batches + 1

    def _overfitted(self, total: int) -> int:
        """How many images to train on: all, or those of `trainer.overfit_batches`, a number or a fraction."""
        batches = getattr(self.trainer, "overfit_batches", 0)
        if isinstance(batches, float):
            batches = math.ceil(batches * (total // self.batch_size))
        return batches * self.batch_size or total

    def _cache_parameters(self) -> dict[str, Any]:
        parameters: dict[str, Any] = {key: getattr(self, key) for key in self.cache_keys}
        # Relative to the cache: a root moved together with its cache is still known, and two roots do not mix.
        return {**parameters, "root": cache.relative(self.root, self._cache_dir)}

    def _classes_on_disk(self) -> dict[str, Any]:
        """The names of the classes, where they come from the folders; part of what a cache is known by."""
        return {}

    @property
    def _cache_dir(self) -> Path:
        return Path(self.root, "cache") if self.cache_dir is None else Path(self.cache_dir)

    def cache_folder(self, split: Split) -> Path:
        """Where the decoded images of a split are, or will be."""
        digest = hashlib.blake2b(repr(self._cache_parameters()).encode(), digest_size=4).hexdigest()
        return self._cache_dir / f"{self.name}-{split}-{self.image_size}px-{digest}"
