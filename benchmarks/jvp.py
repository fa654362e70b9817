"""Forward or reverse mode for the derivatives of sliced score matching? Both, side by side.

    python benchmarks/jvp.py [--out benchmarks/results/jvp.json]

A step of sliced score matching needs vᵀ∇s(x)v and its gradient in the parameters. Forward mode (`torch.func.jvp`)
takes ∇s(x)v along with s(x); reverse mode (`torch.autograd.grad` with `create_graph`) goes back through the network
once for vᵀ∇s(x), then differentiates that again. The two take turns within one run, so that whatever else the
machine does falls on both, and what counts is the ratio of their medians.
"""

import argparse
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ncsn import noise
from ncsn.networks import NCSN

warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)

Slopes = Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], tuple[Tensor, Tensor]]
"""(s, x, v) -> s(x) and the rows vᵀ∇s(x)v, both differentiable in the parameters of s."""


def forward_mode(s: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    value, slope = torch.func.jvp(s, (x,), (v,))
    return value, (v * slope).flatten(1).sum(1)


def reverse_mode(s: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    value = s(x)
    (slope,) = torch.autograd.grad((v * value).sum(), x, create_graph=True)
    return value, (v * slope).flatten(1).sum(1)


def train_step(network: nn.Module, s: Callable[[Tensor], Tensor], x: Tensor, slopes: Slopes) -> None:
    network.zero_grad()
    value, slope = slopes(s, x, torch.randn_like(x))
    (slope + value.square().flatten(1).sum(1) / 2).mean().backward()


def seconds(action: Callable[[], None]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def cases(device: str) -> dict[str, tuple[nn.Module, Callable[[Tensor], Tensor], Tensor]]:
    """Network, score at fixed σ, and a batch."""
    mlp = nn.Sequential(nn.Linear(2, 128), nn.Softplus(), nn.Linear(128, 128), nn.Softplus(), nn.Linear(128, 2))
    found: dict[str, tuple[nn.Module, Callable[[Tensor], Tensor], Tensor]] = {
        "MLP of Fig. 2, batch 128": (mlp.to(device), mlp, torch.randn(128, 2, device=device))
    }
    for size, filters, batch in [(8, 16, 32), (28, 16, 8)]:
        sigmas = noise.geometric()
        network = NCSN(sigmas, image_size=size, in_channels=1, num_filters=filters).to(device)
        sigma = sigmas[torch.arange(batch) % len(sigmas)].to(device)
        x = torch.rand(batch, 1, size, size, device=device)
        found[f"NCSN {size}x{size}, {filters} filters, batch {batch}"] = (
            network,
            lambda x, network=network, sigma=sigma: network(x, sigma),  # type: ignore[misc]
            x,
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="forward against reverse mode in sliced score matching")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON too")
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = {}
    for name, (network, s, x) in cases(device).items():
        repeats = arguments.repeats * (20 if name.startswith("MLP") else 1)
        times: dict[str, list[float]] = {"forward": [], "reverse": []}
        for k in range(repeats + 3):
            for mode, slopes in (("forward", forward_mode), ("reverse", reverse_mode)):
                taken = seconds(lambda slopes=slopes: train_step(network, s, x, slopes))  # type: ignore[misc] # noqa: B023
                if k >= 3:  # the first ones warm up
                    times[mode].append(taken)
        medians = {mode: statistics.median(taken) for mode, taken in times.items()}
        rows[name] = {
            "forward_ms": round(medians["forward"] * 1e3, 3),
            "reverse_ms": round(medians["reverse"] * 1e3, 3),
            "reverse_over_forward": round(medians["reverse"] / medians["forward"], 3),
            "repeats": repeats,
        }
        print(f"{name:40} forward {rows[name]['forward_ms']:9.3f} ms   reverse {rows[name]['reverse_ms']:9.3f} ms   "
              f"reverse/forward {rows[name]['reverse_over_forward']:.2f}", flush=True)

    result = {
        "what": "a training step of sliced score matching, variance-reduced, one projection; medians",
        "machine": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "cases": rows,
    }
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
