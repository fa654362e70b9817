"""A published run with dropout, on its data but narrow: to interrupt it or to share it changes nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow
Command = Callable[..., Any]

NARROW = [
    "experiment=ddpm_cifar10",
    "model.num_filters=8",
    "model.num_blocks=1",
    "data.batch_size=8",
    "optimizer.lr=0.1",  # and no warm-up: the weights shall move in a few steps
    "optimizer.eps=1",  # where a gradient nearly vanishes, its rounding shall not decide
    "scheduler.warmup_steps=0",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
    "trainer.limit_val_batches=0",
    "callbacks.samples.every_n_steps=0",
    "callbacks.checkpoint.every_n_train_steps=1",
]


def test_ddpm_on_cifar10_resumes_bit_for_bit_and_is_the_same_on_two_processes(
    call: Command, only_run: Command, real_data: Path, once: Callable[..., Path], tmp_path: Path
) -> None:
    data = [f"data.root={real_data}", f"data.cache_dir={once('real-cifar10', lambda folder: None)}"]
    stops = {"whole": [[1, 3]], "parts": [[1, 1], [1, 3]], "shared": [[2, 3]]}
    found: dict[str, dict[str, Any]] = {}
    for name, parts in stops.items():
        cwd = tmp_path / name
        cwd.mkdir()
        for i, (devices, steps) in enumerate(parts):
            more = [f"trainer.devices={devices}", f"trainer.max_steps={steps}", *(["resume=true"] if i else [])]
            more += ["trainer.strategy=ddp_fork"] if devices > 1 else []  # which starts no interpreter anew
            call("train", *NARROW, *data, *more, cwd=cwd)
        found[name] = torch.load(only_run(cwd) / "checkpoints" / "last.ckpt", weights_only=True)
    for key in ("state_dict", "current_model_state", "averaging_state", "optimizer_states"):
        torch.testing.assert_close(found["parts"][key], found["whole"][key], rtol=0, atol=0)
    for key in ("state_dict", "current_model_state"):
        torch.testing.assert_close(found["shared"][key], found["whole"][key], rtol=1e-4, atol=1e-4)
