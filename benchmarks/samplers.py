"""How good are samples of one network by each sampler, for how many evaluations?

    python benchmarks/samplers.py NAME=RUN … [--root data] [--samples 500] [--evaluations 5 10 20 50 100] [--seeds 3]
                                            [--only ddpm heun …] [--compile]

Each RUN is a trained run's folder or a checkpoint, NAME what the table calls it. All networks are of one data set;
what is drawn is scored by the Fréchet distance of the data set's own classifier to the training images. What was
measured already, by another call, is not measured again.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from evaluations import Drawn
from harness import RESULTS, device, save

from ncsn import load_score, samplers
from ncsn.config import build
from ncsn.data import ImageDataModule
from ncsn.networks.compiled import compile_in_place, constant_weights
from ncsn.networks.forms import Preconditioned

WHERE = device()


def candidates(evaluations: int, *, levels: int, form: bool) -> Iterator[tuple[str, samplers.Sampler]]:
    """What can be done with so many evaluations: a name and a sampler."""
    clip = {"clip": True}
    yield "ddpm", samplers.DDPM(steps=evaluations, **clip)
    yield "ddim", samplers.DDIM(steps=evaluations, **clip)
    yield "heun", samplers.Heun(steps=(evaluations + 1) // 2, **clip)
    yield "dpmpp_2m", samplers.DPMSolverPP(steps=evaluations, **clip)
    yield "dpmpp_2m, eta=1", samplers.DPMSolverPP(steps=evaluations, eta=1.0, **clip)
    yield "unipc", samplers.UniPC(steps=evaluations, **clip)
    yield "pc", samplers.PredictorCorrector(steps=max(evaluations // 2, 1), **clip)
    if not form and evaluations > levels:  # step sizes are those of a ladder
        yield "ald", samplers.BudgetedLangevin(evaluations)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--root", default=None, help="of the data set, if it has moved since training")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--evaluations", type=int, nargs="+", default=[5, 10, 20, 50, 100])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="the network: a minute first, then faster")
    parser.add_argument("--only", nargs="+", default=None, help="samplers, by name")
    options = parser.parse_args()
    for named in options.runs:
        name, _, path = named.partition("=")
        score = load_score(path, device=WHERE)
        node = score.config["data"] | ({} if options.root is None else {"root": options.root})
        data: ImageDataModule = build(node, "data")
        data.prepare_data()
        drawn = Drawn(score, data, options.samples)
        found = _measured(data.name)
        found |= {"data": data.name, "samples": options.samples}
        network = {key: score.config[key] for key in ("model", "noise")} | {"steps": score.step}
        judged = {"network": network, "classifier": drawn.classifier.checksum}
        of_network = found["networks"].setdefault(name, judged | {"distances": {}})
        if any(of_network[key] != value for key, value in judged.items()):
            raise SystemExit(f"{name}: measured before with another network or classifier; give it another name")
        form = isinstance(score.network, Preconditioned)
        if options.compile:
            compile_in_place(score.network)
        for evaluations in options.evaluations:
            for label, sampler in candidates(evaluations, levels=len(score.sigmas), form=form):
                row = of_network["distances"].setdefault(label, {}).setdefault(str(evaluations), [])
                while (options.only is None or label in options.only) and len(row) < options.seeds:
                    with torch.no_grad():
                        scores = drawn(sampler, score.sigmas, seed=len(row), fast=False)
                    row.append(next((v for key, v in scores.items() if "frechet" in key), None))
                    print(name, label, evaluations, row, flush=True)
                    save(f"samplers_{data.name}", found, WHERE)


def _measured(data: str) -> dict[str, Any]:
    """What earlier calls found."""
    path: Path = RESULTS / f"samplers_{data}_{WHERE.type}.json"
    return json.loads(path.read_text()) if path.is_file() else {"networks": {}}


if __name__ == "__main__":
    with constant_weights(WHERE):
        main()
