"""The authors' checkpoints, tiny and of random weights, with inputs and the outputs of their code."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

HERE = Path(__file__).parent / "reference"
SHARED = Path(__file__).parents[2] / "shared" / "reference"

NCSN = ["ncsn_mnist", "ncsn_cifar10"]
NCSNV2 = ["ncsnv2_cifar10", "ncsnv2deeper_lsun", "ncsnv2deepest_ffhq"]


def reference(name: str) -> Path:
    """The checkpoint; a test that asks for one that is not at hand is skipped."""
    for folder in (HERE, SHARED):
        if (folder / f"{name}.pth").is_file():
            return folder / f"{name}.pth"
    pytest.skip(f"{name}.pth is neither in {HERE} nor in {SHARED}")


def outputs(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Images (B, C, H, W), the indices of their levels (B,), and what the authors' code makes of them."""
    with np.load(reference(name).with_suffix(".npz")) as file:
        x, level, out = (torch.from_numpy(file[key]) for key in ("x", "y", "out"))
    return x, level, out
