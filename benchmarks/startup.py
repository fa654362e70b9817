"""How long commands take before their work begins, compared with `import torch`.

    python benchmarks/startup.py [--rounds 7]

Each runs in a fresh process, once per round, in turns.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from harness import save

COMMANDS = {
    "import torch": ["-c", "import torch"],
    "import ncsn": ["-c", "import ncsn"],
    "ncsn": ["-m", "ncsn"],
    "ncsn train --help": ["-m", "ncsn", "train", "--help"],
    "ncsn train noise.sigma_mx=1": ["-m", "ncsn", "train", "noise.sigma_mx=1"],
    "hydra and its plugins": ["-c", "from hydra.core.plugins import Plugins; Plugins.instance()"],
    "import lightning": ["-c", "import lightning"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for index in range(rounds + 1):
            for name, command in COMMANDS.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, *command], cwd=folder, env=os.environ, capture_output=True)
                if index:  # the first round warms the disk's cache and writes byte code
                    times[name].append(time.perf_counter() - start)
    first = times["import torch"]
    results = {}
    for name, seconds in times.items():
        ratios = [own / torch_alone for own, torch_alone in zip(seconds, first, strict=True)]
        results[name] = {
            "seconds": round(statistics.median(seconds), 3),
            "times_import_torch": round(statistics.median(ratios), 2),
            "quartiles": [round(q, 2) for q in statistics.quantiles(ratios, n=4, method="inclusive")[::2]],
        }
        print(name, results[name])
    save("startup", {"rounds": rounds, "commands": results}, torch.device("cpu"))


if __name__ == "__main__":
    main()
