"""What diffusers writes for a `UNet2DModel` with a `DDPMScheduler`, as the content of a checkpoint of ours.

unet/config.json, unet/diffusion_pytorch_model.safetensors, scheduler/scheduler_config.json
config.json, diffusion_pytorch_model.safetensors, scheduler_config.json                         all in one folder
config.json, diffusion_pytorch_model.bin, scheduler_config.json                                 the first versions
"""

import json
import logging
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

from ncsn import noise
from ncsn.checkpoint.diffusers_names import renamed
from ncsn.checkpoint.trust import plain
from ncsn.errors import DataError, shown

log = logging.getLogger(__name__)

WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
_PLACES = [place + name for name in WEIGHTS for place in ("unet/", "")]
_NETWORK, _SCHEDULER = "config.json", "scheduler_config.json"

_LARGEST = 2**20  # bytes of a configuration: one has a thousand

_SUPPORTED: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "act_fn": ("silu", ("silu", "swish")),
    "add_attention": (True, (True,)),
    "attention_head_dim": (8, (None,)),
    "attn_norm_num_groups": (None, (None,)),
    "center_input_sample": (False, (False,)),
    "class_embed_type": (None, (None,)),
    "downsample_padding": (1, (0,)),
    "downsample_type": ("conv", ("conv",)),
    "flip_sin_to_cos": (True, (False,)),
    "freq_shift": (0, (1,)),
    "mid_block_scale_factor": (1, (1,)),
    "mid_block_type": ("UNetMidBlock2D", ("UNetMidBlock2D",)),
    "norm_eps": (1e-5, (1e-6,)),
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
    "dropout",
}

_FORMS = {"epsilon": "ddpm", "v_prediction": "v"}
_SCHEDULES = {"linear": "ncsn.noise.ddpm", "squaredcos_cap_v2": "ncsn.noise.cosine"}
_LADDERS = {"ncsn.noise.ddpm": noise.ddpm, "ncsn.noise.cosine": noise.cosine}
_VARIANCES = {f"fixed_{size}{log}": f"fixed_{size}" for size in ("small", "large") for log in ("", "_log")}

_SCHEDULER_KEYS = {
    "beta_end",
    "beta_schedule",
    "beta_start",
    "clip_sample",
    "clip_sample_range",
    "dynamic_thresholding_ratio",
    "num_train_timesteps",
    "prediction_type",
    "rescale_betas_zero_snr",
    "sample_max_value",
    "steps_offset",
    "tensor_format",
    "thresholding",
    "timestep_spacing",
    "timestep_values",
    "trained_betas",
    "variance_type",
}


def is_weights(path: Path) -> bool:
    """Whether a file has the name that diffusers gives to weights."""
    return path.name in WEIGHTS


def weights_among(files: Collection[str]) -> str | None:
    """The weights among the files of a repository, .safetensors rather than .bin."""
    return next((file for file in _PLACES if file in files), None)


def weights_in(folder: Path) -> Path | None:
    """The weights in a folder of any of the layouts."""
    return next((folder / file for file in _PLACES if (folder / file).is_file()), None)


def companions(weights: str) -> list[str]:
    """Where the two configurations may lie that belong to weights in a repository, and the weights."""
    place = PurePosixPath(weights).parent
    return [weights, *(str(place / name) for name in (_NETWORK, _SCHEDULER)), f"scheduler/{_SCHEDULER}"]


def read_diffusers(state: Any, path: Path) -> dict[str, Any]:
    """The content of one of our checkpoints, made of what diffusers wrote.

    Args:
        state: the content of the file of the weights.
        path: that file; its configurations lie beside it, or in ../scheduler.

    Raises:
        DataError: a configuration is missing or says what `UNet` or its forms do not do, or the weights are others.
    """
    network = _json(path.with_name(_NETWORK), "UNet2DModel")
    places = [path.with_name(_SCHEDULER), path.parent.parent / "scheduler" / _SCHEDULER]
    scheduler_path = next((place for place in places if place.is_file()), places[0])
    scheduler = _json(scheduler_path, "DDPMScheduler")
    model = _model(network, path.with_name(_NETWORK))
    form, ladder = _form(scheduler, scheduler_path), _ladder(scheduler, scheduler_path)
    sampler = _sampler(scheduler, scheduler_path)
    try:
        sigmas = _LADDERS[ladder["_target_"]](**{key: value for key, value in ladder.items() if key != "_target_"})
    except ValueError as error:
        raise DataError(f"{scheduler_path}: {error}") from error
    weights = renamed(state, model, path)
    size, channels = model["image_size"], model["in_channels"]
    log.warning(
        f"{path.name}: UNet2DModel of diffusers, {size}×{size} pixels, {len(sigmas)} levels from {sigmas[0]:.4g} to "
        f"{sigmas[-1]:.4g}; such a file holds the raw weights, not their moving average (unless who published it put "
        "the average there), and does not say which images it was trained on (data=…)"
    )
    return {
        "state_dict": {"sigmas": sigmas} | {f"network.network.{name}": value for name, value in weights.items()},
        "hyper_parameters": {
            "name": "diffusers",
            "data": {
                "_target_": "ncsn.data.ImageFolder",
                "name": "image_folder",
                "root": "data",
                "image_size": size,
                "channels": channels,
            },
            "model": {"_target_": "ncsn.networks.UNet", "form": form} | model,
            "noise": ladder,
            "sampler": sampler,
        },
        "global_step": 0,
        "weights": "raw",
    }


