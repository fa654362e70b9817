"""Type hints of keys that several commands have, for `ncsn.config.check`."""

import os
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError


def _is_built(node: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(node.get("_target_"), str):
        raise PydanticCustomError("no_target", "a node with the key _target_, which names what is built")
    return node


def _is_decided(value: Any) -> Any:
    if value == "auto":
        raise PydanticCustomError("undecided", "true or false; speed=auto is for training, take speed=fast or eager")
    return value


Node = dict[str, Any]
Built = Annotated[Node, AfterValidator(_is_built)]
Compile = Annotated[bool, BeforeValidator(_is_decided)]
Count = Annotated[int, Field(ge=1)]
Guidance = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Precision = Literal["32-true", "bf16-mixed", "16-mixed", 32, 16, "bf16"]  # weights stay in float32
Name = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Share = Annotated[float, Field(gt=0, le=1)]

DEVICES: dict[str, Any] = {  # Lightning starts a process for each, and takes any number of CPUs and machines
    "trainer.devices": Annotated[int, Field(le=max(8, os.cpu_count() or 1))] | list[int] | str,
    "trainer.num_nodes": Annotated[int, Field(ge=1, le=100_000)],
}
TRAINER: dict[str, Any] = {  # of which Lightning takes more than it can train with, or more than the networks can
    **DEVICES,
    "trainer.max_steps": Literal[-1] | Count,
    "trainer.max_epochs": Literal[-1] | Count | None,
    "trainer.precision": Precision | None,
    "trainer.accumulate_grad_batches": Count,
    "trainer.log_every_n_steps": Count | None,
    "trainer.check_val_every_n_epoch": Count | None,
    "trainer.val_check_interval": Count | Share | Name | dict[str, int] | None,
    "trainer.limit_train_batches": Count | Share | None,
    "trainer.gradient_clip_val": Annotated[float, Field(ge=0, allow_inf_nan=False)] | None,
}
