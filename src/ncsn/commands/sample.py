"""`ncsn sample`: images drawn from a checkpoint."""

import logging
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import DictConfig
from pydantic import Field

from ncsn.checkpoint import Weights, resolve
from ncsn.commands.hints import DEVICES, Compile, Count, Guidance, Name, Node, Seed
from ncsn.config import build, check
from ncsn.errors import ConfigError
from ncsn.report import refresh_report
from ncsn.runs.folder import Run
from ncsn.sampling.drawing import batches_of, draw_into
from ncsn.sampling.effort import check_effort
from ncsn.sampling.folder import Format
from ncsn.sampling.prepare import build_trainer, largest_batch, prepare
from ncsn.sampling.tasks import Task

log = logging.getLogger(__name__)

SETTINGS: dict[str, Any] = {
    **dict.fromkeys(("sampler", "task", "solver", "trainer", "data", "authors"), Node),
    **DEVICES,
    "trainer.logger": bool | None,
    "ckpt": Name,
    "num_samples": Count | None,
    "guidance": Guidance,
    "batch_size": Count | Literal["auto"],
    "seed": Seed,
    "weights": Weights,
    "format": Format,
    "trajectory": Annotated[int, Field(ge=0)],
    "confirm": bool,
    "compile": Compile,
    "trust": list[str],
    "out": Name | None,
}


def sample(config: DictConfig) -> Path:
    """Draws what a composed configuration asks for and returns the folder it lies in.

    Batches that lie there already, from an interrupted call with the same settings, are not drawn again.

    Raises:
        UserError: the configuration or the checkpoint are not what they should be.
    """
    config = check(config, SETTINGS)
    path = resolve(config.ckpt)
    prepared = prepare(config, path)
    score = prepared.score
    trainer = build_trainer(config.trainer)
    given = {"score": score, "sampler": prepared.sampler, "solver": build(config.solver, "solver")}
    given |= {key: config[key] for key in ("num_samples", "label", "guidance")}
    task: Task = build(config.task, "task", **given)
    if task.driver == "solver" and any(value is not None for value in config.sampler.values()):
        raise ConfigError(
            "sampler: the task follows the probability flow, which solver=rk45 or heun solves; leave the sampler out"
        )

    batch_size = largest_batch(task, trainer) if config.batch_size == "auto" else config.batch_size
    place = Path(config.out) if config.out is not None else prepared.checkpoint
    check_effort(task, trainer, place, batch_size=batch_size, confirm=config.confirm)
    first = len(batches_of(task, batch_size)[0])
    folder = prepared.folder(task, config.out, seed=config.seed, batch_size=first)
    if trainer.is_global_zero:
        log.info(
            f"{task.num_chains} samples from {path}: {score.step} steps, {score.weights} weights, {task.sampler}"
        )
        if config.batch_size == "auto":
            log.info(f"batch_size={batch_size}")
    options = {"batch_size": batch_size, "seed": config.seed, "format": config.format, "frames": config.trajectory}
    draw_into(folder, task, trainer, **options)

    if trainer.is_global_zero:
        log.info("\n".join(folder.told))
        run = Run.of(prepared.checkpoint)
        if run is not None and run.is_recorded:
            refresh_report(run.path)
    return folder.path
