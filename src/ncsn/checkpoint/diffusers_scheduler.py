"""scheduler_config.json of diffusers: read as nodes of ours, and written."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ncsn import noise
from ncsn.checkpoint.diffusers_network import number, with_defaults
from ncsn.errors import DataError, shown

_FORMS = {"epsilon": "ddpm", "v_prediction": "v"}
_SCHEDULES = {
    "linear": "ncsn.noise.ddpm",
    "scaled_linear": "ncsn.noise.scaled_linear",
    "squaredcos_cap_v2": "ncsn.noise.cosine",
}
LADDERS = {
    "ncsn.noise.ddpm": noise.ddpm,
    "ncsn.noise.scaled_linear": noise.scaled_linear,
    "ncsn.noise.cosine": noise.cosine,
}
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
    "set_alpha_to_one",
    "steps_offset",
    "tensor_format",
    "thresholding",
    "timestep_spacing",
    "timestep_values",
    "trained_betas",
    "variance_type",
}


def form_of(config: dict[str, Any], path: Path) -> str:
    """What the network estimates, as a form of `UNet`; refuses what the ladder and the sampler here cannot be."""
    for key in config:
        if key not in _SCHEDULER_KEYS and key != "_class_name":
            raise DataError(f"{path}: {shown(key)}={shown(config[key])}: no key that is known here")
    for key in ("rescale_betas_zero_snr", "thresholding", "trained_betas"):
        if config.get(key):
            raise DataError(f"{path}: {key}={shown(config[key])}: not supported")
    return _FORMS[_one_of(config, "prediction_type", path, _FORMS, "epsilon")]


def ladder_of(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """The node of the noise levels."""
    ladder = _SCHEDULES[_one_of(config, "beta_schedule", path, _SCHEDULES, "linear")]
    node: dict[str, Any] = {
        "_target_": ladder,
        "num_levels": number(config, "num_train_timesteps", path, 2, 10**4, 1000),
    }
    if ladder == "ncsn.noise.cosine":
        return node
    betas = {"beta_min": config.get("beta_start", 1e-4), "beta_max": config.get("beta_end", 0.02)}
    if not all(type(beta) in (int, float) for beta in betas.values()):
        raise DataError(f"{path}: beta_start and beta_end must be numbers, not {shown(list(betas.values()))}")
    return node | betas


def sampler_of(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """The node of the sampler: DDPM's takes every level; DDIM's steps, which no file says, are its pipeline's 50.

    They are spread from the first level to the last, whatever the file says of that (`timestep_spacing`).
    """
    variance = _VARIANCES[_one_of(config, "variance_type", path, _VARIANCES, "fixed_small")]
    clip = config.get("clip_sample", True)
    if type(clip) is not bool or (clip and config.get("clip_sample_range", 1.0) != 1):
        raise DataError(f"{path}: clip_sample: not supported, must be false, or true with a clip_sample_range of 1")
    if config["_class_name"] == "DDIMScheduler":
        return {
            "_target_": "ncsn.samplers.DDIM",
            "steps": min(50, config.get("num_train_timesteps", 1000)),
            "spacing": "uniform",
            "clip": clip,
        }
    return {"_target_": "ncsn.samplers.DDPM", "clip": clip, "variance": variance}


def scheduler_config(config: Mapping[str, Any], sigmas: Tensor, path: Path) -> dict[str, Any]:
    """scheduler_config.json of a `DDPMScheduler` for the configuration of a `UNet` and its levels (L,).

    Raises:
        DataError: the scheduler has no such levels, or takes no network of this form.
    """
    form, sampler = with_defaults(config["model"])["form"], config["sampler"]
    prediction = {ours: theirs for theirs, ours in _FORMS.items()}.get(form)
    if prediction is None:
        raise DataError(
            f"{path}: not written, model.form={shown(form)}: the networks of DDPMScheduler estimate the noise or the "
            f"velocity at level t (model.form={' or '.join(_FORMS.values())}), and this one neither"
        )
    schedule = _schedule(config.get("noise"), sigmas)
    if schedule is None:
        raise DataError(
            f"{path}: not written, DDPMScheduler of diffusers computes its levels, and those of this network it does "
            "not: they must be those of noise=ddpm, or of noise=cosine as published"
        )
    return {
        "_class_name": "DDPMScheduler",
        **schedule,
        "num_train_timesteps": len(sigmas),
        "prediction_type": prediction,
        "clip_sample": bool(sampler.get("clip", False)),
        "variance_type": sampler.get("variance", "fixed_small"),
    }


def _schedule(node: Any, sigmas: Tensor) -> dict[str, Any] | None:
    """What the scheduler is told of the levels (L,) of this node; None if it has no such."""
    given = dict(node) if isinstance(node, dict) else {}
    target = str(given.pop("_target_", None))
    if target not in LADDERS or given.get("num_levels", 1000) != len(sigmas):
        return None
    name = {ours: theirs for theirs, ours in _SCHEDULES.items()}[target]
    if name == "squaredcos_cap_v2":
        betas, given = {}, {"num_levels": len(sigmas)}  # it is as published, or the levels are others
    else:
        betas = {"beta_start": given.get("beta_min", 1e-4), "beta_end": given.get("beta_max", 0.02)}
    try:
        same = torch.equal(LADDERS[target](**given), sigmas.cpu())
    except (TypeError, ValueError):
        return None
    return {"beta_schedule": name, **betas} if same else None


def _one_of(config: dict[str, Any], key: str, path: Path, known: Collection[str], default: str) -> str:
    value = config.get(key, default)
    if not isinstance(value, str) or value not in known:
        raise DataError(f"{path}: {key}={shown(value)}: not supported, must be {' or '.join(known)}")
    return value
