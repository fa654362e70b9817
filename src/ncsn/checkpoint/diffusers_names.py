"""Names of parameters: those of diffusers' `UNet2DModel`, and ours.

theirs                              ours
conv_in, conv_norm_out, conv_out    stem, head_norm, head
time_embedding.linear_1             embedding.linear1
down_blocks.1.resnets.0             down.3                  (2 blocks per resolution, then the halving)
  .time_emb_proj, .conv_shortcut      .embed, .shortcut
down_blocks.1.attentions.0            .attention            (of the block with this number)
  .to_q, .to_k, .to_v                   .qkv                (first versions: query, key, value; proj_attn)
down_blocks.1.downsamplers.0.conv   down.5.conv
mid_block.resnets.1                 middle.1
up_blocks.1.upsamplers.0.conv       up.7.conv
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ncsn.checkpoint.tensors import is_plain_tensor
from ncsn.errors import DataError, shown
from ncsn.networks.unet import UNet

_FIRST_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def names(model: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Theirs for each module of F in `UNet`, without weight and bias; several lie one after the other in ours.

    Args:
        model: arguments of `UNet`.
    """
    found: dict[str, tuple[str, ...]] = {
        "stem": ("conv_in",),
        "head_norm": ("conv_norm_out",),
        "head": ("conv_out",),
        "embedding.linear1": ("time_embedding.linear_1",),
        "embedding.linear2": ("time_embedding.linear_2",),
    }
    depth, blocks = len(model["multipliers"]), model["num_blocks"]
    attends = [model["image_size"] // 2**i in model["attention_resolutions"] for i in range(depth)]
    for side, resample, count, attention in (
        ("down", "downsamplers", blocks, attends),
        ("up", "upsamplers", blocks + 1, attends[::-1]),
    ):
        for i in range(depth):
            theirs, first = f"{side}_blocks.{i}", i * (count + 1)
            for j in range(count):
                found |= _block(f"{side}.{first + j}", theirs, j, attention[i])
            if i < depth - 1:
                found[f"{side}.{first + count}.conv"] = (f"{theirs}.{resample}.0.conv",)
    return found | _block("middle.0", "mid_block", 0, True) | _block("middle.1", "mid_block", 1, False)


def _block(ours: str, theirs: str, number: int, attention: bool) -> dict[str, tuple[str, ...]]:
    block, attends = f"{theirs}.resnets.{number}", f"{theirs}.attentions.{number}"
    found: dict[str, tuple[str, ...]] = {
        f"{ours}.{name}": (f"{block}.{name}",) for name in ("norm1", "conv1", "norm2", "conv2")
    }
    found |= {f"{ours}.embed": (f"{block}.time_emb_proj",), f"{ours}.shortcut": (f"{block}.conv_shortcut",)}
    if attention:
        found |= {
            f"{ours}.attention.norm": (f"{attends}.group_norm",),
            f"{ours}.attention.qkv": tuple(f"{attends}.{name}" for name in ("to_q", "to_k", "to_v")),
            f"{ours}.attention.out": (f"{attends}.to_out.0",),
        }
    return found


def renamed(state: Any, model: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """Their weights under our names; every name and shape is compared before memory is taken for a network.

    Args:
        state: the content of the file of the weights.
        model: arguments of `UNet`.
        path: that file.

    Raises:
        DataError: there is no such network, or the weights are not its.
    """
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise DataError(f"{path}: no weights of diffusers: its state is not one of named tensors")
    try:
        with torch.device("meta"):
            expected = UNet(torch.ones(1), **model).network.state_dict()
    except (ValueError, RuntimeError) as error:
        raise DataError(f"{path.with_name('config.json')}: {' '.join(str(error).split())}") from error
    amiss = f"{path}: the weights are not those of the network in config.json"
    theirs_of, left, ours = names(model), dict(state), {}
    for name, like in expected.items():
        module, _, kind = name.rpartition(".")
        parts = []
        for theirs in theirs_of[module]:
            part = left.pop(f"{theirs}.{kind}", None)
            if part is None:
                part = left.pop(f"{_first_name(theirs)}.{kind}", None)
            if part is None:
                raise DataError(f"{amiss}: {theirs}.{kind} is missing")
            wanted = (like.shape[0] // len(theirs_of[module]), *like.shape[1:])
            if tuple(part.shape) not in (wanted, wanted[:2]):  # theirs is linear where ours is a 1×1 convolution
                raise DataError(f"{amiss}: {theirs}.{kind} has the shape {tuple(part.shape)}, not {wanted}")
            if not is_plain_tensor(part) or not part.is_floating_point():
                raise DataError(f"{amiss}: {theirs}.{kind} is no plain tensor of floating-point numbers")
            parts.append(part)
        ours[name] = torch.cat(parts).reshape(like.shape).float()
    if left:
        raise DataError(f"{amiss}: {shown(next(iter(left)))} is no part of it")
    return ours


def exported(state: Mapping[str, Tensor], model: Mapping[str, Any]) -> dict[str, Tensor]:
    """Our weights under their names.

    Args:
        state: of F in `UNet`.
        model: arguments of `UNet`.
    """
    theirs_of, found = names(model), {}
    for name, value in state.items():
        module, _, kind = name.rpartition(".")
        for theirs, part in zip(theirs_of[module], value.chunk(len(theirs_of[module])), strict=True):
            linear = ".attention." in module and part.ndim == 4  # where ours is a 1×1 convolution
            found[f"{theirs}.{kind}"] = (part.flatten(1) if linear else part).clone()
    return found


def _first_name(theirs: str) -> str:
    """The name that the first versions of diffusers gave to a part of attention."""
    for new, old in _FIRST_NAMES.items():
        if theirs.endswith(f".{new}"):
            return theirs.removesuffix(new) + old
    return theirs
