"""What damaging its images costs a training step, on the device and within the step as train.py does it.

    python benchmarks/damage.py [--rounds 15]

The first variant is given nothing; the others are given the damaged image as three channels more.
"""

import argparse
import copy
from collections.abc import Callable
from typing import Any

import torch
from harness import compare, device, save, setting_of
from torch import Tensor

from ncsn import UNet, noise
from ncsn.damage import DAMAGES, Damage, Multitask
from ncsn.objectives import denoising_score_matching
from ncsn.random import Draws
from ncsn.score import score_given
from ncsn.training.ema import ema_update

Setting = dict[str, Any]
SETTINGS: dict[str, list[Setting]] = {  # the first is as narrow as a network of an hour on a CPU is
    "cpu": [
        {"filters": 16, "channels": 3, "size": 32, "batch": 32},
        {"filters": 32, "channels": 3, "size": 64, "batch": 8},
    ],
    "cuda": [
        {"filters": 64, "channels": 3, "size": 64, "batch": 64},
        {"filters": 64, "channels": 3, "size": 256, "batch": 8},
    ],
}
WHERE = device()


def step_of(setting: Setting, images: Tensor, damage: Damage | None) -> Callable[[], object]:
    sigmas = noise.karras().to(WHERE)
    network = UNet(
        sigmas,
        image_size=setting["size"],
        in_channels=setting["channels"],
        num_filters=setting["filters"],
        multipliers=(1, 2, 4),
        num_blocks=1,
        attention_resolutions=(),
        condition_channels=None if damage is None else setting["channels"],
    ).to(WHERE, memory_format=torch.channels_last)
    averages, optimizer = copy.deepcopy(network), torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    number = 0

    def step() -> None:
        nonlocal number
        draws, number = Draws(0, "train", number, device=WHERE), number + 1
        given = {} if damage is None else damage(images, None, draws)
        sigma = sigmas[draws.integers(len(sigmas), len(images))]
        optimizer.zero_grad()
        denoising_score_matching(score_given(network, given), images, sigma, normal=draws.normal).mean().backward()
        optimizer.step()
        ema_update(list(averages.parameters()), list(network.parameters()), 0.999)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    kinds: dict[str, Damage | None] = {"nothing": None, **{n: kind() for n, kind in DAMAGES.items()}}
    kinds["multitask"] = Multitask()
    results: dict[str, Any] = {"what": "a step of training", "rounds": rounds, "settings": []}
    for setting in SETTINGS[WHERE.type]:
        shape = (setting["batch"], setting["channels"], setting["size"], setting["size"])
        images = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(WHERE)
        found = compare({name: step_of(setting, images, kind) for name, kind in kinds.items()}, rounds)
        results["settings"].append({**setting, "variants": found})
        print(setting_of(setting), {name: v["times_as_fast"] for name, v in found.items()}, flush=True)
    save("damage", results, WHERE)


if __name__ == "__main__":
    main()
