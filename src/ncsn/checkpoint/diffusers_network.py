"""config.json of diffusers: read as the arguments of `UNet`, and written."""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ncsn.errors import DataError, shown
from ncsn.networks.unet import UNet, groups_for

_SUPPORTED: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "act_fn": ("silu", ("silu", "swish")),
    "add_attention": (True, (True,)),
    "attn_norm_num_groups": (None, (None,)),
    "center_input_sample": (False, (False,)),
    "class_embed_type": (None, (None,)),
    "downsample_type": ("conv", ("conv",)),
    "mid_block_scale_factor": (1, (1,)),
    "mid_block_type": ("UNetMidBlock2D", ("UNetMidBlock2D",)),
    "num_class_embeds": (None, (None,)),
    "num_train_timesteps": (None, (None,)),
    "resnet_time_scale_shift": ("default", ("default",)),
    "time_embedding_dim": (None, (None,)),
    "time_embedding_type": ("positional", ("positional",)),
    "upsample_type": ("conv", ("conv",)),
}
"""Keys of config.json that say which network it is: what diffusers takes where one is absent, and what `UNet` is."""

_ARGUMENTS = {
    "sample_size",
    "in_channels",
    "out_channels",
    "block_out_channels",
    "layers_per_block",
    "down_block_types",
    "up_block_types",
    "norm_num_groups",
    "norm_eps",
    "dropout",
    "attention_head_dim",
    "flip_sin_to_cos",
    "freq_shift",
    "downsample_padding",
}

_OF_UNET = {
    "image_size",
    "in_channels",
    "num_filters",
    "multipliers",
    "num_blocks",
    "attention_resolutions",
    "dropout",
    "num_groups",
    "norm_eps",
    "head_dim",
    "cosine_first",
    "frequency_shift",
    "symmetric_padding",
    "form",
    "checkpointing",
}
"""Arguments of `UNet` that diffusers can be told, or need not be; the others must have their defaults."""


