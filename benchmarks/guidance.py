"""What guidance trades: certainty of the class against variety, over g.

    python benchmarks/guidance.py RUN [--root data] [--samples 500] [--guidance 0 1 1.5 2 3 5 8] [--steps 18]

RUN is a run that was trained with `condition=label`. For each g, images of all classes in turn are drawn and judged
by the data set's own classifier: the share that it takes for the class that was asked for; precision and recall, the
shares of samples like real images and of real images like samples (Kynkäänniemi et al. 2019); the Fréchet distance.
Real images are the held-out ones.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from harness import device, save

from ncsn import load_score
from ncsn.config import build
from ncsn.data import ImageDataModule
from ncsn.evaluation.classifier import Classifier
from ncsn.evaluation.features import extract
from ncsn.evaluation.reference import Reference
from ncsn.evaluation.scores import compute_scores
from ncsn.images import grid, save_png, to_uint8
from ncsn.samplers import Heun
from ncsn.sampling.drawing import draw
from ncsn.sampling.tasks import Generate

WHERE = device()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--root", default=None, help="of the data set, if it has moved since training")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--guidance", type=float, nargs="+", default=[0, 1, 1.5, 2, 3, 5, 8])
    parser.add_argument("--steps", type=int, default=18, help="of Heun's method")
    parser.add_argument("--pictures", type=Path, default=None, help="folder for a grid of each g")
    options = parser.parse_args()

    score = load_score(options.run, device=WHERE)
    node = score.config["data"] | ({} if options.root is None else {"root": options.root})
    data: ImageDataModule = build(node, "data")
    data.prepare_data()
    classifier = Classifier.for_data(data, device=WHERE)
    reference = Reference.of(data, "val", classifier, Path(data.root, "references"), device=WHERE)
    results: dict[str, Any] = {"data": data.name, "samples": options.samples, "steps": score.step, "by_guidance": {}}
    for g in options.guidance:
        task = Generate(
            score=score, sampler=Heun(options.steps), num_samples=options.samples, label="all", guidance=g
        )
        drawn = torch.cat([x for _, x in draw(task, batch_size=250, seed=0, device=WHERE)])
        features = extract(classifier, [torch.from_numpy(to_uint8(drawn)).permute(0, 3, 1, 2)], WHERE)
        asked = torch.arange(len(drawn)) % len(task.labels)
        accuracy = (features.logits.argmax(1) == asked).double().mean().item()
        scores = compute_scores(features, reference, which=["frechet", "precision_recall"], device=WHERE)
        results["by_guidance"][str(g)] = {"accuracy": accuracy, **scores}
        print(g, results["by_guidance"][str(g)], flush=True)
        save(f"guidance_{data.name}", results, WHERE)
        if options.pictures is not None:
            picture, columns = task.picture(drawn[: 10 * len(task.labels)])
            save_png(grid(picture, columns), options.pictures / f"guidance_{g:g}.png")


if __name__ == "__main__":
    main()
