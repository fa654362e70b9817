"""From samples to a Fréchet distance: this project against torch-fidelity's `calculate_metrics`.

    python benchmarks/evaluation.py [--rounds 5] [--images 1000]

Both use the same features, those of the project's classifier of 28x28 images with random weights, which cost as much
as trained ones, and must get the same distance. They differ in how images are read and in whether the reference's
features are kept; the variants change one of these at a time.
"""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from harness import compare, device, save
from PIL import Image
from torch import Tensor
from torch_fidelity import calculate_metrics, register_feature_extractor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

from ncsn.evaluation import Classifier
from ncsn.evaluation.features import extract
from ncsn.evaluation.image_sets import images_of
from ncsn.evaluation.reference import Reference
from ncsn.evaluation.scores import compute_scores

SIZE, BATCH = 28, 256
TOLERANCE = 1e-3  # of the distance
LAYER = "features"
WHERE = device()


def sets_of_images(folder: Path, count: int) -> None:
    """Samples and a reference as PNGs and as npz: smooth random grey images, the reference brighter."""
    generator = torch.Generator().manual_seed(0)
    for name, brightness in (("samples", 0.4), ("reference", 0.6)):
        coarse = torch.rand(count, 1, 7, 7, generator=generator) * brightness
        images = (torch.nn.functional.interpolate(coarse, SIZE, mode="bilinear") * 255).byte()[:, 0].numpy()
        (folder / name).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / name / f"{number:05d}.png")
        np.savez(folder / f"{name}.npz", arr_0=images[..., None])


def random_classifier() -> Classifier:
    """A classifier whose batch norms have statistics of images; without them, features would be nearly zero."""
    torch.manual_seed(0)
    network = Classifier("benchmark", SIZE, channels=1, num_classes=10)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()(torch.randint(256, (64, 1, SIZE, SIZE), dtype=torch.uint8))
    return network.eval()


def plain(network: Classifier, folder: Path, distances: dict[str, float]) -> Callable[[], object]:
    class Extractor(FeatureExtractorBase):
        """The classifier as torch-fidelity calls a feature network: RGB in, a tuple out."""

        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)
            self.network = network

        @staticmethod
        def get_provided_features_list() -> tuple[str]:
            return (LAYER,)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return LAYER

        def forward(self, images: Tensor) -> tuple[Tensor]:
            return (self.network(images[:, :1]).features,)

    register_feature_extractor("benchmark", Extractor)

    def run() -> None:
        found = calculate_metrics(
            input1=str(folder / "samples"),
            input2=str(folder / "reference"),
            fid=True,
            feature_extractor="benchmark",
            batch_size=BATCH,
            cuda=WHERE.type == "cuda",
            cache=False,
            verbose=False,
        )
        distances["plain"] = found["frechet_inception_distance"]

    return run


def ours(
    name: str, network: Classifier, folder: Path, samples: Path, keep: bool, distances: dict[str, float]
) -> Callable[[], object]:
    """Computes the distance between samples and a reference, whose features are kept between calls or not."""
    references = folder / f"kept by {name}"

    def run() -> None:
        if not keep:
            shutil.rmtree(references, ignore_errors=True)
        reference = Reference.of_folder(folder / "reference", network, references, device=WHERE, batch_size=BATCH)
        features = extract(network, images_of(samples).batches(BATCH), WHERE)
        (distances[name],) = compute_scores(features, reference, which={"frechet"}).values()

    return run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=1000)
    arguments = parser.parse_args()
    network = random_classifier().to(WHERE)
    distances: dict[str, float] = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        sets_of_images(folder, arguments.images)
        pngs, npz = folder / "samples", folder / "samples.npz"
        variants = {
            "plain": plain(network, folder, distances),
            "png": ours("png", network, folder, pngs, keep=False, distances=distances),
            "png, reference kept": ours("png, reference kept", network, folder, pngs, keep=True, distances=distances),
            "npz, reference kept": ours("npz, reference kept", network, folder, npz, keep=True, distances=distances),
        }
        found = compare(variants, arguments.rounds)
    for name, entry in found.items():
        entry["frechet_distance"] = distances[name]
        off = abs(distances[name] - distances["plain"]) / distances["plain"]
        if off > TOLERANCE:
            raise SystemExit(
                f"{name}: distance {distances[name]:.6g}, but {distances['plain']:.6g} by torch-fidelity"
            )
        entry["relative_difference"] = float(f"{off:.2g}")
    print({name: entry["times_as_fast"] for name, entry in found.items()}, distances)
    results = {
        "what": "from samples to a Fréchet distance, classifier's features; plain: torch-fidelity on two folders",
        "rounds": arguments.rounds,
        "images": arguments.images,
        "size": SIZE,
        "batch": BATCH,
        "variants": found,
    }
    save("evaluation", results, WHERE)


if __name__ == "__main__":
    main()
