"""The command lines: Hydra's entry point, with errors told in one line and runs that can be found again."""

import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import hydra
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from ncsn.config import closest, slug
from ncsn.errors import ConfigError, UserError
from ncsn.runs.folder import Run, global_rank
from ncsn.runs.sweep import print_sweep

CONF = Path(__file__).parents[3] / "conf"


def main(task: Callable[[DictConfig], Any], config_name: str) -> None:
    """Composes `conf/<config_name>.yaml` with the command line and runs `task` on it, once or for every job.

    A `UserError` ends the program with status 2 and one line on stderr; set HYDRA_FULL_ERROR=1 for a traceback.
    """
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning's, of torch's own
    warnings.filterwarnings("ignore", ".*sync_dist=True.*")  # `Metrics` has reduced them already
    traceback_wanted = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra passes errors on instead of printing them

    def one_job(config: DictConfig) -> Any:
        try:
            return task(config)
        except UserError as error:
            if traceback_wanted or HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            _exit(error, config_name)  # here, where Hydra has no words of its own to add

    try:
        sys.argv[1:] = rewrite(sys.argv[1:], config_name)
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(one_job)()
    except (UserError, HydraException) as error:
        if traceback_wanted:
            raise
        _exit(error, config_name)
    finally:
        if SweepTable.folder is not None:
            print_sweep(SweepTable.folder)


class SweepTable(Callback):
    """Hydra's callback that tells where a sweep is; its table is printed even if jobs fail, or run elsewhere."""

    folder: ClassVar[Path | None] = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        SweepTable.folder = Path(config.hydra.sweep.dir)


def _exit(error: Exception, config_name: str) -> NoReturn:
    print(f"error: {explain(error, config_name)}", file=sys.stderr)
    sys.exit(2)


def explain(error: Exception, config_name: str) -> str:
    """One line for an error of this project or of Hydra's composition; a misspelt key gets a suggestion."""
    if isinstance(error, UserError):
        return str(error)
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    key = re.search(r"Could not override '([^']+)'", text)
    if key is None:
        return text.split(" Config search path")[0]
    cause = " ".join(str(error.__cause__).split("full_key")[0].split()) if error.__cause__ else ""
    parent, _, name = key[1].rpartition(".")
    allowed = _keys_at(parent, config_name)
    while parent and not allowed:  # a part before the last is misspelt already
        parent, _, name = parent.rpartition(".")
        allowed = _keys_at(parent, config_name)
    if not allowed or name in allowed:
        return f"{key[1]}: {cause or text}"
    where = f" of {parent}" if parent else ""
    return f"{key[1]}: no such key{closest(name, allowed)} (keys{where}: {', '.join(allowed)})"


def rewrite(arguments: Sequence[str], config_name: str) -> list[str]:
    """The command line as Hydra is to see it: sweeps get a name, runs are resumed, other ranks leave no folders."""
    arguments = list(arguments)
    if config_name == "train":
        arguments = _name_sweep(arguments) if {"-m", "--multirun"} & set(arguments) else _resume(arguments)
    if global_rank():
        if not any(a.startswith("hydra.run.dir=") for a in arguments):
            arguments.append("hydra.run.dir=.")
        arguments += ["hydra.output_subdir=null", "hydra/job_logging=stdout"]
    return arguments


def _name_sweep(arguments: list[str]) -> list[str]:
    overrides = [a for a in arguments if "=" in a and not a.startswith(("hydra", "resume="))]
    if any(a.startswith("sweep=") for a in overrides):
        return arguments
    return [*arguments, f"sweep={slug('_'.join(overrides))}"]


def _resume(arguments: list[str]) -> list[str]:
    """With `resume=…`, what started the run to resume, in its folder, with `arguments` on top."""
    resume = next((a.partition("=")[2].strip("\"'") for a in arguments if a.startswith("resume=")), "false")
    if resume.lower() in ("false", "null"):
        return arguments
    folder = _newest_run(arguments) if resume.lower() == "true" else _run_of(Path(resume))
    if folder is None:
        return arguments
    record = folder / "overrides.yaml"
    if not record.is_file():
        if Path(resume).is_file():  # a checkpoint on its own continues in a new folder
            return arguments
        raise ConfigError(f"resume={folder}: {record} is missing, so this is no folder of a run")
    overrides = {_key(o): o for o in yaml.safe_load(record.read_text())}
    overrides |= {_key(a): a for a in arguments if "=" in a}
    overrides.setdefault("hydra.run.dir", f"hydra.run.dir='{folder}'")
    return [*(a for a in arguments if "=" not in a), *overrides.values()]


def _run_of(path: Path) -> Path | None:
    try:
        run = Run.of(path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"resume={path}: no such file or folder; give a run's folder, or one of its checkpoints"
        ) from error
    return None if run is None else run.path


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _newest_run(arguments: list[str]) -> Path | None:
    """The newest folder that `arguments` could have made and that holds a checkpoint."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [a for a in arguments if "=" in a and not a.startswith("hydra")])
    parent = Path(config.run_root) / config.name
    runs = [f for f in sorted(parent.glob("*")) if Run(f).checkpoints()] if parent.is_dir() else []
    return runs[-1] if runs else None


def _keys_at(path: str, config_name: str) -> list[str]:
    """Keys of a node in the configuration that the command line's valid part composes."""
    GlobalHydra.instance().clear()
    groups = [a for a in sys.argv[1:] if re.fullmatch(r"[\w/]+=[\w/]+", a)]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for overrides in (groups, []):
            try:
                node: Any = compose(config_name, overrides)
                for part in filter(None, path.split(".")):
                    node = node[part]
                return [str(k) for k in node if not str(k).startswith("_")]
            except Exception:
                continue
    return []
