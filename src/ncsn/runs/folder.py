"""The folder of a run: enough to find out next week what it was, and to go on with it.

    runs/mnist/2026-11-21_22-57-03/
        config.yaml      the resolved configuration
        overrides.yaml   what the command line changed in it; `resume` starts from there
        run.json         git revision, command, versions, machine, W&B id
        train.log        what was printed
        metrics.csv      a row a logged step
        checkpoints/     step_0005000.ckpt, …, and last.ckpt, a link to the newest
        pictures/        samples while training
        samples/         what sample.py made of its checkpoints
        result.json      how it ended: metrics, or the error

A sweep is a folder of such folders, with one table, results.csv.
"""

import importlib.metadata
import json
import platform
import shlex
import subprocess
import sys
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

from ncsn.errors import ConfigError
from ncsn.files import write_text


def global_rank() -> int:
    """This process among those of a run, known before and after Lightning has started the others."""
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    return rank_zero_only.rank  # type: ignore[attr-defined]


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of a run's folder with the most steps, or None."""
    return max((folder / "checkpoints").glob("step_*.ckpt"), default=None, key=lambda p: p.name)


def run_folder_of(path: Path) -> Path:
    """The run's folder for itself, or for one of its checkpoints.

    Raises:
        ConfigError: there is no such file or folder.
    """
    if path.is_dir():
        return path
    if path.is_file():
        return path.absolute().parent.parent
    raise ConfigError(f"resume={path}: no such file or folder; give a run's folder, or one of its checkpoints")


def record_run(folder: Path) -> dict[str, Any]:
    """Writes `run.json`, or reads it if the run was started before; its `id` names the run on W&B."""
    import torch

    path = folder / "run.json"
    if path.is_file():
        return json.loads(path.read_text())
    packages = ("torch", "lightning", "hydra-core", "omegaconf", "numpy")
    record = {
        "id": uuid.uuid4().hex[:8],
        "started": datetime.now().isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "git": git_revision(),
        "versions": {"python": platform.python_version(), "ncsn": importlib.metadata.version("ncsn")}
        | {p: importlib.metadata.version(p) for p in packages},
        "machine": platform.node(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu",
    }
    write_text(path, json.dumps(record, indent=2))
    return record


def git_revision() -> str | None:
    """The commit of this project's checkout, with "+changes" where files differ from it; None outside of git."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        revision = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return revision.stdout.strip() + ("+changes" if status.stdout.strip() else "")


def write_result(folder: Path, **result: Any) -> None:
    """Writes `result.json`."""
    write_text(folder / "result.json", json.dumps(result, indent=2))


def read_result(folder: Path) -> dict[str, Any] | None:
    """How the run of a folder ended, or None if it did not."""
    path = folder / "result.json"
    return json.loads(path.read_text()) if path.is_file() else None
