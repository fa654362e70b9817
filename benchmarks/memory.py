"""How much memory does a training step take? Computed without running it, so without an accelerator.

    python benchmarks/memory.py [--out benchmarks/results/memory.json]

PyTorch goes through two steps of denoising score matching with Adam in float32 on tensors that have a size and no
content, and counts what is alive: parameters, gradients, Adam's averages, features. The peak grows linearly with the
number of images, so two batch sizes give the memory without images and the memory per image. The moving average of
the weights is added; it has the size of the parameters. Not counted, because they depend on the device: the CUDA
context, the workspaces of cuDNN's convolutions, and fragmentation; 3 GiB are set aside for them.
"""

import argparse
import json
from pathlib import Path
from typing import Any, cast

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from ncsn.networks import NCSNv2
from ncsn.objectives import denoising_score_matching

GIB = 2**30
CARD = 24  # GiB
RESERVED = 3  # GiB for what is not counted: an assumption


def peak(batch_size: int, image_size: int, checkpointing: bool) -> float:
    """Peak memory of a training step in GiB, with the moving average of the weights."""
    with FakeTensorMode(), torch.device("cpu"):
        network = NCSNv2(torch.ones(1), image_size=image_size, checkpointing=checkpointing)
        optimizer = torch.optim.Adam(network.parameters())
        tracker = MemTracker()
        tracker.track_external(network, optimizer)
        with tracker:
            for _ in range(2):  # Adam allocates its averages in the first
                tracker.reset_mod_stats()
                x, sigma = torch.rand(batch_size, 3, image_size, image_size), torch.ones(batch_size)
                denoising_score_matching(network, x, sigma).mean().backward()
                optimizer.step()
                optimizer.zero_grad()
        (alive,) = (cast(dict[Any, int], of) for of in tracker.get_tracker_snapshot("peak").values())
        average = sum(p.numel() * p.element_size() for p in network.parameters())
        return (alive["Total"] + average) / GIB


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of a training step of NCSNv2 at 256 pixels, computed.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "memory.json")
    out = parser.parse_args().out
    cases = {}
    for checkpointing in (False, True):
        one, two = (peak(batch_size, 256, checkpointing) for batch_size in (1, 2))
        image = two - one
        cases[f"checkpointing={str(checkpointing).lower()}"] = {
            "gib_without_images": round(one - image, 2),
            "gib_per_image": round(image, 2),
            "images_on_24_gib": int((CARD - RESERVED - (one - image)) / image),
        }
    what = "a training step of NCSNv2 (deepest, 128 filters) at 256 pixels, float32, Adam and EMA; computed"
    out.write_text(json.dumps({"what": what, "torch": torch.__version__, "cases": cases}, indent=2) + "\n")
    print(out.read_text())


if __name__ == "__main__":
    main()
