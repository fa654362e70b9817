"""What diffusers writes for a `UNet2DModel` with a DDPM or DDIM scheduler: read, and written.

unet/config.json, unet/diffusion_pytorch_model.safetensors, scheduler/scheduler_config.json
config.json, diffusion_pytorch_model.safetensors, scheduler_config.json                         all in one folder
config.json, diffusion_pytorch_model.bin, scheduler_config.json                                 the first versions
"""

import json
import logging
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from safetensors.torch import save_file

from ncsn.checkpoint.diffusers_names import exported, renamed
from ncsn.checkpoint.diffusers_network import model_of, network_config, with_defaults
from ncsn.checkpoint.diffusers_scheduler import LADDERS, form_of, ladder_of, sampler_of, scheduler_config
from ncsn.checkpoint.trust import plain
from ncsn.config import check
from ncsn.errors import DataError, shown
from ncsn.files import atomically, write_text

if TYPE_CHECKING:
    from ncsn.checkpoint.score import TrainedScore

log = logging.getLogger(__name__)

WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
_PLACES = [place + name for name in WEIGHTS for place in ("unet/", "")]
_NETWORK, _SCHEDULER = "config.json", "scheduler_config.json"

_LARGEST = 2**20  # bytes of a configuration: one has a thousand


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
    network = _json(path.with_name(_NETWORK), ("UNet2DModel",))
    places = [path.with_name(_SCHEDULER)]
    if path.parent.name == "unet":
        places.append(path.parent.parent / "scheduler" / _SCHEDULER)
    scheduler_path = next((place for place in places if place.is_file()), places[0])
    scheduler = _json(scheduler_path, ("DDPMScheduler", "DDIMScheduler"))
    model = model_of(network, path.with_name(_NETWORK))
    form, ladder = form_of(scheduler, scheduler_path), ladder_of(scheduler, scheduler_path)
    sampler = sampler_of(scheduler, scheduler_path)
    try:
        sigmas = LADDERS[ladder["_target_"]](**{key: value for key, value in ladder.items() if key != "_target_"})
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


def write_diffusers(score: "TrainedScore", folder: Path) -> None:
    """Writes what `DDPMPipeline.from_pretrained` of diffusers loads: unet/, scheduler/ and model_index.json.

    Args:
        score: a `UNet` of the form `ddpm` or `v`, over the levels of DDPM or the cosine schedule.
        folder: files of the same names in it are replaced.

    Raises:
        DataError: diffusers has no such network or scheduler, or the folder cannot be written.
    """
    target = score.config["model"]["_target_"]
    if target != "ncsn.networks.UNet":
        raise DataError(f"{folder}: not written, diffusers has no {shown(target)}, only a U-Net (model=unet)")
    model = with_defaults(check(OmegaConf.create({"model": score.config["model"]})).model)
    scheduler = scheduler_config(score.config, score.sigmas, folder)
    network = network_config(model, folder)
    index = {"_class_name": "DDPMPipeline", "scheduler": ["diffusers", "DDPMScheduler"]}
    index["unet"] = ["diffusers", "UNet2DModel"]
    own = score.network.get_submodule("network").state_dict()
    weights = exported({name: value.detach().cpu() for name, value in own.items()}, model)
    try:
        for file, config in {
            f"scheduler/{_SCHEDULER}": scheduler,
            f"unet/{_NETWORK}": network,
            "model_index.json": index,
        }.items():
            write_text(folder / file, json.dumps(config, indent=2) + "\n")
        with atomically(folder / "unet" / WEIGHTS[0]) as partial:
            save_file(weights, partial, {"format": "pt"})
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror or error})") from error


def _json(path: Path, kinds: tuple[str, ...]) -> dict[str, Any]:
    """A configuration of diffusers, plain."""
    if not path.is_file():
        raise DataError(f"{path}: missing; weights of diffusers need the configuration of a {kinds[0]} beside them")
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
    if config.get("_class_name") not in kinds:
        found = shown(config.get("_class_name"))
        raise DataError(f"{path}: _class_name={found}: only {' and '.join(kinds)} can be read")
    return {key: value for key, value in config.items() if key == "_class_name" or not key.startswith("_")}