def _json(path: Path, kind: str) -> dict[str, Any]:
    """A configuration of diffusers, plain."""
    if not path.is_file():
        raise DataError(f"{path}: missing; weights of diffusers need the {kind}'s configuration beside them")
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise DataError(f"{path}: refused: larger than {_LARGEST} bytes, which no configuration is")
        config = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({shown(error)})") from error
    if not isinstance(config, dict):
        raise DataError(f"{path}: no configuration of diffusers (it is a {type(config).__name__})")
    config = plain(config, path)
    if config.get("_class_name") != kind:
        found = shown(config.get("_class_name"))
        raise DataError(f"{path}: _class_name={found}: only {kind} can be read")
    return {key: value for key, value in config.items() if not key.startswith("_")}


def _model(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Arguments of `UNet`, all but the form."""
    for key in config:
        if key not in _SUPPORTED and key not in _ARGUMENTS:
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
    size = _number(config, "sample_size", path, 1, 2**12)
    channels = _number(config, "in_channels", path, 1, 2**8, 3)
    if config.get("out_channels", 3) != channels:
        raise DataError(
            f"{path}: out_channels={shown(config.get('out_channels', 3))}: must be in_channels={channels}"
        )
    dropout = config.get("dropout", 0.0)
    if type(dropout) not in (int, float) or not 0 <= dropout < 1:
        raise DataError(f"{path}: dropout={shown(dropout)}: must be a number of at least 0 and below 1")
    return {
        "image_size": size,
        "in_channels": channels,
        "num_filters": widths[0],
        "multipliers": [width // widths[0] for width in widths],
        "num_blocks": _number(config, "layers_per_block", path, 1, 16, 2),
        "attention_resolutions": [size // 2**i for i, attends in enumerate(attention) if attends],
        "dropout": float(dropout),
        "num_groups": _number(config, "norm_num_groups", path, 1, 2**16, 32),
    }


def _form(config: dict[str, Any], path: Path) -> str:
    """What the network estimates, as a form of `UNet`; refuses what the ladder and the sampler here cannot be."""
    for key in config:
        if key not in _SCHEDULER_KEYS:
            raise DataError(f"{path}: {shown(key)}={shown(config[key])}: no key that is known here")
    for key in ("rescale_betas_zero_snr", "thresholding", "trained_betas"):
        if config.get(key):
            raise DataError(f"{path}: {key}={shown(config[key])}: not supported")
    return _FORMS[_one_of(config, "prediction_type", path, _FORMS, "epsilon")]


def _ladder(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """The node of the noise levels."""
    ladder = _SCHEDULES[_one_of(config, "beta_schedule", path, _SCHEDULES, "linear")]
    node: dict[str, Any] = {
        "_target_": ladder,
        "num_levels": _number(config, "num_train_timesteps", path, 2, 10**5, 1000),
    }
    if ladder == "ncsn.noise.cosine":
        return node
    betas = {"beta_min": config.get("beta_start", 1e-4), "beta_max": config.get("beta_end", 0.02)}
    if not all(type(beta) in (int, float) for beta in betas.values()):
        raise DataError(f"{path}: beta_start and beta_end must be numbers, not {shown(list(betas.values()))}")
    return node | betas


def _sampler(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """The node of the sampler: every level, as in training."""
    variance = _VARIANCES[_one_of(config, "variance_type", path, _VARIANCES, "fixed_small")]
    clip = config.get("clip_sample", True)
    if type(clip) is not bool or (clip and config.get("clip_sample_range", 1.0) != 1):
        raise DataError(f"{path}: clip_sample: not supported, must be false, or true with a clip_sample_range of 1")
    return {"_target_": "ncsn.samplers.DDPM", "clip": clip, "variance": variance}


def _one_of(config: dict[str, Any], key: str, path: Path, known: Collection[str], default: str) -> str:
    value = config.get(key, default)
    if not isinstance(value, str) or value not in known:
        raise DataError(f"{path}: {key}={shown(value)}: not supported, must be {' or '.join(known)}")
    return value


def _list(config: dict[str, Any], key: str, kind: type, path: Path) -> list[Any]:
    value = config.get(key)
    if not isinstance(value, list) or not 0 < len(value) <= 16 or not all(type(item) is kind for item in value):
        raise DataError(f"{path}: {key}={shown(value)}: must be a list of {kind.__name__} with 1 to 16 items")
    return value


def _number(config: dict[str, Any], key: str, path: Path, low: int, high: int, default: int | None = None) -> int:
    value = config.get(key, default)
    if type(value) is not int or not low <= value <= high:
        raise DataError(f"{path}: {key}={shown(value)}: must be an integer from {low} to {high}")
    return value
