"""Inception as the published scores use it: Google's network of 2015, its weights converted by torch-fidelity."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

from ncsn.errors import DataError
from ncsn.evaluation.features import FeatureNetwork, Features
from ncsn.files import sha256

log = logging.getLogger(__name__)

WEIGHTS_FILE = Path(URL_INCEPTION_V3).name
WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


class Inception(FeatureNetwork):
    """torch-fidelity's `inception-v3-compat`: 2048 features for FID and KID, 1008 logits for the Inception score.

    Images of any size are resized to 299×299 as TensorFlow 1 did it, bilinear and not antialiased, which is what
    published scores rest on; grey images are given three equal channels. The logits are those without the bias
    of the last layer, as in the released code of Salimans et al. 2016 (arXiv:1606.03498).

    Args:
        weights_path: the file weights-inception-2015-12-05-6726825d.pth. If None, the one in PyTorch's cache
            (`torch.hub`), and if there is none, it is downloaded there.

    Raises:
        DataError: the file is not there and cannot be downloaded, or it is something else.
    """

    name = "inception"
    dimension = 2048
    num_classes = 1008

    def __init__(self, weights_path: str | None = None) -> None:
        super().__init__()
        path = _in_hub() if weights_path is None else Path(weights_path)
        if not path.is_file():
            raise _missing(path)
        self._checksum = sha256(path)
        self.network = _load(path)
        if self._checksum != WEIGHTS_SHA256:
            log.warning(f"{path}: not the published weights of Inception; scores compare with no published one")

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


def _load(path: Path) -> FeatureExtractorInceptionV3:
    try:
        torch.load(path, map_location="cpu", weights_only=True)  # torch-fidelity would run what a pickle asks for
        return FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
        )
    except Exception as error:  # bytes that are no checkpoint fail in many ways
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path}: expected the weights of Inception, but it cannot be read ({reason}); "
            f"replace it with {URL_INCEPTION_V3}"
        ) from error


def _in_hub() -> Path:
    """Where PyTorch keeps the file; downloads it if it is not there."""
    path = Path(torch.hub.get_dir(), "checkpoints", WEIGHTS_FILE)
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), hash_prefix=WEIGHTS_SHA256)
    except Exception as error:  # networks fail in many ways
        raise _missing(path, error) from error
    return path


def _missing(path: Path, error: Exception | None = None) -> DataError:
    failure = "" if error is None else f" and cannot be downloaded ({error})"
    return DataError(
        f"{path}: missing{failure}; get {WEIGHTS_FILE} from {URL_INCEPTION_V3} and set features.weights_path to it, "
        f"or put it into {Path(torch.hub.get_dir(), 'checkpoints')}; "
        "features=classifier needs no download, for data sets with labels"
    )
