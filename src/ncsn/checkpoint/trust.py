"""What a configuration that comes in a file may name.

A checkpoint's configuration says which classes are built of it, and may come from anybody. So what it names has to be
a network, a data set or a sampler; a function is never called.
"""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
from lightning import LightningDataModule
from torch import nn

from ncsn.errors import DataError


def _is_sampler(target: Any) -> bool:
    """A class of samplers, or one of its alternative constructors."""
    if inspect.ismethod(target) and inspect.isclass(target.__self__):
        target = target.__self__
    return inspect.isclass(target) and hasattr(target, "num_steps")


_MAY_BE: dict[str, Callable[[Any], bool]] = {
    "model": lambda target: inspect.isclass(target) and issubclass(target, nn.Module),
    "data": lambda target: inspect.isclass(target) and issubclass(target, LightningDataModule),
    "sampler": _is_sampler,
}


def check_targets(config: dict[str, Any], path: Path) -> None:
    """Refuses a configuration that names anything else where networks, data sets and samplers are built.

    Raises:
        DataError: it does.
    """
    for node, allowed in _MAY_BE.items():
        for target in _targets(config[node]):
            try:
                named = hydra.utils.get_object(target)  # as it is looked up to build it
            except Exception:  # not on this machine, so that nothing can be built of it
                continue
            if not allowed(named):
                raise DataError(f"{path}: refused: its configuration names {target} as its {node}, which is none")


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)
