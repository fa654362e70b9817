"""Files into the content of a checkpoint, without running anything that a file holds."""

import json
import logging
import os
import re
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ncsn.checkpoint import builtin, hub
from ncsn.checkpoint import trust as door
from ncsn.checkpoint.diffusers import WEIGHTS, is_weights, read_diffusers, weights_in
from ncsn.checkpoint.released import Assumptions, is_released, read_released
from ncsn.checkpoint.tensors import check_ladder, check_plain, is_plain_tensor, load_tensors
from ncsn.errors import DataError, shown
from ncsn.files import is_there
from ncsn.runs.folder import Run, is_good

log = logging.getLogger(__name__)

_OF_TRAINING = {"optimizer_states", "lr_schedulers", "loops", "callbacks", "pytorch-lightning_version"}


def resolve(path: str | Path) -> Path:
    """The checkpoint file that a path means: itself, or the newest good one of a run.

    Of a folder that diffusers or `save_pretrained` wrote it is the file of the weights; hf://… is downloaded;
    builtin:… is here.

    Raises:
        DataError: there is none.
    """
    if hub.is_address(path):
        return hub.download(str(path))
    if builtin.is_address(path):
        return builtin.find(str(path))
    path = Path(path).expanduser()
    if os.path.isdir(path):  # which is False of what can be no path
        pretrained = path / hub.FILE
        found = _newest(Run(path)) or weights_in(path) or (pretrained if pretrained.is_file() else None)
        if found is None:
            raise DataError(
                f"{path}: no checkpoint in this folder (expected checkpoints/step_*.ckpt; {hub.FILE}; or, as "
                f"diffusers writes it, {WEIGHTS[0]} beside config.json, here or in unet/)"
            )
        return found
    if not is_there(path):
        raise DataError(f"{path}: no such checkpoint; train.py writes them to <run folder>/checkpoints/")
    return path


def place_of(path: Path) -> Path:
    """Where what is made of a checkpoint goes: beside it, but neither into the hub's cache nor into the package."""
    return builtin.outside_package(hub.outside_cache(path))


def _newest(run: Run) -> Path | None:
    """The newest checkpoint that is not damaged; where all are, the newest, and reading it says what is wrong."""
    candidates = run.checkpoints()[::-1]
    for path in candidates:
        if is_good(path):
            return path
        if path is not candidates[-1]:
            log.warning(f"{path}: damaged, its checksum is of other content; the checkpoint before is taken")
    return next(iter(candidates), None)


def read_checkpoint(
    path: Path, assumptions: Assumptions | None = None, trust: Collection[str] = ()
) -> dict[str, Any]:
    """The content of a checkpoint file of any format, laid out as training writes it, tensors on the CPU.

    Args:
        path: a checkpoint of `train.py` or of `save_score`, .ckpt or .safetensors, or one of the papers' authors, or
            weights of diffusers.
        assumptions: about what a file of the authors does not say.
        trust: import paths of the user's own classes that the file may name.

    Returns:
        `state_dict` (`network.…` and `sigmas`), `hyper_parameters`, `global_step`. Where there are two sets of
        weights, the average is in `state_dict` and the raw ones in `current_model_state`; otherwise `weights` may say
        which it is. The configuration is plain, and names known or trusted classes alone where something is built.

    Raises:
        DataError: it cannot be read, or is something else; nothing in it has been executed.
    """
    is_there(path)
    assumptions = assumptions or Assumptions()
    if is_weights(path):
        state = _tensors(path)[1] if path.suffix == ".safetensors" else load_tensors(path)
        content = read_diffusers(state, path)
    else:
        content = _read_safetensors(path) if path.suffix == ".safetensors" else load_tensors(path)
    if is_released(content):
        content = read_released(content, assumptions, path)
    elif given := assumptions.given:
        raise DataError(f"{path}: holds its own settings; {', '.join(given)} cannot be given for it")
    config = _check_content(content, path)
    door.check_targets(config, path, trust)
    return content | {"hyper_parameters": config | {"data": door.on_this_machine(config["data"])}}


