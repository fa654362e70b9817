"""Inception as the published scores use it: Google's network of 2015, its weights converted by torch-fidelity."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ncsn.checkpoint.tensors import load_tensors
from ncsn.data.download import fetch
from ncsn.errors import DataError
from ncsn.evaluation.features import FeatureNetwork, Features
from ncsn.files import is_there, sha256

log = logging.getLogger(__name__)

WEIGHTS_FILE = "weights-inception-2015-12-05-6726825d.pth"
WEIGHTS_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{WEIGHTS_FILE}"
WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


class Inception(FeatureNetwork):
    """torch-fidelity's `inception-v3-compat`: 2048 features for FID and KID, 1008 logits for the Inception score.

    Images of any size are resized to 299×299 as TensorFlow 1 did it, bilinear and not antialiased, which is what
    published scores rest on. A grey image gets three equal channels. The logits are those without the bias
    of the last layer, as in the released code of Salimans et al. 2016 (arXiv:1606.03498).

    Args:
        weights_path: the file weights-inception-2015-12-05-6726825d.pth. If None, the one in the cache of
            `torch.hub`, where it is downloaded to if it is missing.

    Raises:
        DataError: the file is missing and cannot be downloaded, or it is something else.
    """

    name = "inception"
    dimension = 2048
    num_classes = 1008

    def __init__(self, weights_path: str | None = None) -> None:
        super().__init__()
        path = _in_hub() if weights_path is None else Path(weights_path).expanduser()
        if not (is_there(path) and path.is_file()):
            raise DataError(f"{path}: missing; {_way_out()}")
        self._checksum = sha256(path)
        self.network = _load(path)
        if self._checksum != WEIGHTS_SHA256:
            log.warning(
                f"{path}: not the published weights of Inception; scores are not comparable with published ones"
            )

    def forward(self, images: Tensor) -> Features:
        """uint8 images (B, C, H, W), C 1 or 3, to features (B, 2048) and logits (B, 1008)."""
        features, logits = self.network(images.expand(-1, 3, -1, -1))
        return Features(features, logits)

    @property
    def checksum(self) -> str:
        """sha256 of the file."""
        return self._checksum

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "published_weights": self._checksum == WEIGHTS_SHA256}


def _load(path: Path) -> nn.Module:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    try:
        load_tensors(path)  # torch-fidelity would run what a pickle asks for
        return FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
        )
    except Exception as error:  # bytes that are no checkpoint fail in many ways
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path}: expected the weights of Inception, but it cannot be read ({reason}); "
            f"replace it with {WEIGHTS_URL}"
        ) from error


def _in_hub() -> Path:
    """The file in PyTorch's cache, where it is downloaded to if it is not there."""
    path = Path(torch.hub.get_dir(), "checkpoints", WEIGHTS_FILE)
    if not path.is_file():
        fetch([WEIGHTS_URL], path, f"sha256:{WEIGHTS_SHA256}", _way_out())
    return path


def _way_out() -> str:
    return (
        f"get {WEIGHTS_FILE} from {WEIGHTS_URL} and set features.weights_path to it, "
        f"or put it into {Path(torch.hub.get_dir(), 'checkpoints')}; "
        "features=classifier needs no download, for data sets with labels, and task=restore goes without "
        "(features=none)"
    )
