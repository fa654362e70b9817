from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def save_noise() -> Callable[[Path, tuple[int, int], int], None]:
    """Writes an image file of smooth noise: path, (width, height), seed."""

    def save(path: Path, size: tuple[int, int], seed: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize(size).save(path)

    return save
