"""Checkpoints: what training wrote, as a network that is ready to sample from."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from ncsn.config import build
from ncsn.errors import DataError

Weights = Literal["ema", "raw"]


@dataclass(frozen=True)
class TrainedScore:
    """A trained network with all that is needed to sample from it; itself a score.

    Attributes:
        network: s(x, σ), in evaluation mode.
        sigmas: the noise levels it was trained on, (L,).
        image_shape: (C, H, W) of its images.
        config: the configuration it was trained with, plain containers.
        weights: "ema" or "raw", what the network holds.
        step: optimiser steps it was trained.
    """

    network: nn.Module
    sigmas: Tensor
    image_shape: tuple[int, int, int]
    config: dict[str, Any]
    weights: Weights
    step: int

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """s(x, σ): (B, C, H, W), (B,) -> (B, C, H, W)."""
        return self.network(x, sigma)

    @property
    def energy(self) -> Callable[[Tensor, Tensor], Tensor]:
        """E(x, σ), (B, C, H, W), (B,) -> (B,), of a network that has one: what MALA and HMC ask for.

        Raises:
            AttributeError: the network has none.
        """
        return cast(Callable[[Tensor, Tensor], Tensor], self.network.energy)


def load_score(path: str | Path, weights: Weights = "ema", device: torch.device | str = "cpu") -> TrainedScore:
    """Loads a checkpoint of `train.py`.

    Args:
        path: the file, or a run's folder for its newest checkpoint.
        weights: the moving average, or the raw weights of the last step; a run without average has raw only.
        device: where the network goes.

    Raises:
        DataError: there is no such file, or it is not a checkpoint of `train.py`.
    """
    checkpoint = read_checkpoint(resolve(path))
    config = checkpoint["hyper_parameters"]
    if "averaging_state" not in checkpoint:
        weights = "raw"
    state = checkpoint[
        "current_model_state" if weights == "raw" and "averaging_state" in checkpoint else "state_dict"
    ]
    sigmas = state["sigmas"]
    network = build(OmegaConf.create(config["model"]), "model", sigmas=sigmas)
    prefix = "network."
    network.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    data = config["data"]
    return TrainedScore(
        network=network.to(device).eval().requires_grad_(False),
        sigmas=sigmas.to(device),
        image_shape=(data["channels"], data["image_size"], data["image_size"]),
        config=config,
        weights=weights,
        step=checkpoint["global_step"],
    )


def resolve(path: str | Path) -> Path:
    """The checkpoint that a path means: itself, or the newest of a run's folder."""
    path = Path(path)
    if path.is_dir():
        found = max(path.glob("checkpoints/step_*.ckpt"), default=None, key=lambda p: p.name)
        if found is None:
            raise DataError(f"{path}: no checkpoint in this folder (expected checkpoints/step_*.ckpt)")
        return found
    if not path.exists():
        raise DataError(f"{path}: no such checkpoint; train.py writes them to <run folder>/checkpoints/")
    return path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint file, tensors on the CPU; nothing in the file is executed."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: cannot be read as a checkpoint ({reason})") from error
    missing = {"state_dict", "hyper_parameters", "global_step"} - set(
        checkpoint if isinstance(checkpoint, dict) else ()
    )
    if missing or "model" not in checkpoint["hyper_parameters"]:
        raise DataError(
            f"{path}: no checkpoint of train.py (it lacks {', '.join(sorted(missing)) or 'its configuration'})"
        )
    return checkpoint
