"""The loggers of a run: the CSV that is always written, and dashboards."""

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from ncsn.config import build
from ncsn.errors import ConfigError
from ncsn.runs.csv_logger import CSVLogger
from ncsn.runs.folder import global_rank, record_run


def build_loggers(config: DictConfig, folder: Path) -> list[Logger]:
    """The CSV logger, and those of the configuration."""
    if global_rank():
        return [CSVLogger(str(folder))]
    record = record_run(folder)
    loggers: list[Logger] = [CSVLogger(str(folder))]
    for name, node in config.logger.items():
        arguments: dict[str, Any] = {"save_dir": str(folder)}
        if name == "wandb":
            if node.mode not in (None, "online", "offline", "disabled"):
                raise ConfigError(f"logger.wandb.mode={node.mode}: must be online, offline, disabled or null")
            arguments |= {"id": record["id"], "name": f"{folder.parent.name}/{folder.name}"}
        loggers.append(build(node, f"logger.{name}", **arguments))
    return loggers
