"""A trained network: from any checkpoint, and into a file that holds it alone."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor, nn

from ncsn.checkpoint.pretrained import Pretrained
from ncsn.checkpoint.reading import checksum, read_checkpoint, resolve
from ncsn.checkpoint.released import Assumptions
from ncsn.checkpoint.tensors import check_weights
from ncsn.checkpoint.trust import NETWORKS
from ncsn.conditions import Condition, Label
from ncsn.config import build, check
from ncsn.damage import Damage, name_of
from ncsn.errors import ConfigError, DataError, shown
from ncsn.files import atomically, save_tensors

Weights = Literal["ema", "raw"]


@dataclass(frozen=True)
class TrainedScore(Pretrained):
    """A trained network with all that is needed to sample from it; itself a score.

    Attributes:
        network: s(x, σ), in evaluation mode.
        sigmas: the noise levels it was trained on, (L,).
        image_shape: (C, H, W) of its images.
        config: the configuration it was trained with, plain containers; of the authors' checkpoints, that of the
            published experiment it was taken for: model, data, noise and sampler; of diffusers' model, data, sampler.
        weights: "ema" or "raw", what the network holds.
        step: optimiser steps it was trained; 0 where the file does not say.
        condition: what the network was given in training beside x and σ; None for nothing.
    """

    network: nn.Module
    sigmas: Tensor
    image_shape: tuple[int, int, int]
    config: dict[str, Any]
    weights: Weights
    step: int
    condition: Condition | None = None

    def __call__(self, x: Tensor, sigma: Tensor, **condition: Tensor) -> Tensor:
        """s(x, σ): (B, C, H, W), (B,) -> (B, C, H, W); of a network with labels, given label=…, int64 (B,)."""
        return self.network(x, sigma, **condition)

    @property
    def energy(self) -> Callable[[Tensor, Tensor], Tensor]:
        """E(x, σ), (B, C, H, W), (B,) -> (B,), of a network that has one: what MALA and HMC ask for.

        Raises:
            AttributeError: the network has none.
        """
        return cast(Callable[[Tensor, Tensor], Tensor], self.network.energy)


def load_score(
    path: str | Path,
    weights: Weights = "ema",
    device: torch.device | str = "cpu",
    *,
    trust: Collection[str] = (),
    experiment: str | None = None,
    sigma_max: float | None = None,
    sigma_min: float | None = None,
    num_levels: int | None = None,
    image_size: int | None = None,
) -> TrainedScore:
    """Loads a checkpoint of `train.py`, one of `save_score`, or one that the papers' authors or diffusers wrote.

    The authors' files hold weights alone. Which of the published experiments they come from is guessed from their
    shapes, and logged; the keywords below, which are for these files only, say otherwise. Of diffusers it reads a
    `UNet2DModel` with a `DDPMScheduler`, weights and configurations in the layouts of `checkpoint/diffusers.py`.

    Args:
        path: the file; a run's folder for its newest checkpoint; a folder that diffusers wrote; or hf://user/repo,
            hf://user/repo/file; or builtin:mnist, which comes with the package.
        weights: the moving average, or the raw weights of the last step; a run without average has raw only.
        device: where the network goes.
        trust: import paths of your own classes that the file may name, `["mypackage.MyNetwork"]`.
        experiment: the published experiment, a name in `ncsn.checkpoint.authors.PUBLISHED`.
        sigma_max, sigma_min, num_levels: the noise levels, where the file does not hold them.
        image_size: height and width of the images in pixels.

    Raises:
        DataError: there is no such file, it is no such checkpoint, or it does not hold the weights asked for.
    """
    path = resolve(path)
    assumptions = Assumptions(experiment, sigma_max, sigma_min, num_levels, image_size)
    checkpoint = read_checkpoint(path, assumptions, trust)
    config, state = checkpoint["hyper_parameters"], checkpoint["state_dict"]
    held: dict[Weights, Mapping[str, Tensor]] = {checkpoint.get("weights", "raw"): state}
    if "current_model_state" in checkpoint:
        held = {"ema": state, "raw": checkpoint["current_model_state"]}
    if weights == "raw" and weights not in held:
        raise DataError(f"{path}: holds the moving average of the weights only (weights=ema)")
    weights = weights if weights in held else "raw"
    sigmas = state["sigmas"]
    prefix = "network."
    own = {k.removeprefix(prefix): v for k, v in held[weights].items() if k.startswith(prefix)}
    network = _build(config, sigmas, own, path)
    data = config["data"]
    return TrainedScore(
        network=network.to(device).eval().requires_grad_(False),
        sigmas=sigmas.to(device),
        image_shape=(data["channels"], data["image_size"], data["image_size"]),
        config=config,
        weights=weights,
        step=checkpoint["global_step"],
        condition=_condition(config, network, path),
    )


def save_score(score: TrainedScore, path: str | Path, *, half: bool = False) -> None:
    """Writes what `load_score` reads: the network, its noise levels and its configuration, and no more.

    Training does not continue from it, since it has neither the optimiser's state nor the other set of weights.

    Args:
        score: the network.
        path: ends in .ckpt, for torch.load, or in .safetensors, with the configuration as JSON in its header.
        half: keep the weights in float16, half the size; they are read as float32.

    Raises:
        DataError: another ending, or the file cannot be written.
    """
    path = Path(path)
    weights = score.network.state_dict()
    if half:
        weights |= {name: value.half() for name, value in score.network.named_parameters()}
    state = {"sigmas": score.sigmas} | {f"network.{name}": value for name, value in weights.items()}
    state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    if path.suffix not in (".ckpt", ".safetensors"):
        raise DataError(f"{path}: cannot be written, its name must end in .ckpt or .safetensors")
    try:
        if path.suffix == ".ckpt":
            rest = {"hyper_parameters": score.config, "global_step": score.step, "weights": score.weights}
            save_tensors({"state_dict": state, **rest}, path)
        else:
            header = {"format": "pt", "config": json.dumps(score.config), "step": str(score.step)}
            header["weights"] = score.weights
            with atomically(path) as partial:
                save_file(state, partial, header | {"crc32": checksum(header, state)})
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


def _build(config: dict[str, Any], sigmas: Tensor, state: Mapping[str, Tensor], path: Path) -> nn.Module:
    """The network of a configuration that has passed `check_targets`, with its weights."""
    try:
        node = check(OmegaConf.create({"model": config["model"]})).model
        if node["_target_"] in NETWORKS:
            _check_sizes(node, config["data"], path)
            with torch.device("meta"):  # no memory is taken at the sizes that a file states before it keeps to them
                check_weights(build(node, "model", sigmas=sigmas), state, path)
        network: nn.Module = build(node, "model", sigmas=sigmas)
    except (ConfigError, RuntimeError) as error:  # RuntimeError: sizes that PyTorch refuses
        reason = shown(" ".join(str(error).split()), 300)
        raise DataError(f"{path}: its network cannot be built: {reason}") from error
    check_weights(network, state, path)
    network.load_state_dict(state)
    return network


def _condition(config: dict[str, Any], network: nn.Module, path: Path) -> Condition | None:
    """What the network is given, of a configuration that has passed `check_targets`."""
    channels = getattr(network, "condition_channels", None)
    if config.get("condition") is None:
        if channels is not None:
            raise DataError(f"{path}: its network is given images, and no condition says which")
        return None
    try:
        condition: Condition = build(
            check(OmegaConf.create({"condition": config["condition"]})).condition, "condition"
        )
    except ConfigError as error:
        raise DataError(f"{path}: its condition cannot be built: {shown(str(error), 300)}") from error
    classes = getattr(network, "num_classes", None)
    if isinstance(condition, Label) and condition.num_classes != classes:
        raise DataError(f"{path}: its network has {classes} classes, its condition {condition.num_classes}")
    if isinstance(condition, Damage) and channels != config["data"]["channels"]:
        raise DataError(f"{path}: its network is given no images of its data, its condition is {name_of(condition)}")
    return condition


def _check_sizes(model: Mapping[str, Any], data: Mapping[str, Any], path: Path) -> None:
    """Refuses a network that takes other images than those of its data."""
    for key, of_data in (("in_channels", "channels"), ("image_size", "image_size")):
        if model.get(key, data[of_data]) != data[of_data]:
            raise DataError(
                f"{path}: model.{key}={shown(model[key])} in its configuration: "
                f"must be data.{of_data}={data[of_data]}"
            )
