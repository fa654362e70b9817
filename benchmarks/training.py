"""A complete training step in three ways: plain, with `speed=eager`, and with `speed=fast`.

    python benchmarks/training.py [--rounds 7]

A step is a batch from the loader, noise, the loss, its gradient, Adam, and the moving average. It fails where `fast`
is slower than `eager`.
"""

import argparse
import copy
from collections.abc import Callable
from typing import Any

import torch
from harness import check_fast, compare, device, kind, precision, save, setting_of, with_flops
from plain import plain_average, plain_batches, plain_network
from torch import Tensor, nn

from ncsn import noise
from ncsn.data import transforms
from ncsn.data.stream import BatchStream
from ncsn.networks import NCSN, UNet
from ncsn.networks.compiled import compile_in_place
from ncsn.objectives import denoising_score_matching
from ncsn.random import Draws
from ncsn.training.ema import ema_update

Setting = dict[str, Any]
SETTINGS: dict[str, list[Setting]] = {
    "cpu": [
        {"filters": 64, "channels": 1, "size": 28, "batch": 8},
        {"filters": 64, "channels": 1, "size": 28, "batch": 32},
        {"filters": 128, "channels": 3, "size": 32, "batch": 8},
    ],
    "cpu_float32": [  # the second is what experiment=quick takes in its time
        {"filters": 32, "channels": 1, "size": 28, "batch": 8},
        {"network": "U-Net", "filters": 16, "channels": 1, "size": 28, "batch": 32},
    ],
    "cuda": [
        {"filters": 64, "channels": 1, "size": 28, "batch": 128},
        {"filters": 128, "channels": 3, "size": 32, "batch": 128},
    ],
}
WHERE = device()


def network_of(setting: Setting) -> nn.Module:
    """NCSN, or the U-Net of `experiment=quick`; noise levels are in its `sigmas`."""
    sigmas = noise.geometric()
    sizes = {"image_size": setting["size"], "in_channels": setting["channels"], "num_filters": setting["filters"]}
    if "network" in setting:
        return UNet(sigmas, **sizes, multipliers=(1, 2, 4), num_blocks=1, attention_resolutions=()).to(WHERE)
    return NCSN(sigmas, **sizes).to(WHERE)


def images_of(setting: Setting, count: int = 1024) -> Tensor:
    shape = (count, setting["channels"], setting["size"], setting["size"])
    return torch.randint(256, shape, dtype=torch.uint8)


def plain_step(network: nn.Module, images: Tensor, batch: int) -> Callable[[], object]:
    model = plain_network(network)
    averages, sigmas = copy.deepcopy(model), network.sigmas
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = plain_batches(images, batch)

    def step() -> None:
        x = next(batches).to(WHERE)
        sigma = sigmas[torch.randint(len(sigmas), (len(x),), device=WHERE)]
        used = sigma[:, None, None, None]
        noisy = x + torch.randn_like(x) * used
        target = -(noisy - x) / used**2
        loss = (((model(noisy, sigma) - target) ** 2).flatten(1).sum(1) / 2 * sigma**2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        plain_average(averages, model)

    return step


def our_step(network: nn.Module, images: Tensor, batch: int, fast: bool) -> Callable[[], object]:
    model, averages, sigmas = copy.deepcopy(network), copy.deepcopy(network), network.sigmas
    if fast:
        compile_in_place(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    batches = iter(BatchStream(images.to(WHERE), batch, seed=0, length=10**9))

    def step() -> None:
        coming = next(batches)
        draws = Draws(0, "train", coming.number, device=WHERE)
        x = transforms.to_unit_interval(coming.images)
        sigma = sigmas[draws.integers(len(sigmas), len(x))]
        optimizer.zero_grad()
        with precision(WHERE, fast):
            loss = denoising_score_matching(model, x, sigma, normal=draws.normal).mean()
        loss.backward()
        optimizer.step()
        ema_update(list(averages.parameters()), list(model.parameters()), 0.999)

    return step


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    results: dict[str, Any] = {"what": "a step of training", "rounds": rounds, "settings": []}
    for setting in SETTINGS[kind(WHERE)]:
        network, images, batch = network_of(setting), images_of(setting), setting["batch"]
        variants = {
            "plain": plain_step(network, images, batch),
            "eager": our_step(network, images, batch, fast=False),
            "fast": our_step(network, images, batch, fast=True),
        }
        found = with_flops(compare(variants, rounds), variants)
        results["settings"].append({**setting, "variants": found})
        print(setting, {name: v["times_as_fast"] for name, v in found.items()}, flush=True)
    save("training", results, WHERE, kind(WHERE))
    check_fast({setting_of(setting): setting["variants"] for setting in results["settings"]})


if __name__ == "__main__":
    main()
