"""Where the time of a training step and of a network evaluation goes: plain, with `speed=eager`, with `speed=fast`.

    python benchmarks/profiles.py [--rounds 3] [--filters 64]

PyTorch's profiler measures how long each operator took by itself; operators are put in groups. The floor, given
beside them, is the time for the arithmetic of the convolutions at the speed of a large matrix product, and the time
to read and write their feature maps and weights once at the speed of a copy. Both speeds are measured in the same
run.
"""

import argparse
import re
import time
from collections.abc import Callable
from typing import Any

import torch
from harness import compare, device, flops, kind, limits, save
from plain import plain_network
from sampling import SETTINGS as SAMPLING
from sampling import fast_network, our_run, plain_run
from torch import nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from training import SETTINGS as TRAINING
from training import Setting, images_of, network_of, our_step, plain_step

from ncsn.networks.blocks import Float32Conv

CALLS = 3  # profiled calls, after the timed ones
WHERE = device()

FORWARD, BACKWARD = "convolutions, forward", "convolutions, backward"
BETWEEN = "between the convolutions: norms, activations, pooling; or the generated kernels"
OPTIMISER, REST = "optimiser and moving average", "the rest"
GROUPS = {  # the first found in the name of an operator or of its callers; on a GPU, of a kernel
    OPTIMISER: r"Optimizer\.step|adam|multi_tensor|_foreach_lerp|moving average",
    BACKWARD: r"convolution_backward|conv.*backward|dgrad|wgrad|bwd",
    FORWARD: r"conv|fprop|cudnn|cutlass|xmma|implicit|gemm",
    # Only its own name: operators called by a compiled region have names of their own.
    BETWEEN: r"Compiled|triton|norm(?!al)|elu|pool|upsample|elementwise|reduce"
    r"|aten::(add|sub|mul|div|neg|pow|sum|mean|var|std|rsqrt|sqrt|where|clamp|exp|abs|log|arg)",
}


def group_of(names: list[str]) -> str:
    """The group of an operator by its name and those of its callers, the nearest first."""
    for group, pattern in GROUPS.items():
        if any(re.search(pattern, name) for name in (names[:1] if group == BETWEEN else names)):
            return group
    return REST


def where_it_goes(run: Callable[[], object]) -> dict[str, float]:
    """Share of each group in the time of a call; time outside any operator belongs to the rest.

    A profiled call takes a little longer than others; its shares are taken as theirs.
    """
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (WHERE.type == "cuda")
    with profile(activities=activities) as profiled:
        start = time.perf_counter()
        for _ in range(CALLS):
            run()
        if WHERE.type == "cuda":
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - start) / CALLS
    found = dict.fromkeys((FORWARD, BACKWARD, BETWEEN, OPTIMISER, REST), 0.0)
    for event in profiled.events():
        if WHERE.type == "cuda":
            if event.device_type == DeviceType.CUDA:
                found[group_of([event.name])] += event.self_device_time_total / 1e6 / CALLS
            continue
        names, caller = [event.name], event.cpu_parent
        while caller is not None:
            names.append(caller.name)
            caller = caller.cpu_parent
        found[group_of(names)] += event.self_cpu_time_total / 1e6 / CALLS
    found[REST] += max(0.0, seconds - sum(found.values()))
    total = sum(found.values())
    return {group: round(part / total, 4) for group, part in found.items()}


def bytes_of_convolutions(run: Callable[[], object], network: nn.Module) -> dict[str, int]:
    """Bytes of the input, output and weights of every convolution, in both precisions.

    The first and the last convolution are in float32 in both.
    """
    total = {"float32": 0, "bfloat16": 0}

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        numbers = inputs[0].numel() + output.numel() + sum(p.numel() for p in module.parameters())
        total["float32"] += 4 * numbers
        total["bfloat16"] += (4 if isinstance(module, Float32Conv) else 2) * numbers

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d)]
    run()
    for hook in hooks:
        hook.remove()
    return total


def floor(operations: int, bytes_: dict[str, int], reached: dict[str, float]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for numbers in ("float32", "bfloat16"):
        arithmetic = operations / (reached[f"{numbers}_gflops"] * 1e9)
        memory = bytes_[numbers] / (reached["copy_gb_per_s"] * 1e9)
        found[numbers] = {
            "arithmetic_seconds": float(f"{arithmetic:.4g}"),
            "memory_seconds": float(f"{memory:.4g}"),
            "gigabytes": round(bytes_[numbers] / 1e9, 4),
        }
    return found


def profiled(variants: dict[str, Callable[[], object]], rounds: int) -> dict[str, Any]:
    found = compare(variants, rounds)
    for name, run in variants.items():
        found[name]["shares"] = where_it_goes(run)
    return found


def convolutions_of(network: nn.Module, setting: Setting) -> dict[str, int]:
    x = torch.rand(setting["batch"], setting["channels"], setting["size"], setting["size"], device=WHERE)
    with torch.no_grad():
        return bytes_of_convolutions(lambda: network(x, torch.ones(len(x), device=WHERE)), network)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--filters", type=int, help="instead of those of the first setting of training.py")
    arguments = parser.parse_args()
    results: dict[str, Any] = {
        "what": "shares of the time of a training step and of a step of Langevin dynamics, one network evaluation",
        "rounds": arguments.rounds,
    }
    reached = results["limits"] = limits(WHERE)
    for what, settings in (("training", TRAINING), ("evaluation", SAMPLING)):
        setting = dict(settings[kind(WHERE)][0])
        setting["filters"] = arguments.filters or setting["filters"]
        network = network_of(setting)
        bytes_ = convolutions_of(network, setting)
        variants: dict[str, Callable[[], object]] = {}
        if what == "training":
            # In training, each convolution is three; the backward pass's two read and write as much as the first.
            bytes_ = {numbers: 3 * count for numbers, count in bytes_.items()}
            variants["plain"] = plain_step(network, images_of(setting), setting["batch"])
            for name in ("eager", "fast"):
                variants[name] = our_step(network, images_of(setting), setting["batch"], fast=name == "fast")
        else:
            network = network.eval().requires_grad_(False)
            x = torch.rand(setting["batch"], setting["channels"], setting["size"], setting["size"], device=WHERE)
            variants["plain"] = plain_run(plain_network(network), x, network.sigmas[-1:])
            for name, model in (("eager", network), ("fast", fast_network(network))):
                variants[name] = our_run(model, x, network.sigmas[-1:], fast=name == "fast")
        operations = flops(variants["eager"])
        results[what] = {
            **setting,
            "gflop": operations / 1e9,
            "floor": floor(operations, bytes_, reached),
            "variants": profiled(variants, arguments.rounds),
        }
        for name, entry in results[what]["variants"].items():
            print(what, name, f"{entry['seconds']:.4f} s", entry["shares"], flush=True)
    save("profiles", results, WHERE, kind(WHERE))


if __name__ == "__main__":
    main()
