"""A checkpoint made ready to draw from, as the configurations of sample.py and evaluate.py say."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.compiler import set_stance

from ncsn.checkpoint import TrainedScore, load_score
from ncsn.checkpoint.reading import place_of
from ncsn.compiling import compile_network
from ncsn.config import as_config_error, build, check
from ncsn.errors import ConfigError
from ncsn.files import sha256
from ncsn.networks.compiled import round_weights
from ncsn.random import Draws
from ncsn.samplers import Sampler
from ncsn.samplers.metropolis import energy_of
from ncsn.sampling.encoded import EncodedFolder
from ncsn.sampling.folder import SampleFolder
from ncsn.sampling.recommended import REGRESSION, is_regression, recommended
from ncsn.sampling.tasks import Encode, Task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A network and what drives its chains.

    Attributes:
        checkpoint: where what is drawn belongs; not the hub's cache, if the file lies there.
        score: the network.
        sampler: as asked for, or as trained.
        settings: what samples depend on beside the task and the seed, plain values.
    """

    checkpoint: Path
    score: TrainedScore
    sampler: Sampler
    settings: dict[str, Any]

    def folder(self, task: Task, out: str | None, **settings: Any) -> SampleFolder:
        """The folder for samples of a task: `out`, or else one of the run that is named by all settings."""
        used = self.settings if task.driver == "sampler" else self.settings | {"sampler": None}
        whole = used | settings | {"task": task.identity}
        kind = EncodedFolder if isinstance(task, Encode) else SampleFolder
        return kind.beside(self.checkpoint, whole) if out is None else kind(Path(out), whole)


def prepare(config: DictConfig, path: Path, *, beside: bool = False) -> Prepared:
    """Loads a checkpoint and builds the sampler that a configuration asks for.

    Args:
        config: checked; its keys weights, authors, trust, data.root, sampler, compile and trainer.precision count.
        path: the checkpoint.
        beside: the configuration is meant for another network first: single settings that the sampler of this one
            does not have are left out, and so is any sampler where the network was trained by regression.

    Raises:
        UserError: the checkpoint is not what it should be, or the sampler refuses it.
    """
    score = load(config, path)
    node = sampler_node(config, score, beside)
    sampler: Sampler = build(OmegaConf.create(node), "sampler")
    if getattr(sampler, "needs_energy", False):
        with as_config_error("sampler"):
            energy_of(score.network, sampler)
    precision = str(config.trainer.precision)
    if config.compile:
        compile_network(score.network, cuda_graphs=True)
    if precision.startswith("bf16"):
        round_weights(score.network)
    place = place_of(path)
    settings = {
        "checkpoint": place.resolve().name,
        "sha256": sha256(path),
        "weights": score.weights,
        "authors": assumptions(config),
        "precision": precision,
        "compile": config.compile,
        "sampler": node,
    }
    return Prepared(place, score, sampler, settings)


def load(config: DictConfig, path: Path, *, assume: bool = True) -> TrainedScore:
    """The network of a checkpoint, with its data set where it is now.

    Args:
        assume: what the configuration says of an authors' checkpoint.
    """
    score = load_score(path, config.weights, trust=config.trust, **(assumptions(config) if assume else {}))
    if score.weights != config.weights:
        log.info("the checkpoint has no moving average of the weights: sampling the raw ones")
    root = config.data.get("root")
    return (
        score
        if root is None
        else replace(score, config=score.config | {"data": score.config["data"] | {"root": root}})
    )


def build_trainer(node: DictConfig, **settings: Any) -> Trainer:
    """The trainer of a configuration that draws or looks, and does not train.

    Args:
        **settings: in place of the configuration's.
    """
    # On a cluster, Lightning loads any hpc_ckpt_*.ckpt that it finds in its folder; here it has none.
    changed = {str(key): value for key, value in node.items()} | settings
    trainer: Trainer = build(OmegaConf.create(changed), "trainer", default_root_dir=os.devnull)
    return trainer


def assumptions(config: DictConfig) -> dict[str, Any]:
    """What a configuration says of an authors' checkpoint that the file does not."""
    return build(config.authors, "authors").given


def largest_batch(task: Task, trainer: Trainer) -> int:
    """The largest power of two of images, or all of the task's, that the network takes at once on this GPU.

    Raises:
        ConfigError: there is no GPU, whose memory says it, or more than one.
    """
    device = trainer.strategy.root_device
    if device.type != "cuda" or trainer.world_size > 1:
        where = f"{trainer.world_size} devices" if trainer.world_size > 1 else f"a {device.type}"
        raise ConfigError(f"batch_size=auto: looks for what fits on one GPU, not {where}; give a number")
    task.score.network.to(device)

    def fits(size: int) -> bool:
        try:
            # As it is, not compiled for every size that is tried; compiled it takes less.
            with trainer.precision_plugin.forward_context(), set_stance("force_eager"), as_config_error(task.driver):
                first_step(task, size, device)
        except torch.OutOfMemoryError:
            return False
        finally:
            torch.cuda.empty_cache()
        return True

    return largest(fits, task.num_chains)


def first_step(task: Task, size: int, device: torch.device | str = "cpu") -> Tensor:
    """So many chains, or as many more as belong together, after their first step, (B, C, H, W)."""
    chains, draws = range(-(-size // task.together) * task.together), Draws(0, device=device)
    x, sigmas = task.start(chains, draws), task.score.sigmas.to(device)
    states = task.sampler_of(chains, draws)(task.score_of(chains, draws), x, sigmas, normal=draws.normal)
    return next(iter(states)).x


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest power of two for which `fits` says so, or `most` if that is less; 1 if none."""
    size = 1
    while size < most and fits(min(2 * size, most)):
        size = min(2 * size, most)
    return size


def sampler_node(config: DictConfig, score: TrainedScore, beside: bool) -> dict[str, Any]:
    """The sampler asked for; where none is, the checkpoint's own or the recommended one, single settings replaced."""
    node = OmegaConf.to_container(config.sampler, resolve=True)
    assert isinstance(node, dict)
    trained = score.config["sampler"]
    if is_regression(score) and node.get("_target_") not in (None, REGRESSION):
        if not beside:
            raise ConfigError(
                f"sampler={node['_target_']}: the network was trained with objective=regression, which learns one "
                "estimate and no score; leave the sampler out"
            )
        node = {}
    if node.get("_target_") is None:
        found = trained
        if node.pop("recommended", False):
            found, why = recommended(score)
            log.info(f"sampler=recommended: {why}")
        node = found | {k: v for k, v in node.items() if v is not None and (k in found or not beside)}
    checked = check(OmegaConf.create({"sampler": node}))
    return {str(k): v for k, v in OmegaConf.to_container(checked.sampler).items()}  # type: ignore[union-attr]
