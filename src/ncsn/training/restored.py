"""What a checkpoint says of a training, compared with that training before anything of it is taken over.

A checkpoint may come from anybody, and Lightning and PyTorch believe it: a moment of Adam of another shape ends the
process, a text in place of a counter ends it later. So all of it has to be of the kind that the run itself writes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from ncsn.checkpoint.tensors import check_weights
from ncsn.errors import DataError, shown


def check_restored(trainer: Trainer, model: LightningModule, checkpoint: Mapping[str, Any]) -> None:
    """Refuses a checkpoint, plain already, from which this training could not go on.

    Raises:
        DataError: naming what is of another kind.
    """
    path = Path(str(trainer.ckpt_path))
    for key in ("state_dict", "current_model_state"):
        if key in checkpoint:
            check_weights(model, checkpoint[key], path)
    made: Any = model.configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    callbacks = {callback.state_key: callback.state_dict() for callback in trainer.callbacks}  # type: ignore[attr-defined]
    try:
        _check_optimizer(optimizer, checkpoint["optimizer_states"])
        _check_like([scheduler.state_dict()], checkpoint["lr_schedulers"], "lr_schedulers", of=type(scheduler))
        _check_like({"fit_loop": trainer.fit_loop.state_dict()}, checkpoint["loops"], "loops")
        _check_like(callbacks, checkpoint["callbacks"], "callbacks")
        for name, value in checkpoint.get("averaging_state", {}).items():
            _require(isinstance(value, Tensor) and value.numel() == 1, f"averaging_state.{name}")
    except ValueError as error:
        raise DataError(
            f"{path}: its training cannot go on here: {error}; take another checkpoint, or start another run"
        ) from error


def _check_optimizer(optimizer: Optimizer, found: Any) -> None:
    own = optimizer.state_dict()
    _check_like([{"param_groups": own["param_groups"]}], found, "optimizer_states")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states = found[0].get("state")
    _require(isinstance(states, Mapping), "optimizer_states.state")
    for number, state in states.items():
        key = f"optimizer_states.state[{number}]"
        _require(type(number) is int and 0 <= number < len(parameters) and isinstance(state, Mapping), key)
        for name, value in state.items():
            if isinstance(value, Tensor):
                fits = value.numel() == 1 or value.shape == parameters[number].shape
                _require(fits and not value.is_complex(), f"{key}.{name}")
            else:
                _require(value is None or type(value) in (bool, int, float), f"{key}.{name}")


def _check_like(own: Any, found: Any, key: str, of: type = object) -> None:
    """Raises ValueError unless a value is of the kind of `own`, and so are all in it; what `own` lacks may be there.

    Args:
        of: a class whose objects take over what is found as their attributes.
    """
    if isinstance(own, Mapping):
        _require(isinstance(found, Mapping), key)
        for name, value in found.items():
            _require(name in own or not hasattr(of, str(name)), f"{key}.{name}")
            if name in own:
                _check_like(own[name], value, f"{key}.{name}")
    elif isinstance(own, list | tuple):
        _require(isinstance(found, list | tuple) and len(found) == len(own), key)
        for number, (mine, theirs) in enumerate(zip(own, found, strict=True)):
            _check_like(mine, theirs, f"{key}[{number}]", of)
    elif isinstance(own, Tensor):
        _require(isinstance(found, Tensor) and found.numel() == own.numel(), key)
    elif isinstance(own, float):
        _require(type(found) in (int, float), key)
    elif isinstance(own, bool | int | str):
        _require(type(found) is type(own), key)


def _require(condition: bool, key: str) -> None:
    if not condition:
        raise ValueError(f"{shown(key)} is of another kind than this run's")