def check_resumable(path: Path) -> dict[str, Any]:
    """Tells a checkpoint that training can go on from apart from a network alone; returns its configuration.

    Raises:
        DataError: it cannot be read, or lacks the optimiser's state.
    """
    content = {} if path.suffix == ".safetensors" else load_tensors(path, mmap=True)
    if not isinstance(content, dict) or not content.keys() >= _OF_TRAINING:
        raise DataError(
            f"resume={path}: holds a network and not the state of its training, which cannot go on from it; "
            "give a run's folder, or a checkpoint that train.py wrote"
        )
    check_plain(content, path)
    version = content["pytorch-lightning_version"]
    if not isinstance(version, str) or not re.fullmatch(r"2\.\d+(\.\w+)*", version):
        raise DataError(f"resume={path}: written by Lightning {shown(version)}, and not by version 2")
    return _check_content(content, path)


def _tensors(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Header and tensors of a .safetensors."""
    try:
        if not path.is_file():
            raise ValueError("it is no file")
        with safe_open(path, "pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # SafetensorError and what the system says
        raise DataError(f"{path}: cannot be read as safetensors ({shown(error, 200)})") from error


def checksum(header: Mapping[str, str], state: Mapping[str, torch.Tensor]) -> str:
    """CRC-32 of all that a .safetensors of ours holds, which its header keeps as `crc32`."""
    value = zlib.crc32(json.dumps({k: v for k, v in header.items() if k != "crc32"}, sort_keys=True).encode())
    for name, tensor in sorted(state.items()):
        value = zlib.crc32(repr((name, tensor.dtype, tuple(tensor.shape))).encode(), value)
        value = zlib.crc32(tensor.contiguous().flatten().view(torch.uint8).numpy().data, value)
    return f"{value:08x}"


def _read_safetensors(path: Path) -> dict[str, Any]:
    header, state = _tensors(path)
    if "config" not in header:
        raise DataError(f"{path}: no checkpoint of this project (its header has no configuration)")
    try:
        config, step = json.loads(header["config"]), int(header["step"])
    except (ValueError, KeyError, RecursionError) as error:
        raise DataError(f"{path}: the configuration in its header cannot be read ({error})") from error
    if header.get("crc32", expected := checksum(header, state)) != expected:
        raise DataError(f"{path}: damaged, its checksum is of other content; take another checkpoint, or a copy")
    weights = header.get("weights", "raw")
    return {"state_dict": state, "hyper_parameters": config, "global_step": step, "weights": weights}


def _check_content(content: Any, path: Path) -> dict[str, Any]:
    """Checks all that `load_score` and those who sample rely on; returns the configuration, plain."""
    missing = {"state_dict", "hyper_parameters", "global_step"} - set(content if isinstance(content, dict) else ())
    if missing:
        lacks = ", ".join(sorted(missing))
        raise DataError(f"{path}: no checkpoint, neither of train.py (it lacks {lacks}) nor of the papers' authors")
    config = door.plain(content["hyper_parameters"], path)
    keys = {"model": {"_target_"}, "data": {"_target_", "channels", "image_size"}, "sampler": {"_target_"}}
    if config.get("condition") is not None:  # which few have
        keys["condition"] = {"_target_"}
    for node, needed in keys.items():
        if not isinstance(config.get(node), dict) or not config[node].keys() >= needed:
            raise DataError(f"{path}: no checkpoint of train.py (its configuration has no complete {node})")
    door.check_data(config["data"], path)
    for part in ("state_dict", "current_model_state"):
        _check_state(content.get(part, {}), path)
    if "sigmas" not in content["state_dict"]:
        raise DataError(f"{path}: no checkpoint of train.py (it lacks the noise levels)")
    check_ladder(content["state_dict"]["sigmas"], path)
    if content.get("weights", "raw") not in ("ema", "raw"):
        raise DataError(f"{path}: no checkpoint of train.py (weights={shown(content['weights'])})")
    if type(content["global_step"]) is not int or content["global_step"] < 0:
        raise DataError(f"{path}: no checkpoint of train.py (step={shown(content['global_step'])})")
    return config


def _check_state(state: Any, path: Path) -> None:
    if not isinstance(state, dict):
        raise DataError(f"{path}: no checkpoint of train.py (its state is no dictionary)")
    for name, value in state.items():
        if not isinstance(name, str) or not is_plain_tensor(value):
            raise DataError(f"{path}: no checkpoint of train.py ({shown(name)} in its state is no plain tensor)")
