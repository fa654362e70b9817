"""Between two steps that are logged, and between two looks at the chains, nothing waits for the device."""

import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ncsn import NCSN, UNet, noise
from ncsn.damage import Multitask
from ncsn.data import Digits
from ncsn.objectives import denoising_score_matching
from ncsn.samplers import AnnealedLangevin, divergence
from ncsn.training.ema import EMA
from ncsn.training.finite import StopWhenNotFinite
from ncsn.training.metrics import Metrics
from ncsn.training.module import ScoreModel

WAITS = {"_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select"}
FETCHES = {"tolist", "cpu", "numpy"}  # which are no operations where the tensor is on the CPU already


class Fetches(TorchFunctionMode):
    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self.note = note

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in FETCHES:
            self.note(func.__name__)
        return func(*args, **(kwargs or {}))


class Waits(TorchDispatchMode):
    """Writes down, with where it comes from, everything whose answer the host would have to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.operations = 0
        self.fetches = Fetches(self.note)

    def __enter__(self) -> "Waits":
        self.fetches.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.fetches.__exit__(*error)

    def note(self, name: str) -> None:
        stack = [f for f in traceback.extract_stack() if "/torch/" not in f.filename][-5:]
        self.found.append(f"{name}: " + " < ".join(f"{f.name} ({f.filename}:{f.lineno})" for f in stack[::-1]))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.operations += 1
        by_mask = name.startswith("index") and any(i is not None and i.dtype == torch.bool for i in _indices(args))
        if name in WAITS or by_mask:
            self.note(name)
        return func(*args, **(kwargs or {}))


def _indices(args: Any) -> list[Tensor | None]:
    return args[1] if len(args) > 1 and isinstance(args[1], (list, tuple)) else []


class From3To8(Callback):
    """Watches from the start of step 3 to the end of step 8."""

    def __init__(self) -> None:
        self.mode = Waits()
        self.steps: list[int] = []

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 2:
            self.mode.__enter__()

    def on_before_zero_grad(self, trainer: Trainer, *_: Any) -> None:
        self.steps.append(trainer.global_step + 1)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 8:
            self.mode.__exit__(None, None, None)


def test_what_waits_is_seen() -> None:
    with Waits() as mode:
        assert bool(torch.ones(2).sum() > 0)
        torch.ones(2)[torch.tensor([True, False])]
        float(torch.ones(()))
        torch.ones(2).tolist()
        torch.ones(2).cpu()
    names = [found.partition(":")[0] for found in mode.found]
    assert names == ["_local_scalar_dense", "index", "_local_scalar_dense", "tolist", "cpu"]


NARROW: dict[str, Any] = {"image_size": 8, "in_channels": 1, "num_filters": 4, "multipliers": [1], "num_blocks": 1}


@pytest.mark.parametrize(
    ("levels", "condition"),
    [
        (noise.geometric(num_levels=3), None),
        (noise.LogNormal(), None),
        (noise.LogNormal(), Multitask(["inpaint", "uncrop", "jpeg", "super_resolution"])),
    ],
    ids=["ladder", "drawn", "damaged"],
)
def test_no_step_of_training_waits_for_the_device(levels: Any, condition: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sigmas = noise.ladder(levels)
    model = ScoreModel(
        NCSN(sigmas, image_size=8, in_channels=1, num_filters=2)
        if condition is None
        else UNet(sigmas, **NARROW, attention_resolutions=[], condition_channels=1),
        levels,
        denoising_score_matching,
        partial(torch.optim.Adam, lr=1e-3, fused=True),
        partial(torch.optim.lr_scheduler.ConstantLR, factor=1.0),
        condition=condition,
    )
    watch = From3To8()  # the callbacks that are called after it are watched at step 8 too
    trainer = Trainer(
        max_steps=9, max_epochs=-1, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, log_every_n_steps=1000,
        callbacks=[StopWhenNotFinite(), EMA(), Metrics(), watch],
    )  # fmt: skip
    trainer.fit(model, Digits(root=str(tmp_path), batch_size=4))
    assert set(range(3, 9)) < set(watch.steps)
    assert watch.mode.operations > 1000
    assert watch.mode.found == []


def test_no_step_of_sampling_waits_between_two_looks_at_the_chains() -> None:
    sampler, sigmas, looks = AnnealedLangevin(20, 1e-5), noise.geometric(num_levels=3), []
    network = UNet(sigmas, **NARROW, attention_resolutions=[])
    assert sampler.num_steps(3) <= divergence.CHECK_EVERY

    def normal(x: Tensor) -> Tensor:
        looks.append(len(mode.found))
        return torch.randn_like(x)

    with Waits() as mode:
        for _ in sampler(network, torch.rand(2, 1, 8, 8), sigmas, normal=normal):
            assert len(mode.found) == looks[0]
    assert looks == [looks[0]] * 60  # the levels are looked at before the first step, and never again
    assert all("ladder.py" in found or "divergence.py" in found for found in mode.found[: looks[0]])
    assert len(mode.found) > looks[0]  # one look at the end
    assert all("divergence.py" in found for found in mode.found[looks[0] :])
