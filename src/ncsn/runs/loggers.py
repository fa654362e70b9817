"""The loggers of a run: the CSV that is always written, and dashboards."""

import sys
from typing import Any

from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from ncsn.config import build
from ncsn.errors import ConfigError
from ncsn.runs.csv_logger import CSVLogger
from ncsn.runs.folder import Run, global_rank


def build_loggers(nodes: DictConfig, run: Run) -> list[Logger]:
    """The CSV logger, and the dashboards of a configuration; the first process alone has these.

    Raises:
        ConfigError: a logger refuses its settings.
    """
    csv: list[Logger] = [CSVLogger(str(run.path))]
    return csv if global_rank() else csv + build_dashboards(nodes, run)


def build_dashboards(nodes: DictConfig, run: Run, *, evaluation: bool = False) -> list[Logger]:
    """The dashboards of a configuration, which go on with what they know of the run.

    Args:
        nodes: by their names, `wandb` and `tensorboard`.
        evaluation: on W&B a run of its own, with this job type, in the group of the training.

    Raises:
        ConfigError: a logger refuses its settings.
    """
    loggers: list[Logger] = []
    for name, node in ((str(name), node) for name, node in nodes.items()):
        arguments: dict[str, Any] = {"save_dir": str(run.path)}
        if name == "wandb":
            if node.mode not in (None, "online", "offline", "disabled"):
                raise ConfigError(f"logger.wandb.mode={node.mode}: must be online, offline, disabled or null")
            folder = run.path.absolute()
            arguments |= {"id": run.record()["id"], "name": f"{folder.parent.name}/{folder.name}"}
            if evaluation:
                arguments |= {"id": f"{arguments['id']}-evaluation", "name": f"{arguments['name']} evaluation"}
                arguments |= {"job_type": "evaluate", "group": run.config().get("sweep")}
        loggers.append(build(node, f"logger.{name}", **arguments))
    return loggers


def finish_dashboards() -> None:
    """Ends what W&B has open, or the next job of a sweep would write into this one's run."""
    wandb = sys.modules.get("wandb")
    if wandb is not None:
        wandb.finish()
