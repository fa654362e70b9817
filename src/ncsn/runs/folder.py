"""The folder of a run: enough to find out next week what it was, and to go on with it.

    runs/mnist/2026-11-21_22-57-03/
        config.yaml      the resolved configuration
        overrides.yaml   what the command line changed in it; `resume` starts from there
        run.json         git revision, command, versions, machine, W&B id
        train.log        what was printed
        metrics.csv      one row per logged step
        checkpoints/     step_0005000.ckpt, …; last.ckpt and best.ckpt are links
        pictures/        samples drawn while training
        samples/         what sample.py and evaluate.py drew from its checkpoints
        evaluation/      scores by checkpoint
        result.json      how it ended: metrics, or the error
        report.html

A sweep is a folder of such folders, with one table, results.csv.
"""

import importlib.metadata
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from ncsn.errors import ConfigError, DataError
from ncsn.files import (
    is_whole,
    one_process_at_a_time,
    read_record,
    read_yaml,
    write_text,
)


@dataclass(frozen=True)
class Run:
    """A run, by its folder: the one place that knows where things lie in it.

    Args:
        path: the folder; it need not be there yet.
    """

    path: Path

    @classmethod
    def of(cls, path: Path) -> "Run | None":
        """The run that a folder is, or that a checkpoint, there or not, lies in; None for a file on its own."""
        if os.path.isdir(path):  # which is False of what can be no path
            return cls(path)
        folder = path.absolute().parent
        return cls(folder.parent) if folder.name == "checkpoints" else None

    @property
    def is_recorded(self) -> bool:
        """Whether a training wrote its configuration here."""
        return (self.path / "config.yaml").is_file()

    # Checkpoints.

    @property
    def checkpoint_folder(self) -> Path:
        return self.path / "checkpoints"

    def checkpoint(self, step: int) -> Path:
        """The checkpoint of a step, whether it is there or not."""
        return self.checkpoint_folder / f"step_{step:07d}.ckpt"

    def checkpoints(self) -> list[Path]:
        """All checkpoints, the newest last; links are left out."""
        found = [path for path in self.checkpoint_folder.glob("step_*.ckpt") if step_of(path) is not None]
        return sorted(found, key=lambda path: step_of(path) or 0)

    def newest_checkpoint(self) -> Path | None:
        """The checkpoint with the most steps."""
        return next(reversed(self.checkpoints()), None)

    # What it was, and how it went.

    @property
    def pictures(self) -> Path:
        return self.path / "pictures"

    @property
    def curve(self) -> Path:
        return self.path / "evaluation" / "curve.json"

    def config(self) -> dict[str, Any]:
        """The resolved configuration as it was recorded, plain values.

        Raises:
            DataError: it is damaged.
        """
        path = self.path / "config.yaml"
        config = read_yaml(path, "restore it, or start another run")
        if not isinstance(config, dict):
            raise DataError(f"{path}: expected a configuration, found {type(config).__name__}")
        return config

    def record_config(self, config: dict[str, Any], overrides: list[str]) -> None:
        """Writes the configuration, and what the command line changed in it; how it ended is open again."""
        (self.path / "result.json").unlink(missing_ok=True)
        write_text(self.path / "config.yaml", yaml.safe_dump(config, sort_keys=False))
        write_text(self.path / "overrides.yaml", yaml.safe_dump(overrides))

    def record(self) -> dict[str, Any]:
        """Writes `run.json`, or reads it if the run was started before; its `id` names the run on W&B."""
        record = read_record(self.path / "run.json")
        if record is not None and isinstance(record.get("id"), str):
            return record
        packages = ("torch", "lightning", "hydra-core", "omegaconf", "numpy")
        record = {
            "id": uuid.uuid4().hex[:8],
            "started": datetime.now().isoformat(timespec="seconds"),
            "command": shlex.join(sys.argv),
            "config_dir": _config_dir(),
            "git": git_revision(),
            "versions": {"python": platform.python_version(), "ncsn": importlib.metadata.version("ncsn")}
            | {p: importlib.metadata.version(p) for p in packages},
            "machine": platform.node(),
            "device": _device(),
        }
        write_text(self.path / "run.json", json.dumps(record, indent=2))
        return record

    @property
    def config_folder(self) -> Path | None:
        """The folder of the user's own configurations, `--config-dir`, that the run was started with."""
        folder = (read_record(self.path / "run.json") or {}).get("config_dir")
        return Path(folder) if isinstance(folder, str) else None

    def write_result(self, **result: Any) -> None:
        """Writes `result.json`: how the run ended."""
        write_text(self.path / "result.json", json.dumps(result, indent=2))

    def result(self) -> dict[str, Any] | None:
        """How the run ended, or None if it did not."""
        return read_record(self.path / "result.json")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training in this folder.

        Raises:
            ConfigError: another process is at it.
        """
        written = (self.path / "*", self.checkpoint_folder / "*")
        with one_process_at_a_time(self.path / "run", *written, wait=False) as held:
            if held is False:
                raise ConfigError(
                    f"{self.path}: another process trains in this folder; wait for its end, or start another "
                    "run, under another name (name=…) or in another second"
                )
            yield


def step_of(checkpoint: Path) -> int | None:
    """The step in the name of a checkpoint, step_0005000.ckpt; None if there is none."""
    found = re.fullmatch(r"step_(\d+)\.ckpt", checkpoint.name)
    return None if found is None else int(found[1])


def is_good(checkpoint: Path) -> bool:
    """Whether a checkpoint of a run is an archive, as all are, with the bits that were written."""
    return is_whole(checkpoint) and zipfile.is_zipfile(checkpoint)


def global_rank() -> int:
    """This process among those of a run, known before and after Lightning has started the others."""
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    return rank_zero_only.rank  # type: ignore[attr-defined]


def git_revision() -> str | None:
    """The commit of this project's checkout, with "+changes" where files differ from it; None outside of git."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        inside = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True)
        if inside.returncode:  # installed somewhere inside another project's checkout
            return None
        revision = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return revision.stdout.strip() + ("+changes" if status.stdout.strip() else "")


def _config_dir() -> str | None:
    """Where Hydra finds the user's own configurations, if `--config-dir` says so."""
    from hydra.core.hydra_config import HydraConfig

    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else []
    return next((os.path.abspath(s.path) for s in sources if s.provider == "command-line"), None)


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu"