def model_of(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Arguments of `UNet`, all but the form."""
    for key in config:
        if key not in _SUPPORTED and key not in _ARGUMENTS and key != "_class_name":
            raise DataError(f"{path}: {shown(key)}={shown(config[key])}: no key that is known here")
    for key, (default, allowed) in _SUPPORTED.items():
        value = config.get(key, default)
        if value not in allowed:
            absent = "" if key in config else " (absent, so it is diffusers' own)"
            said = " or ".join(json.dumps(one) for one in allowed)
            raise DataError(f"{path}: {key}={shown(json.dumps(value))}{absent}: not supported, must be {said}")
    widths, down, up = (
        _list(config, key, kind, path)
        for key, kind in (("block_out_channels", int), ("down_block_types", str), ("up_block_types", str))
    )
    if not len(widths) == len(down) == len(up) or not all(0 < width <= 2**16 for width in widths):
        raise DataError(f"{path}: block_out_channels={shown(widths)}: must be a positive width for every block type")
    for key, types, kinds in (
        ("down_block_types", down, ("DownBlock2D", "AttnDownBlock2D")),
        ("up_block_types", up[::-1], ("UpBlock2D", "AttnUpBlock2D")),
    ):
        for one in types:
            if one not in kinds:
                raise DataError(f"{path}: {key}: {shown(one)} is not supported, must be {' or '.join(kinds)}")
    attention = [one.startswith("Attn") for one in down]
    if attention != [one.startswith("Attn") for one in up[::-1]]:
        raise DataError(f"{path}: up_block_types={shown(up)}: must have attention where down_block_types has")
    if any(width % widths[0] for width in widths):
        raise DataError(f"{path}: block_out_channels={shown(widths)}: must be multiples of the first")
    size = number(config, "sample_size", path, 1, 2**12)
    channels = number(config, "in_channels", path, 1, 2**8, 3)
    if config.get("out_channels", 3) != channels:
        raise DataError(
            f"{path}: out_channels={shown(config.get('out_channels', 3))}: must be in_channels={channels}"
        )
    for key, default in (("dropout", 0.0), ("norm_eps", 1e-5)):
        value = config.get(key, default)
        if type(value) not in (int, float) or not 0 <= value < 1:
            raise DataError(f"{path}: {key}={shown(value)}: must be a number of at least 0 and below 1")
    cosine_first = config.get("flip_sin_to_cos", True)
    if type(cosine_first) is not bool:
        raise DataError(f"{path}: flip_sin_to_cos={shown(cosine_first)}: must be true or false")
    one_head = "attention_head_dim" in config and config["attention_head_dim"] is None
    return {
        "image_size": size,
        "in_channels": channels,
        "num_filters": widths[0],
        "multipliers": [width // widths[0] for width in widths],
        "num_blocks": number(config, "layers_per_block", path, 1, 16, 2),
        "attention_resolutions": [size // 2**i for i, attends in enumerate(attention) if attends],
        "dropout": float(config.get("dropout", 0.0)),
        "num_groups": number(config, "norm_num_groups", path, 1, 2**16, 32),
        "norm_eps": float(config.get("norm_eps", 1e-5)),
        "head_dim": None if one_head else number(config, "attention_head_dim", path, 1, 2**16, 8),
        "cosine_first": cosine_first,
        "frequency_shift": number(config, "freq_shift", path, 0, 1, 0),
        "symmetric_padding": number(config, "downsample_padding", path, 0, 1, 1) == 1,
    }


def with_defaults(model: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a `UNet` that its configuration says, and the rest."""
    arguments = inspect.signature(UNet).parameters
    default = {name: one.default for name, one in arguments.items() if one.default is not one.empty}
    return default | {key: value for key, value in model.items() if key != "_target_"}


def network_config(model: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """config.json for the arguments of a `UNet`, all of them.

    Raises:
        DataError: it does what `UNet2DModel` does not.
    """
    default = with_defaults({})
    if model["num_classes"] is not None:
        raise DataError(
            f"{path}: not written, networks with labels are not (model.num_classes={model['num_classes']})"
        )
    for key, value in model.items():
        if key not in _OF_UNET and value != default[key]:
            raise DataError(f"{path}: not written, UNet2DModel of diffusers has no {key}={shown(value)}")
    filters, multipliers, size = model["num_filters"], model["multipliers"], model["image_size"]
    if multipliers[0] != 1:
        raise DataError(
            f"{path}: not written, UNet2DModel of diffusers begins with as many filters as its first resolution has, "
            f"and model.multipliers={list(multipliers)} does not begin with 1"
        )
    attends = [size // 2**i in model["attention_resolutions"] for i in range(len(multipliers))]
    return {
        "_class_name": "UNet2DModel",
        **{key: allowed[0] for key, (_, allowed) in _SUPPORTED.items()},
        "sample_size": size,
        "in_channels": model["in_channels"],
        "out_channels": model["in_channels"],
        "block_out_channels": [filters * multiplier for multiplier in multipliers],
        "layers_per_block": model["num_blocks"],
        "down_block_types": ["AttnDownBlock2D" if one else "DownBlock2D" for one in attends],
        "up_block_types": ["AttnUpBlock2D" if one else "UpBlock2D" for one in attends[::-1]],
        "norm_num_groups": model["num_groups"] or groups_for(filters),
        "norm_eps": model["norm_eps"],
        "dropout": model["dropout"],
        "attention_head_dim": model["head_dim"],
        "flip_sin_to_cos": model["cosine_first"],
        "freq_shift": model["frequency_shift"],
        "downsample_padding": int(model["symmetric_padding"]),
    }


def _list(config: dict[str, Any], key: str, kind: type, path: Path) -> list[Any]:
    value = config.get(key)
    if not isinstance(value, list) or not 0 < len(value) <= 16 or not all(type(item) is kind for item in value):
        raise DataError(f"{path}: {key}={shown(value)}: must be a list of {kind.__name__} with 1 to 16 items")
    return value


def number(config: dict[str, Any], key: str, path: Path, low: int, high: int, default: int | None = None) -> int:
    """An integer of a configuration, or its default.

    Raises:
        DataError: it is none, or out of range.
    """
    value = config.get(key, default)
    if type(value) is not int or not low <= value <= high:
        raise DataError(f"{path}: {key}={shown(value)}: must be an integer from {low} to {high}")
    return value
