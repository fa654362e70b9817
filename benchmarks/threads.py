"""How much faster two threads are than one, on idle cores and beside other work that keeps every core busy.

    python benchmarks/threads.py [--rounds 5]

A forward and backward pass, and an evaluation as in sampling, with one thread and with two, in turns. Threads of
OpenMP spin while they wait for each other, or sleep where the process began with `OMP_WAIT_POLICY=PASSIVE`. Let
nothing else run.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
from harness import compare, save, setting_of

from ncsn import UNet, noise
from ncsn.networks import NCSN

Setting = dict[str, Any]
SETTINGS: list[Setting] = [
    {"network": "unet", "filters": 16, "channels": 1, "size": 8, "batch": 1},
    {"network": "unet", "filters": 16, "channels": 1, "size": 8, "batch": 8},
    {"network": "ncsn", "filters": 12, "channels": 1, "size": 8, "batch": 64},
    {"network": "unet", "filters": 16, "channels": 1, "size": 8, "batch": 64},
    {"network": "unet", "filters": 16, "channels": 1, "size": 28, "batch": 1},
    {"network": "unet", "filters": 16, "channels": 1, "size": 28, "batch": 32},
]
POLICIES = {"spinning": None, "sleeping": "PASSIVE"}
LEAST = 0.05  # seconds of a run, or the clock decides


def passes(setting: Setting) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    sigmas, sizes = noise.geometric(num_levels=6), {"image_size": setting["size"], "in_channels": setting["channels"]}
    if setting["network"] == "ncsn":
        network: torch.nn.Module = NCSN(sigmas, num_filters=setting["filters"], **sizes)
    else:
        multipliers = (1, 2) if setting["size"] == 8 else (1, 2, 2)
        shape = {"multipliers": multipliers, "num_blocks": 1, "attention_resolutions": ()}
        network = UNet(sigmas, num_filters=setting["filters"], **sizes, **shape)
    x = torch.rand(setting["batch"], setting["channels"], setting["size"], setting["size"])
    sigma = sigmas[torch.arange(len(x)) % len(sigmas)]

    def training() -> None:
        network.zero_grad()
        network(x, sigma).square().mean().backward()

    def sampling() -> None:
        with torch.no_grad():
            network(x, sigma)

    return {"training": training, "sampling": sampling}


def on(threads: int, run: Callable[[], object], times: int) -> Callable[[], None]:
    def runs() -> None:
        torch.set_num_threads(threads)
        for _ in range(times):
            run()

    return runs


def gains(rounds: int) -> list[dict[str, Any]]:
    """Of two threads over one, in this process."""
    found = []
    for setting in SETTINGS:
        entry: dict[str, Any] = {**setting}
        for what, run in passes(setting).items():
            once = compare({"one": on(1, run, 1)}, 3)["one"]["seconds"]
            times = max(1, round(LEAST / once))
            variants = compare({f"{n}": on(n, run, times) for n in (1, 2)}, rounds)
            entry[what] = {"milliseconds": 1e3 * variants["1"]["seconds"] / times, **variants["2"]}
        found.append(entry)
        print(setting_of(setting), *(entry[what]["times_as_fast"] for what in passes(setting)), file=sys.stderr)
    return found


def _of_a_process(policy: str | None, rounds: int) -> Any:
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")}
    environment |= {"CUDA_VISIBLE_DEVICES": ""} | ({} if policy is None else {"OMP_WAIT_POLICY": policy})
    command = [sys.executable, __file__, "--alone", "--rounds", str(rounds)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _work() -> None:
    while True:
        sum(range(10_000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="what this process finds, as JSON; the others start it")
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(gains(given.rounds)))
        return
    idle = {name: _of_a_process(policy, given.rounds) for name, policy in POLICIES.items()}
    others = [multiprocessing.Process(target=_work, daemon=True) for _ in range(os.cpu_count() or 1)]
    for other in others:
        other.start()
    busy = {name: _of_a_process(policy, given.rounds) for name, policy in POLICIES.items()}
    for other in others:
        other.kill()
    found = {"idle": idle, "busy": busy}
    save("threads", {"what": "two threads over one", "rounds": given.rounds, **found}, torch.device("cpu"))


if __name__ == "__main__":
    main()
