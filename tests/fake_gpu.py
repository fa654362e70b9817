"""A GPU that is not there: tensors on `cuda` have shapes, types and a device, and no values.

What lies on the CPU is computed as ever. So an operation on two devices is an error, as is a kernel that does not
exist for such inputs, and whatever the host would have to wait for is known.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import ncsn

PACKAGE = Path(ncsn.__file__).parent

LOOKS_AT_THE_LADDER = "once, before the first step: noise levels are given, and checked, on the host"
KNOWN = {  # what waits for the device and may, by file and function: why
    ("noise/ladder.py", "check"): LOOKS_AT_THE_LADDER,
    ("noise/ladder.py", "ratio"): LOOKS_AT_THE_LADDER,
    ("restoration/tweedie.py", "__call__"): "once, in its only step: which level it is at",
    ("samplers/annealed_langevin.py", "epsilon"): LOOKS_AT_THE_LADDER,
    ("samplers/budgeted.py", "epsilon"): LOOKS_AT_THE_LADDER,
    ("samplers/consistent.py", "_eta"): LOOKS_AT_THE_LADDER,
    ("samplers/descent.py", "__call__"): LOOKS_AT_THE_LADDER,
    ("samplers/divergence.py", "warn_of_long_steps"): LOOKS_AT_THE_LADDER,
    ("samplers/divergence.py", "watched"): LOOKS_AT_THE_LADDER,
    ("samplers/spacing.py", "_between"): LOOKS_AT_THE_LADDER,
    ("samplers/spacing.py", "respace"): LOOKS_AT_THE_LADDER,
    ("samplers/state.py", "start"): LOOKS_AT_THE_LADDER,
    ("samplers/divergence.py", "_check"): "once in a hundred steps: whether the chains are sane",
    ("training/ema.py", "update_parameters"): "once, at the first step: the updates that a checkpoint counts",
    ("training/finite.py", "_look"): "when a step is logged: whether all since the last were finite",
    ("evaluation/features.py", "extract_batches"): "once per batch: features are kept on the CPU",
}


class Waits(AssertionError):
    """The host would wait for the device where it must not."""


class _Device(TorchDispatchMode):
    """Sends what touches the GPU on to fake tensors, and answers what is known to ask it for a value.

    The answers are made up: True, 0, and numbers that fall from 1, as noise levels do.
    """

    asked = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        if not any(isinstance(x, FakeTensor) or (isinstance(x, torch.device) and x.type == "cuda") for x in leaves):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if func is torch.ops.aten._local_scalar_dense.default:
            allow("a value")
            self.asked += 1
            kind = args[0].dtype
            return True if kind == torch.bool else 1 / (1 + 0.01 * self.asked) if kind.is_floating_point else 0
        if (
            torch.is_inference_mode_enabled() and func.namespace == "aten"
        ):  # which leaves it to kernels to take an operation apart
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        return func(*args, **kwargs)


class _Fetches(TorchFunctionMode):
    """Sees what is fetched whole, which is no operation that has an answer."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        of_gpu = name in ("cpu", "to", "tolist") and isinstance(args[0], FakeTensor) and args[0].is_cuda
        if of_gpu and name == "tolist":
            return _as_list(args[0])
        found = func(*args, **(kwargs or {}))
        if of_gpu and not found.is_cuda:
            allow(f"all of a tensor of {tuple(found.shape)}")
        return found


def _as_list(x: Tensor) -> Any:
    return [_as_list(row) for row in x.unbind()] if x.ndim else x.item()


def allow(what: str) -> None:
    """Raises `Waits` unless the innermost function of the package that asks is one of `KNOWN`."""
    frames = [f for f in traceback.extract_stack() if Path(f.filename).is_relative_to(PACKAGE)]
    names = [(Path(f.filename).relative_to(PACKAGE).as_posix(), f.name) for f in frames]
    names = [(file, name) for file, name in names if not name.startswith("<")]  # comprehensions, before Python 3.12
    if not names or names[-1] not in KNOWN:
        where = " < ".join(f"{file} {name}" for file, name in names[::-1]) or "a test"
        raise Waits(f"{what} is asked for by {where}")


def _moved(move: Any) -> Any:
    """`Module.to` that leaves a module alone that is there: fake weights cannot be exchanged for the same."""

    def to(module: torch.nn.Module, *args: Any, **kwargs: Any) -> torch.nn.Module:
        held = {x.device.type for x in (*module.parameters(), *module.buffers())}
        there = len(args) == 1 and isinstance(args[0], str | torch.device) and held == {torch.device(args[0]).type}
        return module if there else move(module, *args, **kwargs)

    return to


@contextmanager
def fake_gpu() -> Iterator[None]:
    """Within it there is one GPU, `cuda:0`, for tensors; most of what asks CUDA itself is not answered."""
    gpu, generator = FakeTensorMode(allow_non_fake_inputs=True), torch.Generator
    with pytest.MonkeyPatch.context() as patch:
        # A generator has a device that is there. Of fake numbers it is the shape that counts.
        patch.setattr(torch, "Generator", lambda device="cpu": generator())
        patch.setattr(torch.nn.Module, "to", _moved(torch.nn.Module.to))
        patch.setattr(torch.cuda, "current_device", lambda: 0)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
        patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # a weight turns into one of another class
        try:
            with gpu, _Device(), _Fetches():
                yield
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(overwrites)
