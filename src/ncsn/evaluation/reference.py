"""What samples are compared with: the features of real images and their statistics, computed once and kept.

A reference on disk is a folder with

    features.npy    float32 (N, D)
    logits.npy      float32 (N, K)
    statistics.npz  mu float32 (D,) and sigma float64 (D, D)
    meta.json       the key: which images, and which network; a reference with another key is never used

It is written under a temporary name and renamed when it is complete.
"""

import logging
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypedDict

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ncsn.config import slug
from ncsn.data import ImageDataModule, cache
from ncsn.data.module import Split
from ncsn.errors import DataError, shown
from ncsn.evaluation.features import Device, FeatureNetwork, Features, extract_batches
from ncsn.evaluation.image_sets import images_of
from ncsn.files import digest

log = logging.getLogger(__name__)

FORMAT = 1  # raise it when what is written below changes


_BLOCK = 2**23  # values of features at a time: 64 MB of float64


class Statistics(TypedDict):
    """Mean, float32 (D,), and covariance, float64 (D, D), of features; the types are torch-fidelity's."""

    mu: np.ndarray
    sigma: np.ndarray


def statistics_of(features: Tensor) -> Statistics:
    """Mean and unbiased covariance of features (N, D), which may be memory-mapped.

    Computed in float64, a block of rows at a time, so that memory does not grow with N. torch-fidelity's
    `fid_features_to_statistics` gives the same up to rounding, and takes 2.5 times the memory of the features.
    """
    count, dimension = features.shape
    blocks = features.split(max(1, _BLOCK // dimension))
    mean = sum(block.numpy().sum(axis=0, dtype=np.float64) for block in blocks) / count
    sigma = np.zeros((dimension, dimension))
    for block in blocks:
        centred = block.numpy() - mean  # float64, as the mean is
        sigma += centred.T @ centred
    return {"mu": mean.astype(np.float32), "sigma": sigma / (count - 1)}


@dataclass(frozen=True)
class Reference:
    """Features of real images with their statistics.

    Attributes:
        features: of all N images; memory-mapped.
        statistics: their mean and covariance.
        key: which images, and which network; plain values.
    """

    features: Features
    statistics: Statistics
    key: dict[str, Any]

    @property
    def network(self) -> dict[str, Any]:
        """Name and checksum of the feature network."""
        return dict(self.key["network"])

    @classmethod
    def of(
        cls,
        data: ImageDataModule,
        split: Split,
        network: FeatureNetwork,
        folder: Path,
        *,
        device: Device = "cpu",
        batch_size: int = 256,
    ) -> "Reference":
        """The reference for a split of a prepared data set: loaded, or else computed and kept.

        Args:
            folder: where references are kept.
            device, batch_size: for computing it.

        Raises:
            DataError: the data set is not prepared, or the reference cannot be written.
        """
        images = data.identity(split)
        place = slug(f"{data.name}-{split}-{data.image_size}px")

        def read() -> tuple[int, Iterable[Tensor]]:
            whole = data.images(split)
            return len(whole), whole.split(batch_size)

        return _kept(folder, place, images, network, read, device)

    @classmethod
    def of_folder(
        cls,
        path: Path,
        network: FeatureNetwork,
        folder: Path,
        *,
        channels: int | None = None,
        device: Device = "cpu",
        batch_size: int = 256,
    ) -> "Reference":
        """The reference for the images in a folder or an npz; see `images_of`, and `of`.

        Raises:
            DataError: the images are not what they should be, or the reference cannot be written.
        """
        images = images_of(path, channels)
        return _kept(
            folder,
            slug(path.absolute().name),
            images.identity(),
            network,
            lambda: (len(images), images.batches(batch_size)),
            device,
        )


def _kept(
    folder: Path,
    place: str,
    images: dict[str, Any],
    network: FeatureNetwork,
    read: Callable[[], tuple[int, Iterable[Tensor]]],
    device: Device,
) -> Reference:
    """The reference kept below `folder`, or else computed from `read()`: the number of images, and their batches."""
    key = {"format": FORMAT, "images": images, "network": {"name": network.name, "checksum": network.checksum}}
    # Not the files' fingerprint: the reference of files that have changed replaces the one of before.
    kind = [{name: value for name, value in images.items() if name != "files"}, key["network"]]
    folder = folder.expanduser()
    path = folder / f"{place}-{slug(network.name)}-{digest(kind)}"
    if cache.is_current(path, key):
        try:
            return _load(path, key, network)
        except Exception as error:  # archives and headers that are damaged fail in many ways
            log.warning(f"{path}: damaged ({shown(error)}); computing it again")
            shutil.rmtree(path, ignore_errors=True)
    try:
        with cache.published(path, key) as temporary:
            if temporary is not None:
                _write(temporary, network, *read(), device)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot keep features here ({error.strerror or error}); give a folder that can be written"
        ) from error
    return _load(path, key, network)


def _write(folder: Path, network: FeatureNetwork, count: int, images: Iterable[Tensor], device: Device) -> None:
    """Computes a reference batch by batch, so that memory does not grow with the number of images."""
    with (
        (folder / "features.npy").open("wb") as features,
        (folder / "logits.npy").open("wb") as logits,
        tqdm(total=count, desc=f"Reference by {network.name}", unit="image", delay=2) as bar,
    ):
        _start(features, count, network.dimension)
        _start(logits, count, network.num_classes)
        for batch in extract_batches(network, images, device, bar.update):
            features.write(batch.features.numpy().tobytes())
            logits.write(batch.logits.numpy().tobytes())
    whole = torch.from_numpy(np.load(folder / "features.npy", mmap_mode="c"))
    np.savez(folder / "statistics.npz", **statistics_of(whole))


def _start(file: IO[bytes], rows: int, columns: int) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)}
    np.lib.format.write_array_header_1_0(file, header)


def _load(path: Path, key: dict[str, Any], network: FeatureNetwork) -> Reference:
    features, logits = (np.load(path / f"{name}.npy", mmap_mode="c") for name in ("features", "logits"))
    with np.load(path / "statistics.npz") as file:
        statistics: Statistics = {"mu": file["mu"], "sigma": file["sigma"]}
    shapes = (features.shape[1:], logits.shape[1:], statistics["mu"].shape, statistics["sigma"].shape)
    d, k = network.dimension, network.num_classes
    types = (features.dtype, logits.dtype, statistics["mu"].dtype, statistics["sigma"].dtype)
    if shapes != ((d,), (k,), (d,), (d, d)) or len(features) != len(logits):
        raise ValueError(f"arrays of shape {shapes}")
    if types != (np.float32, np.float32, np.float32, np.float64):
        raise ValueError(f"arrays of {types}")
    return Reference(Features(torch.from_numpy(features), torch.from_numpy(logits)), statistics, key)
