"""Values per image: batches are read one at a time, and what is there and whole is not computed again."""

from collections.abc import Iterator
from pathlib import Path

import torch
from lightning import Trainer
from torch import Tensor, nn

from ncsn.evaluation.per_image import values_per_image


class Watched:
    """Ten images; no batch is read before all earlier ones are written."""

    def __init__(self, parts: Path) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return 10

    def batches(self, size: int) -> Iterator[Tensor]:
        for number, images in enumerate(torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).split(size)):
            assert all((self.parts / f"{earlier:05d}.npz").is_file() for earlier in range(number))
            yield images


def test_batches_are_read_one_at_a_time_and_a_damaged_one_is_computed_again(tmp_path: Path) -> None:
    computed = []

    def values(images: Tensor, first: int, device: torch.device) -> dict[str, Tensor]:
        computed.append(first)
        return {"double": 2.0 * images.flatten(), "number": first + torch.arange(len(images))}

    def found() -> dict[str, Tensor] | None:
        options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "devices": 1}
        trainer = Trainer(accelerator="cpu", enable_model_summary=False, use_distributed_sampler=False, **options)
        return values_per_image(trainer, nn.Identity(), values, Watched(tmp_path), 4, tmp_path, "Values")

    for expected in ([0, 4, 8], [4]):
        computed.clear()
        result = found()
        assert result is not None
        assert computed == expected
        assert result["number"].tolist() == list(range(10))
        assert result["double"].tolist() == [2.0 * number for number in range(10)]
        part = tmp_path / "00001.npz"
        part.write_bytes(part.read_bytes()[:-40])
