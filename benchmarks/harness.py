"""What all benchmarks share: timing variants in turns, the machine's limits, and a file for the results.

The speed of a shared machine drifts by more than the differences of interest. So the variants of a comparison run in
one process, in turns, round after round. The speedup is the ratio of the medians of their times; the quartiles of the
ratio within each round, given beside it, show the effect of drift.
"""

import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from ncsn.networks.compiled import has_fast_bfloat16

RESULTS = Path(os.environ.get("BENCHMARK_RESULTS") or Path(__file__).parent / "results")

# No compiled code from earlier runs is used: the first call shows how long compiling takes. Importing Lightning has
# put PyTorch's own choice there. Processes that a benchmark starts find what it has compiled.
_COMPILED = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.environ.setdefault("BENCHMARK_COMPILED", _COMPILED.name)


def device() -> torch.device:
    """A GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision(where: torch.device, fast: bool) -> torch.autocast:
    """A context with the precision of `speed=fast`, bfloat16 where that is faster, or of `eager`."""
    return torch.autocast(where.type, torch.bfloat16, enabled=fast and has_fast_bfloat16(where.type))


def kind(where: torch.device) -> str:
    """Of machine, by which results of `speed=fast` have their settings and files: cuda, cpu, or cpu_float32."""
    return "cpu_float32" if where.type == "cpu" and not has_fast_bfloat16("cpu") else where.type


def compare(variants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, Any]]:
    """Times every variant once per round, after two warm-up calls, and compares all with the first variant.

    Returns:
        By name: the first call's seconds, compilation included; the median of the rounds; the speedup over the first
        variant, as a ratio of medians and as quartiles of the rounds' ratios; a GPU's peak memory in GiB.
    """
    found: dict[str, dict[str, Any]] = {}
    timers = {}
    for name, run in variants.items():
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        timers[name] = Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())
        start = time.perf_counter()
        run()
        _wait()
        found[name] = {"first_call_seconds": round(time.perf_counter() - start, 3)}
        run()
        if torch.cuda.is_available():
            found[name]["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 3)
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, timer in timers.items():
            times[name].append(timer.timeit(1).median)
    first = next(iter(variants))
    for name, seconds in times.items():
        ratios = [a / b for a, b in zip(times[first], seconds, strict=True)]
        median = statistics.median(seconds)
        found[name] |= {
            "seconds": median,
            "times_as_fast": round(statistics.median(times[first]) / median, 3),
            "quartiles": [round(q, 3) for q in statistics.quantiles(ratios, n=4, method="inclusive")[::2]],
        }
    return found


def setting_of(entry: Mapping[str, Any]) -> str:
    """Network, sizes and batch of a setting in one line."""
    size, channels = entry["size"], entry["channels"]
    filters = f"{entry['filters']} filters, " if "filters" in entry else ""
    network = f"{entry['network']}, " if "network" in entry else ""
    return f"{network}{size}×{size}×{channels}, {filters}batch {entry['batch']}"


MARGIN = 1.05  # slower than that is more than the drift of a shared machine


def check_fast(settings: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Ends the program with status 1, naming the settings, where `fast`, compiled, was clearly slower than `eager`.

    Args:
        settings: what `compare` found, by setting.
    """
    slower = [
        f"{name}: {found['fast']['seconds']:.3g} s, eager {found['eager']['seconds']:.3g} s"
        for name, found in settings.items()
        if found["fast"]["seconds"] > MARGIN * found["eager"]["seconds"]
    ]
    if slower:
        sys.exit(f"speed=fast is slower than eager: {'; '.join(slower)}")


def flops(run: Callable[[], object]) -> int:
    """Floating-point operations of a call, as PyTorch counts them: convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def with_flops(
    found: dict[str, dict[str, Any]], variants: Mapping[str, Callable[[], object]]
) -> dict[str, dict[str, Any]]:
    """Adds to each variant the operations of its own call, and their number per second.

    `fast` is given those of `eager`: operations of compiled code cannot be counted.
    """
    counted = {name: flops(run) for name, run in variants.items() if name != "fast"}
    for name, variant in found.items():
        count = counted.get(name, counted["eager"])
        variant |= {"gflop": count / 1e9, "gflops_per_s": round(count / variant["seconds"] / 1e9, 1)}
    return found


@functools.cache
def limits(where: torch.device) -> dict[str, float]:
    """The speed of a large matrix product on this device, in GFLOP/s, and of a copy, in GB/s read and written."""
    size = 8192 if where.type == "cuda" else 1536
    found = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = (torch.randn(size, size, device=where, dtype=dtype) for _ in range(2))
        found[f"{name}_gflops"] = round(2 * size**3 / _best(lambda a=a, b=b: a @ b) / 1e9, 1)
    source = torch.empty(2**28 if where.type == "cuda" else 2**26, device=where)
    target = torch.empty_like(source)
    found["copy_gb_per_s"] = round(2 * source.nbytes / _best(lambda: target.copy_(source)) / 1e9, 1)
    return found


def _best(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    if (once := time.perf_counter() - start) > 1:  # bfloat16 without instructions for it
        return once
    timer = Timer("run()", globals={"run": run}, num_threads=torch.get_num_threads())
    return min(timer.timeit(2).median for _ in range(7))


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@functools.cache
def machine(where: torch.device) -> dict[str, Any]:
    """What a result depends on besides the code."""
    return {
        "device": torch.cuda.get_device_name() if where.type == "cuda" else _processor(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "revision": _git("describe", "--always", "--dirty", "--exclude=*"),
        "fast_in": "bfloat16" if has_fast_bfloat16(where.type) else "float32",
        "limits": limits(where),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def save(name: str, results: dict[str, Any], where: torch.device, of: str | None = None) -> Path:
    """Writes `results/<name>_<cpu, cuda, or what it is of>.json` with the machine, and prints its path."""
    path = RESULTS / f"{name}_{of or where.type}.json"
    path.write_text(json.dumps({"machine": machine(where), **results}, indent=1) + "\n")
    print(path)
    return path
