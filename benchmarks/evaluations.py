"""How good are samples for how many evaluations of the network?

    python benchmarks/evaluations.py RUN [--root data] [--samples 500] [--budgets 30 100 300 1000]

RUN is a trained run's folder or a checkpoint. Each number of evaluations is spent in several ways, each from the
start that its sampler asks for, with the same draws; what comes out is scored by the Fréchet distance of the data
set's own classifier to the training images. The spread is what chance does to such a score: the standard deviation
over three seeds of 100 evaluations with twice the step size of technique 4. The same are drawn once more in float32
without compilation, for what speed=fast costs.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from harness import device, precision, save
from torch import Tensor

from ncsn import load_score, noise
from ncsn.checkpoint import TrainedScore
from ncsn.config import build
from ncsn.data import ImageDataModule
from ncsn.evaluation.classifier import Classifier
from ncsn.evaluation.features import extract
from ncsn.evaluation.reference import Reference
from ncsn.evaluation.scores import compute_scores
from ncsn.images import to_uint8
from ncsn.networks.compiled import compile_in_place, has_fast_bfloat16, round_weights
from ncsn.samplers import (
    AnnealedLangevin,
    BudgetedLangevin,
    ConsistentAnnealedSampling,
    DivergedError,
    Sampler,
    num_evaluations,
)
from ncsn.sampling.drawing import draw
from ncsn.sampling.tasks import Generate

WHERE = device()
BATCH = 250
TWICE = "twice technique 4's step size"


def candidates(budget: int, sigmas: Tensor) -> Iterator[tuple[str, Sampler, Tensor]]:
    """What can be done with so many evaluations: a name, a sampler, and the levels."""
    yield TWICE, BudgetedLangevin(budget), sigmas
    yield "technique 4's step size", BudgetedLangevin(budget, 1.0), sigmas
    T = max(budget // len(sigmas), 1)
    epsilon = noise.step_size(float(sigmas[-1]), noise.ratio(sigmas), T)
    yield "the same, no denoising", AnnealedLangevin(T, epsilon), sigmas
    half = sigmas[torch.linspace(0, len(sigmas) - 1, (len(sigmas) + 1) // 2).round().long()]
    yield "half of the levels", BudgetedLangevin(budget), half
    between = max((budget - 2) // (len(sigmas) - 1), 1)
    yield "consistent annealed sampling", ConsistentAnnealedSampling(between, None, denoise=True), sigmas


class Drawn:
    """Scores of samples of a network."""

    def __init__(self, score: TrainedScore, data: ImageDataModule, samples: int) -> None:
        self.score, self.samples = score, samples
        self.classifier = Classifier.for_data(data, device=WHERE)
        self.reference = Reference.of(data, "train", self.classifier, Path(data.root, "references"), device=WHERE)

    def __call__(self, sampler: Sampler, sigmas: Tensor, *, seed: int = 0, fast: bool = True) -> dict[str, Any]:
        images, began = [], time.perf_counter()
        try:
            task = Generate(score=replace(self.score, sigmas=sigmas), sampler=sampler, num_samples=self.samples)
            with precision(WHERE, fast):
                for _, x in draw(task, batch_size=BATCH, seed=seed, device=WHERE):
                    images.append(torch.from_numpy(to_uint8(x)).permute(0, 3, 1, 2))
        except DivergedError as error:
            return {"diverged": str(error)}
        seconds = time.perf_counter() - began
        features = extract(self.classifier, images, WHERE)
        scores = compute_scores(features, self.reference, which=["frechet"], device=WHERE)
        evaluations = num_evaluations(sampler, len(sigmas))
        return {"evaluations": evaluations, **scores, "seconds": round(seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--root", default=None, help="of the data set, if it has moved since training")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--budgets", type=int, nargs="+", default=[30, 100, 300, 1000])
    options = parser.parse_args()

    score = load_score(options.run, device=WHERE)
    node = score.config["data"] | ({} if options.root is None else {"root": options.root})
    data: ImageDataModule = build(node, "data")
    data.prepare_data()
    drawn, hundred = Drawn(score, data, options.samples), BudgetedLangevin(100)
    results: dict[str, Any] = {
        "what": "Fréchet distance of the classifier's features",
        "data": data.name,
        "network": {key: score.config[key] for key in ("model", "noise")} | {"steps": score.step},
        "samples": options.samples,
        "classifier": drawn.classifier.checksum,
        "float32": drawn(hundred, score.sigmas, fast=False),
    }
    if has_fast_bfloat16(WHERE.type):
        round_weights(score.network)
    compile_in_place(score.network, cuda_graphs=True)
    seeds = [drawn(hundred, score.sigmas, seed=seed) for seed in range(3)]
    name = next(key for key in seeds[0] if "frechet" in key)
    results |= {
        "score": name,
        "fast": seeds[0],
        "standard_deviation": statistics.stdev(found[name] for found in seeds),
        "budgets": {},
    }
    print("float32", results["float32"][name], "fast", [found[name] for found in seeds], flush=True)
    for budget in options.budgets:
        row = results["budgets"][str(budget)] = {}
        for label, sampler, sigmas in candidates(budget, score.sigmas):
            row[label] = {"sampler": repr(sampler), "levels": len(sigmas), **drawn(sampler, sigmas)}
            print(budget, label, row[label], flush=True)
            save(f"evaluations_{data.name}", results, WHERE)  # as far as it is: the last ones take longest


if __name__ == "__main__":
    main()
