"""What a configuration of train.py says, as objects; all of it is built, and tried out, before data is touched."""

import math
import os
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.optim import Optimizer

from ncsn.compiling import compile_network
from ncsn.config import as_config_error, build, require
from ncsn.errors import ConfigError
from ncsn.noise import ladder
from ncsn.objectives import LikelihoodWeight
from ncsn.runs.folder import Run
from ncsn.samplers import Sampler
from ncsn.samplers.metropolis import energy_of
from ncsn.training.module import ScoreModel

DIFFERENTIATED_TWICE = ("SlicedScoreMatching", "exact_score_matching")


def build_model(config: DictConfig) -> ScoreModel:
    """Noise levels, network, objective and optimiser of a checked configuration, as one module that carries it."""
    levels, condition = build(config.noise, "noise"), config.get("condition")
    of_likelihood = config.objective.get("weight") == "likelihood"
    weight = {"weight": LikelihoodWeight(levels)} if of_likelihood else {}
    # Lightning asks for these after the data; here they are built once for their ranges.
    now = {key: OmegaConf.create({**config[key], "_partial_": False}) for key in ("optimizer", "scheduler")}
    weight_now = torch.full((1,), 1e-3)
    optimizer = require(Optimizer, build(now["optimizer"], "optimizer", params=[weight_now]), "optimizer")
    _check_step(optimizer, weight_now)
    build(now["scheduler"], "scheduler", optimizer=optimizer)
    _check_size(config, ladder(levels))
    model = ScoreModel(
        network=build(config.model, "model", sigmas=ladder(levels)),
        levels=levels,
        objective=build(config.objective, "objective", **weight),
        optimizer=build(config.optimizer, "optimizer"),
        scheduler=build(config.scheduler, "scheduler"),
        condition=None if condition is None else build(condition, "condition"),
        seed=config.seed,
        config=plain(config),
    )
    if config.compile:
        if config.objective["_target_"].rpartition(".")[2] in DIFFERENTIATED_TWICE:
            raise ConfigError(
                "compile=true: what is compiled is not differentiated twice; take objective=dsm, or compile=false"
            )
        compile_network(model.network)
    return model


def try_out(
    model: ScoreModel, sampler: Sampler, image_shape: tuple[int, int, int], *, levels_known: bool = True
) -> None:
    """Has the objective and the sampler refuse now what they would refuse later, on one image that costs nothing.

    Args:
        levels_known: False if the model's noise levels only stand in for those that will be chosen.

    Raises:
        ConfigError: one of them refuses the network, the images or the noise levels.
    """
    image, score = torch.zeros(1, *image_shape), _StandIn(model.network)
    with as_config_error("objective"):
        model.objective(score, image, model.sigmas[:1], normal=torch.zeros_like)
    with as_config_error("sampler"):
        if getattr(sampler, "needs_energy", False):
            energy_of(model.network, sampler)
        if levels_known:
            grey = torch.full_like(image, 0.5)
            state = next(iter(sampler(score, grey, model.sigmas, normal=torch.ones_like)))
            if not state.x.isfinite().all():
                raise ValueError("its first step is not finite; a smaller step size helps, if it has one")


def _check_step(optimizer: Optimizer, weight: Tensor) -> None:
    """Refuses an optimiser whose first step leaves a weight as it is, or no number.

    Raises:
        ConfigError: it does, for a gradient of 1.
    """
    before, weight.grad = weight.item(), torch.ones_like(weight)
    with as_config_error("optimizer"):
        optimizer.step()
    after = weight.item()
    if after == before or not math.isfinite(after):
        raise ConfigError(
            f"optimizer: makes {after} of a weight of {before:g} with a gradient of 1, so that nothing is learned; "
            "look at optimizer.lr, optimizer.eps and optimizer.weight_decay"
        )


def _check_size(config: DictConfig, sigmas: Tensor) -> None:
    """Refuses a network that this machine's memory cannot hold.

    Raises:
        ConfigError: with its number of parameters.
    """
    try:
        with torch.device("meta"):
            parameters = sum(p.numel() for p in build(config.model, "model", sigmas=sigmas).parameters())
    except RuntimeError as error:  # of shapes whose size is no number of 64 bits
        raise ConfigError(f"model: is too large ({error})") from error
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):  # not on Windows
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if 4 * parameters > memory:
            raise ConfigError(
                f"model: has {parameters:,} parameters, which take {4e-9 * parameters:,.3g} GB, and this machine has "
                f"{1e-9 * memory:,.3g}; a smaller model.num_filters takes less"
            )


def build_callbacks(config: DictConfig, run: Run, sampler: Sampler) -> list[Callback]:
    """The callbacks of a configuration; one that is null is left out, and the bar where the trainer shows none."""
    hidden = () if config.trainer.get("enable_progress_bar", True) else ("progress",)
    of_run: dict[str, dict[str, Any]] = {
        "checkpoint": {"dirpath": str(run.checkpoint_folder)},
        "samples": {"sampler": sampler, "folder": run.pictures},
        "selection": {"sampler": sampler, "folder": run.path},
    }
    built = {
        name: require(Callback, build(node, f"callbacks.{name}", **of_run.get(name, {})), f"callbacks.{name}")
        for name, node in ((str(name), node) for name, node in config.callbacks.items())
        if node is not None
    }
    return [callback for name, callback in built.items() if name not in hidden]


def plain(config: DictConfig) -> dict[str, Any]:
    """A configuration as plain containers, without interpolations."""
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


class _StandIn:
    """A score that costs nothing, with what may be refused of the network it stands for."""

    def __init__(self, network: nn.Module) -> None:
        self.checkpointing = getattr(network, "checkpointing", False)

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        return -x

    def energy(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x.flatten(1).square().sum(1) / 2
