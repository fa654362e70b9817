"""`ncsn sample`: images drawn from a checkpoint."""

import logging
from pathlib import Path
from typing import Any

from lightning import Trainer
from omegaconf import DictConfig, OmegaConf

from ncsn.checkpoint import TrainedScore, load_score, resolve
from ncsn.checkpoint.hub import outside_cache
from ncsn.config import as_config_error, build, check
from ncsn.errors import ConfigError
from ncsn.files import sha256
from ncsn.networks.compiled import compile_in_place, round_weights
from ncsn.report import refresh_report
from ncsn.samplers import Sampler
from ncsn.samplers.metropolis import energy_of
from ncsn.sampling.drawing import Drawing, _batches, _largest_batch
from ncsn.sampling.folder import SampleFolder
from ncsn.sampling.tasks import Task

log = logging.getLogger(__name__)


def sample(config: DictConfig) -> Path:
    """Draws what a composed configuration asks for and returns the folder it lies in.

    Batches that lie there already, from an interrupted call with the same settings, are not drawn again.

    Raises:
        UserError: the configuration or the checkpoint are not what they should be.
    """
    config = check(config)
    for key, otherwise in {"num_samples": None, "batch_size": "auto", "seed": 0, "trajectory": 0}.items():
        if not isinstance(config[key], int) and config[key] != otherwise:
            raise ConfigError(f"{key}={config[key]}: must be an integer")
    for key in ("num_samples", "batch_size"):
        if isinstance(config[key], int) and config[key] < 1:
            raise ConfigError(f"{key}={config[key]}: must be at least 1")
    if config.format not in ("npz", "png"):
        raise ConfigError(f"format={config.format}: must be npz or png")
    if config.compile not in (True, False):
        raise ConfigError(f"compile={config.compile}: must be true or false")
    if config.weights not in ("ema", "raw"):
        raise ConfigError(f"weights={config.weights}: must be ema or raw")
    if config.trajectory < 0:
        raise ConfigError(f"trajectory={config.trajectory}: must not be negative (0: none)")

    path = resolve(config.ckpt)
    score = load_score(path, config.weights, **assumed(config))
    if score.weights != config.weights:
        log.info("the checkpoint has no moving average of the weights: sampling the raw ones")
    sampler_node = _sampler_node(config, score)
    sampler: Sampler = build(OmegaConf.create(sampler_node), "sampler")
    if getattr(sampler, "needs_energy", False):
        with as_config_error("sampler"):
            energy_of(score.network, sampler)
    trainer: Trainer = build(config.trainer, "trainer")

    if config.compile:
        with as_config_error("compile=true"):
            compile_in_place(score.network, cuda_graphs=True)
    if str(config.trainer.precision).startswith("bf16"):
        round_weights(score.network)
    task: Task = build(config.task, "task", score=score, sampler=sampler, num_samples=config.num_samples)
    batch_size = config.batch_size
    if batch_size == "auto":
        batch_size = _largest_batch(score, task, trainer)
        log.info(f"batch_size={batch_size}")
    batches = _batches(task, batch_size)
    settings = {
        "checkpoint": outside_cache(path).resolve().name,
        "sha256": sha256(path),
        "weights": score.weights,
        "authors": assumed(config),
        "seed": config.seed,
        "batch_size": len(batches[0]),
        "precision": config.trainer.precision,
        "compile": config.compile,
        "sampler": sampler_node if task.uses_sampler else None,
        "task": {str(k): v for k, v in config.task.items() if k != "root"} | task.settings,
    }
    place = outside_cache(path)
    folder = SampleFolder(Path(config.out), settings) if config.out else SampleFolder.beside(place, settings)
    pending = [i for i, chains in enumerate(batches) if not folder.is_done(i, len(chains))]
    if config.trajectory:
        pending = sorted({0, *pending})  # its frames have to be drawn, even if the samples are there
    if trainer.is_global_zero:
        origin = f"{path}: {score.step} steps, {score.weights} weights"
        log.info(f"{task.num_chains} samples from {origin}, {task.sampler}")
        if len(pending) < len(batches):
            log.info(f"{len(batches) - len(pending)} of {len(batches)} batches are there already")
    if pending:
        drawing = Drawing(task, folder, batches, pending, config.seed, frames=config.trajectory)
        trainer.predict(drawing, return_predictions=False)
        trainer.strategy.barrier("drawn")  # before the first process puts the batches of all together
    if trainer.is_global_zero:
        picture = folder.assemble(len(batches), config.format, task)
        log.info(f"samples: {folder.path}\npicture: {picture}")
        run = path.absolute().parent.parent
        if (run / "config.yaml").is_file():
            refresh_report(run)
    if pending:
        trainer.strategy.barrier("assembled")  # before others read what the first process has put together
    return folder.path


def assumed(config: DictConfig) -> dict[str, Any]:
    """What a configuration says of an authors' checkpoint that the file does not."""
    return build(config.authors, "authors").given if "authors" in config else {}


def _sampler_node(config: DictConfig, score: TrainedScore) -> dict[str, Any]:
    """The sampler asked for; by default the one stored in the checkpoint, with single settings replaced."""
    node = OmegaConf.to_container(config.sampler, resolve=True)
    assert isinstance(node, dict)
    if node.get("_target_") is None:
        node = score.config["sampler"] | {k: v for k, v in node.items() if v is not None}
    checked = OmegaConf.to_container(check(OmegaConf.create({"sampler": node})).sampler, resolve=True)
    assert isinstance(checked, dict)
    return {str(k): v for k, v in checked.items()}
