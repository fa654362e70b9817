"""How the cost per image grows with the batch size, the resolution, and the number of noise levels.

    python benchmarks/growth.py [--rounds 5] [--fast]

The network is NCSN with 16 filters and `speed=eager`; `--fast` adds `speed=fast`, which compiles for a minute or more
per point. The points of a curve take turns.
"""

import argparse
import copy
from collections.abc import Callable
from typing import Any

import torch
from harness import compare, device, save
from torch import nn
from training import images_of, our_step

from ncsn import noise
from ncsn.networks import NCSN
from ncsn.networks.compiled import compile_in_place, round_weights

FILTERS = 16
POINT = {"channels": 1, "size": 28, "batch": 8, "levels": 10}
CURVES = {"batch": [1, 2, 4, 8, 16, 32], "size": [16, 32, 64], "levels": [10, 100, 1000]}
LEFT_OUT = "not measured: it would compile for minutes at every point (growth.py --fast)"
WHERE = device()


def network_at(point: dict[str, int]) -> NCSN:
    return NCSN(
        noise.geometric(num_levels=point["levels"]),
        image_size=point["size"],
        in_channels=point["channels"],
        num_filters=FILTERS,
    ).to(WHERE)


def forward(network: nn.Module, point: dict[str, int], fast: bool) -> Callable[[], object]:
    network = copy.deepcopy(network).eval().requires_grad_(False)
    if fast:
        round_weights(network)
        compile_in_place(network)
    x = torch.rand(point["batch"], point["channels"], point["size"], point["size"], device=WHERE)
    sigma = torch.full((len(x),), 0.1, device=WHERE)

    def run() -> object:
        with torch.no_grad(), torch.autocast(WHERE.type, torch.bfloat16, enabled=fast):
            return network(x, sigma)

    return run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fast", action="store_true", help="also speed=fast")
    arguments = parser.parse_args()
    curves: dict[str, dict[str, Any]] = {}
    for key, values in CURVES.items():
        points = [{**POINT, key: value} for value in values]
        networks = [network_at(point) for point in points]
        curves[key] = {"fixed": {k: v for k, v in POINT.items() if k != key}, "values": values}
        for speed in ("eager", "fast") if arguments.fast else ("eager",):
            fast = speed == "fast"
            kinds = {
                "forward": [forward(n, p, fast) for n, p in zip(networks, points, strict=True)],
                "step": [
                    our_step(n, images_of(p, 256), p["batch"], fast) for n, p in zip(networks, points, strict=True)
                ],
            }
            curves[key][speed] = {}
            for kind, runs in kinds.items():
                variants = {str(value): run for value, run in zip(values, runs, strict=True)}
                found = list(compare(variants, arguments.rounds).values())
                for point, entry in zip(points, found, strict=True):
                    entry["seconds_per_image"] = entry["seconds"] / point["batch"]
                curves[key][speed][kind] = found
                milliseconds = [f"{1e3 * entry['seconds_per_image']:.2f}" for entry in found]
                print(f"{key} {values}: {speed} {kind}, ms per image: {', '.join(milliseconds)}", flush=True)
        curves[key]["parameters"] = [sum(p.numel() for p in network.parameters()) for network in networks]
    results = {
        "what": "seconds per image, by batch, by resolution, and by the number of levels in NCSN's embedding",
        "rounds": arguments.rounds,
        "filters": FILTERS,
        "fast": "measured" if arguments.fast else LEFT_OUT,
        "curves": curves,
    }
    save("growth", results, WHERE)


if __name__ == "__main__":
    main()
