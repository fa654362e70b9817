"""Images to features: what every score is computed from."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from ncsn.config import build
from ncsn.data import ImageDataModule
from ncsn.errors import ConfigError

Device = torch.device | str


@dataclass(frozen=True)
class Features:
    """What a feature network makes of N images; `len` is N.

    Attributes:
        features: float32 (N, D), the activations that distances between sets of images are computed from.
        logits: float32 (N, K), of the classes that the network was trained on.
    """

    features: Tensor
    logits: Tensor

    def __len__(self) -> int:
        return len(self.features)


class FeatureNetwork(nn.Module):
    """A network whose features scores are computed from: called with uint8 images (B, C, H, W), it gives `Features`.

    Attributes:
        name: "inception" or another; scores carry the name of any network but Inception.
        dimension: D, values in a feature.
        num_classes: K.
    """

    name: str
    dimension: int
    num_classes: int

    @property
    def checksum(self) -> str:
        """sha256 of the weights."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Features:
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """What the record of a score says about the network; plain values."""
        return {"name": self.name, "checksum": self.checksum}


def build_features(node: DictConfig, data: ImageDataModule | None) -> FeatureNetwork:
    """The feature network of a configuration; a classifier is that of the data set.

    Raises:
        UserError: it is not there and cannot be made.
    """
    from hydra.utils import get_object

    of_data = "data" in inspect.signature(get_object(node["_target_"])).parameters
    if of_data:
        if data is None:
            raise ConfigError("features=classifier: is a classifier of a data set; name it, say data=cifar10")
        data.prepare_data()
    network: FeatureNetwork = build(node, "features", **({"data": data} if of_data else {}))
    return network


def extract_batches(
    network: FeatureNetwork,
    images: Iterable[Tensor],
    device: Device = "cpu",
    progress: Callable[[int], object] | None = None,
) -> Iterator[Features]:
    """The features of one batch after the other, on the CPU.

    Args:
        network: moved to the device and switched to evaluation.
        images: batches, uint8 (B, C, H, W).
        progress: called with B after each batch, e.g. the `update` of a bar.
    """
    network.to(device).eval()
    for batch in images:
        if batch.dtype != torch.uint8:
            raise TypeError(f"features are those of uint8 images, not of {batch.dtype}")
        with torch.inference_mode(), full_precision(torch.device(device)):
            found = network(batch.to(device))
        # Cloned outside inference mode, whose tensors cannot be changed.
        yield Features(found.features.cpu().clone(), found.logits.cpu().clone())
        if progress is not None:
            progress(len(batch))


def extract(
    network: FeatureNetwork,
    images: Iterable[Tensor],
    device: Device = "cpu",
    progress: Callable[[int], object] | None = None,
) -> Features:
    """The features of all images, on the CPU: N·(D + K) floats; see `extract_batches`."""
    batches = list(extract_batches(network, images, device, progress))
    if not batches:
        return Features(torch.empty(0, network.dimension), torch.empty(0, network.num_classes))
    return Features(torch.cat([b.features for b in batches]), torch.cat([b.logits for b in batches]))


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """float32 as on the CPU: neither autocast nor the TF32 that cuDNN's convolutions use unless told otherwise."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    convolutions = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
        torch.backends.cudnn.allow_tf32 = convolutions
