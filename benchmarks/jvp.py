"""Forward or reverse mode for the derivatives of sliced and of exact score matching? Both, side by side.

    python benchmarks/jvp.py [--out benchmarks/results/jvp.json]

A step of sliced score matching needs vᵀ∇s(x)v and its gradient in the parameters. Forward mode (`torch.func.jvp`)
computes ∇s(x)v along with s(x); reverse mode (`torch.autograd.grad` with `create_graph`) goes back through the
network once for vᵀ∇s(x), then differentiates that again. A step of exact score matching needs the same for all D unit
vectors: at once in forward mode, under `torch.func.vmap`, and one after the other in reverse mode. The two modes take
turns within one run, so that other load on the machine affects both alike. The result is the ratio of their medians:
above 1, forward mode is faster.
"""

import argparse
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from ncsn import noise
from ncsn.networks import NCSN
from ncsn.objectives.exact import MAX_VALUES

warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)

Function = Callable[[Tensor], Tensor]
Losses = Callable[[Function, Tensor, Tensor], Tensor]
"""(s, x, v) -> vᵀ∇s(x)v + ½‖s(x)‖², or with the trace, of each row, differentiable in the parameters of s."""


def rows(x: Tensor) -> Tensor:
    return x.flatten(1).sum(1)


def sliced_forward(s: Function, x: Tensor, v: Tensor) -> Tensor:
    value, slope = torch.func.jvp(s, (x,), (v,))[:2]
    return rows(v * slope) + rows(value**2) / 2


def sliced_reverse(s: Function, x: Tensor, v: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    value = s(x)
    (slope,) = torch.autograd.grad(value, x, v, create_graph=True)
    return rows(slope * v) + rows(value**2) / 2


def exact_forward(s: Function, x: Tensor, v: Tensor) -> Tensor:
    def derivative(e: Tensor) -> Tensor:
        return rows(e * torch.func.jvp(s, (x,), (e.expand_as(x),))[1])

    return torch.func.vmap(derivative)(basis(x)).sum(0) + rows(s(x) ** 2) / 2


def exact_reverse(s: Function, x: Tensor, v: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    value = s(x)
    loss = rows(value**2) / 2
    for e in basis(x):
        (slope,) = torch.autograd.grad(value, x, e.expand_as(x), create_graph=True)
        loss = loss + rows(slope * e)
    return loss


def basis(x: Tensor) -> Tensor:
    D = x[0].numel()
    return torch.eye(D, device=x.device).view(D, 1, *x.shape[1:])


def train_step(network: nn.Module, s: Function, x: Tensor, losses: Losses) -> None:
    network.zero_grad()
    losses(s, x, torch.randn_like(x)).mean().backward()


def seconds(action: Callable[[], None]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def networks(device: str) -> dict[str, tuple[nn.Module, Function, Tensor]]:
    """Network, score at fixed σ, and a batch."""
    mlp = nn.Sequential(nn.Linear(2, 128), nn.Softplus(), nn.Linear(128, 128), nn.Softplus(), nn.Linear(128, 2))
    found: dict[str, tuple[nn.Module, Function, Tensor]] = {
        "MLP of Fig. 2, batch 128": (mlp.to(device), mlp, torch.randn(128, 2, device=device))
    }
    for size, filters, batch in [(8, 8, 16), (28, 8, 8)]:
        sigmas = noise.geometric()
        network = NCSN(sigmas, image_size=size, in_channels=1, num_filters=filters).to(device)
        sigma = sigmas[torch.arange(batch) % len(sigmas)].to(device)
        s = partial(_call, network, sigma)
        found[f"NCSN {size}x{size}, {filters} filters, batch {batch}"] = (
            network,
            s,
            torch.rand(batch, 1, size, size, device=device),
        )
    return found


def _call(network: nn.Module, sigma: Tensor, x: Tensor) -> Tensor:
    return network(x, sigma)


def compare(network: nn.Module, s: Function, x: Tensor, modes: dict[str, Losses], repeats: int) -> dict[str, float]:
    """Median time of a training step in each mode, in milliseconds, and their ratio."""
    times: dict[str, list[float]] = {mode: [] for mode in modes}
    for k in range(repeats + 2):
        for mode, losses in modes.items():
            taken = seconds(partial(train_step, network, s, x, losses))
            if k >= 2:  # the first two are warm-up
                times[mode].append(taken)
    forward, reverse = (statistics.median(times[mode]) for mode in ("forward", "reverse"))
    return {
        "forward_ms": round(forward * 1e3, 3),
        "reverse_ms": round(reverse * 1e3, 3),
        "reverse_over_forward": round(reverse / forward, 3),
        "repeats": repeats,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="forward against reverse mode in score matching")
    parser.add_argument("--out", type=Path, help="also write the figures to this file, as JSON")
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    objectives: dict[str, dict[str, Losses]] = {
        "sliced": {"forward": sliced_forward, "reverse": sliced_reverse},
        "exact": {"forward": exact_forward, "reverse": exact_reverse},
    }
    figures: dict[str, dict[str, float]] = {}
    for name, (network, s, x) in networks(device).items():
        for objective, modes in objectives.items():
            if objective == "exact" and x[0].numel() > MAX_VALUES:
                continue
            repeats = arguments.repeats * (10 if x[0].numel() == 2 else 1)
            if objective == "exact" and x[0].numel() > 2:
                repeats = max(3, repeats // 3)
            row = figures[f"{objective}: {name}"] = compare(network, s, x, modes, repeats)
            print(
                f"{objective:7} {name:36} forward {row['forward_ms']:9.3f} ms  reverse {row['reverse_ms']:9.3f} ms  "
                f"reverse/forward {row['reverse_over_forward']:.2f}",
                flush=True,
            )

    result = {
        "what": "a training step of score matching, sliced (variance-reduced, one projection) and exact; medians",
        "machine": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "cases": figures,
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
