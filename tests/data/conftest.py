import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def real_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with MNIST/raw/*.gz, cifar-10-batches-py/* and celeba/img_align_celeba/*.jpg."""
    if "NCSN_DATA" in os.environ:
        return Path(os.environ["NCSN_DATA"])
    unpack = Path(__file__).parents[3] / "shared" / "data" / "unpack"
    if not unpack.exists():
        pytest.skip("real data sets not at hand: set NCSN_DATA")
    folder = tmp_path_factory.mktemp("real_data")
    subprocess.run([unpack, folder], check=True)
    return folder


@pytest.fixture
def save_noise() -> Callable[[Path, tuple[int, int], int], None]:
    """Writes an image file of smooth noise: path, (width, height), seed."""

    def save(path: Path, size: tuple[int, int], seed: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize(size).save(path)

    return save
