"""A step of annealed Langevin dynamics, and a whole run of it: plain, `speed=eager`, and `speed=fast`.

    python benchmarks/sampling.py [--rounds 7]

The whole run has all ten levels with two steps per level, and includes the conversion to 8-bit images. It fails where
`fast` is slower than `eager`.
"""

import argparse
import copy
from collections.abc import Callable
from typing import Any

import torch
from harness import check_fast, compare, device, kind, precision, save, setting_of, with_flops
from plain import plain_langevin, plain_network
from torch import Tensor, nn
from training import SETTINGS as TRAINING
from training import network_of

from ncsn.images import to_uint8
from ncsn.networks.compiled import compile_in_place, constant_weights, has_fast_bfloat16, round_weights
from ncsn.random import Draws
from ncsn.samplers import AnnealedLangevin

SETTINGS = TRAINING | {"cuda": [setting | {"batch": 500} for setting in TRAINING["cuda"]]}
WHERE = device()
STEPS, EPSILON = 2, 4e-5


def plain_run(model: nn.Module, x: Tensor, sigmas: Tensor) -> Callable[[], object]:
    levels = len(sigmas)

    def run() -> object:
        samples = plain_langevin(model, x, sigmas, STEPS if levels > 1 else 1, EPSILON)
        return (samples.clamp(0, 1) * 255).round().byte().cpu() if levels > 1 else samples

    return run


def fast_network(network: nn.Module) -> nn.Module:
    model = copy.deepcopy(network)
    if has_fast_bfloat16(WHERE.type):
        round_weights(model)
    compile_in_place(model, cuda_graphs=True)
    return model


def our_run(model: nn.Module, x: Tensor, sigmas: Tensor, fast: bool) -> Callable[[], object]:
    levels = len(sigmas)
    sampler = AnnealedLangevin(STEPS if levels > 1 else 1, EPSILON)

    def run() -> object:
        draws = Draws(0, "sample", 0, device=WHERE)
        last = x
        with precision(WHERE, fast), constant_weights(WHERE), torch.no_grad():
            for state in sampler(model, x, sigmas, normal=draws.normal):
                last = state.x
        return to_uint8(last) if levels > 1 else last

    return run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    results: dict[str, Any] = {"what": "sampling", "rounds": rounds, "settings": []}
    for setting in SETTINGS[kind(WHERE)]:
        network = network_of(setting).eval().requires_grad_(False)
        plain, fast = plain_network(network), fast_network(network)
        x = torch.rand(setting["batch"], setting["channels"], setting["size"], setting["size"], device=WHERE)
        entry: dict[str, Any] = dict(setting)
        for what, levels, times in (("step", 1, rounds), ("run", 10, max(rounds // 2, 3))):
            variants = {
                "plain": plain_run(plain, x, network.sigmas[-levels:]),
                "eager": our_run(network, x, network.sigmas[-levels:], fast=False),
                "fast": our_run(fast, x, network.sigmas[-levels:], fast=True),
            }
            found = with_flops(compare(variants, times), variants)
            entry[what] = {"variants": found}
            print(what, setting, {name: v["times_as_fast"] for name, v in found.items()}, flush=True)
        results["settings"].append(entry)
    save("sampling", results, WHERE, kind(WHERE))
    found = {f"{what}, {setting_of(s)}": s[what]["variants"] for s in results["settings"] for what in ("step", "run")}
    check_fast(found)


if __name__ == "__main__":
    main()
