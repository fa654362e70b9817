"""The command lines: `ncsn <command> …`, and Hydra's entry point, with errors of one line and runs found again.

What this module imports is paid for at every start, a misspelt key and `--help` included. So a command's module,
and with it PyTorch and Lightning, is imported once its configuration is composed.
"""

import importlib.metadata
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, TextIO

import hydra
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, read_write

from ncsn.commands.arguments import config_folders, is_multirun, search_path, split, with_name, with_texts
from ncsn.commands.completion import OPTIONS, handed_to_hydra
from ncsn.commands.ending import as_user_error, exit_with, interruptible, rank
from ncsn.commands.resume import resumed
from ncsn.config import closest
from ncsn.errors import UserError
from ncsn.runs.sweep import print_sweep

_PACKAGE = Path(__file__).parents[1]
CONF = next(p for p in (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf") if p.is_dir())  # installed, or a checkout

COMPOSED = {  # commands with a configuration: conf/<name>.yaml, given to a function
    "train": "ncsn.commands.train.train",
    "sample": "ncsn.commands.sample.sample",
    "evaluate": "ncsn.commands.evaluate.evaluate",
    "noise": "ncsn.commands.noise.show",
    "studio": "ncsn.commands.studio.studio",
}
PLAIN = {  # commands with arguments of their own: a function of their list
    "convert": "ncsn.commands.checkpoint.convert",
    "push": "ncsn.commands.checkpoint.push",
    "report": "ncsn.commands.report.report",
    "list": "ncsn.commands.choices.choices",
    "doctor": "ncsn.commands.doctor.doctor",
}
HELP = """usage: ncsn <command> [key=value …]

Score-based generative modelling with noise conditional score networks.

  train      train a score network              ncsn train data=cifar10
  sample     draw samples, or restore images    ncsn sample ckpt=runs/…
  evaluate   score samples                      ncsn evaluate ckpt=runs/…
  noise      noise levels for a data set        ncsn noise data=cifar10
  studio     play, on a page in the browser     ncsn studio ckpt=runs/…
  convert    checkpoints from format to format  ncsn convert in.pth out.safetensors
  push       share a checkpoint on the Hub      ncsn push runs/… user/repo
  report     write the report of a run anew     ncsn report runs/…
  list       what there is to choose from       ncsn list sampler
  doctor     look at this machine               ncsn doctor

The first minutes: ncsn doctor; ncsn train experiment=demo; ncsn sample ckpt=runs/demo/…
ncsn <command> --help lists what a command takes; ncsn --version prints the version;
eval "$(ncsn --shell-completion install=bash)" has the shell complete all of it."""


# Threads that wait for work sleep. By default they spin, and beside other work a step takes ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def keep_compiled() -> None:
    """What is compiled is kept in the user's cache folder, if there is one, before an import of PyTorch settles it.

    PyTorch's choice is a folder below /tmp, which others can write beside and the next start of the machine empties.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.access(cache, os.W_OK):
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(cache, "ncsn", "compiled"))


keep_compiled()


def main(arguments: list[str] | None = None) -> None:
    """The command `ncsn`, and `python -m ncsn`; `arguments` instead of those of the process."""
    if arguments is not None:
        sys.argv[1:] = arguments
    if sys.argv[1:2] and sys.argv[1] in OPTIONS and not handed_to_hydra(COMPOSED, PLAIN):
        return
    command, *rest = sys.argv[1:] or ["--help"]
    if command in COMPOSED:
        run(command, words=2)
    elif command in PLAIN:
        try:
            with interruptible():
                _import(PLAIN[command])(rest)
        except Exception as error:
            told = as_user_error(error)
            if told is None or _traceback_wanted():
                raise
            exit_with(str(told))
    elif command in ("--help", "-h", "help"):
        print(HELP)
    elif command == "--version":
        print(f"ncsn {importlib.metadata.version('ncsn')}")
    else:
        commands = [*COMPOSED, *PLAIN]
        exit_with(f"{command}: no such command{closest(command, commands)} (commands: {', '.join(commands)})")


def run(command: str, words: int = 1) -> None:
    """Composes `conf/<command>.yaml` with the command line and runs the command on it, once or for every job.

    A `UserError` ends the program with status 2 and one line on stderr; set HYDRA_FULL_ERROR=1 for a traceback.

    Args:
        command: a name in `COMPOSED`.
        words: how many words of `sys.argv` start the command, `train.py` or `ncsn train`.
    """
    traceback_wanted = _traceback_wanted()
    _tell_warnings_in_one_line()
    logging.raiseExceptions = False  # a log on a full disk is told once, by what else cannot be written
    SweepTable.folder = None
    start, arguments = sys.argv[:words], sys.argv[words:]

    composed = False

    def one_job(config: DictConfig) -> Any:
        nonlocal composed
        composed = True
        sys.argv = [*start, *arguments]  # what Lightning starts again for other devices, and what run.json records
        os.environ["HYDRA_FULL_ERROR"] = str(int(traceback_wanted))  # which inherit it
        try:
            task = _import(COMPOSED[command])
            _leave_logging_to_hydra()
            return task(config)
        except Exception as error:
            told = as_user_error(error)
            if told is None or traceback_wanted:
                raise
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise told from error.__cause__
            exit_with(str(told))  # here, where Hydra has no words of its own to add
        finally:
            os.environ["HYDRA_FULL_ERROR"] = "1"

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra passes errors on instead of printing them
    try:
        with interruptible():
            arguments = rewrite(arguments, command)
            sys.argv = [start[0], *arguments]  # where Hydra reads them
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=command)(one_job)()
    except (UserError, HydraException) as error:
        if traceback_wanted:
            raise
        exit_with(explain(error, command, arguments))
    except Exception as error:
        if traceback_wanted or composed:
            raise
        exit_with(explain(error, command, arguments))  # Hydra has many for arguments and files that it cannot read
    finally:
        os.environ["HYDRA_FULL_ERROR"] = str(int(traceback_wanted))
        if SweepTable.folder is not None:
            print_sweep(SweepTable.folder)


class SweepTable(Callback):
    """Hydra's callback that notes where a sweep is; its table is printed even if jobs fail, or run elsewhere."""

    folder: ClassVar[Path | None] = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        SweepTable.folder = Path(config.hydra.sweep.dir)


class OwnFolder(Callback):
    """Hydra's callback that gives a new run a folder of its own, also where another started in the same second."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        if any(override.startswith("hydra.run.dir=") for override in config.hydra.overrides.hydra):
            return
        path = named = Path(config.hydra.run.dir)
        for number in count(2):
            try:
                path.mkdir(parents=True)
                break
            except FileExistsError:
                path = named.with_name(f"{named.name}_{number}")
            except OSError:  # Hydra, which makes it next, says why: of what goes wrong in here it tells at length
                return
        with read_write(config):
            config.hydra.run.dir = str(path)


def rewrite(arguments: Sequence[str], command: str) -> list[str]:
    """The command line as Hydra is to see it: paths quoted, sweeps named, runs resumed, one folder for all processes.

    Raises:
        UserError: there is no run to resume.
    """
    overrides, options = split(arguments)
    multirun = is_multirun(overrides, options)
    overrides = with_texts(overrides, multirun, [CONF, *config_folders(options)])
    arguments = [*overrides, *options]
    if command == "train":
        arguments = [*with_name(overrides), *options] if multirun else resumed(overrides, options, CONF)
    if rank():
        if not any(a.startswith("hydra.run.dir=") for a in arguments):
            arguments = ["hydra.run.dir=.", *arguments]
        arguments = ["hydra.output_subdir=null", "hydra/job_logging=stdout", *arguments]
    return arguments


def explain(error: Exception, command: str, arguments: Sequence[str]) -> str:
    """One line for an error of this project or of Hydra's composition; a misspelt key gets a suggestion."""
    told = None if isinstance(error, HydraException) else as_user_error(error)
    if told is not None:
        return str(told)
    if isinstance(error, yaml.YAMLError | UnicodeDecodeError | RecursionError):
        return f"a configuration cannot be read: {error}"
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if not text:  # of a choice of a group
        return f"{' '.join(a for a in arguments if '${' in a)}: cannot be read: {error.__cause__}"
    key = re.search(r"Could not override '([^']+)'", text)
    if key is None:
        return text.split(" Config search path")[0]
    cause = " ".join(str(error.__cause__).split("full_key")[0].split()) if error.__cause__ else ""
    parent, _, name = key[1].rpartition(".")
    allowed = _keys_at(parent, command, arguments)
    while parent and not allowed:  # a part before the last is misspelt already
        parent, _, name = parent.rpartition(".")
        allowed = _keys_at(parent, command, arguments)
    if not allowed or name in allowed:
        return f"{key[1]}: {cause or text}"
    where = f" of {parent}" if parent else ""
    return f"{key[1]}: no such key{closest(name, allowed)} (keys{where}: {', '.join(allowed)})"


def _keys_at(path: str, command: str, arguments: Sequence[str]) -> list[str]:
    """Keys of a node in the configuration that the command line's valid part composes."""
    GlobalHydra.instance().clear()
    groups = [a for a in split(arguments)[0] if re.fullmatch(r"[\w/]+=[\w/]+", a)]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for overrides in (groups, []):
            try:
                node: Any = compose(command, [*search_path(arguments), *overrides])
                for part in filter(None, path.split(".")):
                    node = node[part]
                return [str(k) for k in node if not str(k).startswith("_")]
            except Exception:
                continue
    return []


def _import(name: str) -> Callable[..., Any]:
    module, _, function = name.rpartition(".")
    return getattr(import_module(module), function)


def _leave_logging_to_hydra() -> None:
    """Lightning's messages go where Hydra's configuration says, once; its own handlers would print them again."""
    for name in ("lightning", "lightning.fabric", "lightning.pytorch"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def _tell_warnings_in_one_line() -> None:
    """Prints each warning once, by the first process, without the line of code that it came from."""
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # Lightning's, of torch's own
    warnings.filterwarnings("ignore", ".*sync_dist=True.*")  # `Metrics` has reduced them already
    told = set()

    def show(message: Warning | str, *_: Any, file: TextIO | None = None, **__: Any) -> None:
        text = " ".join(str(message).split())
        if text not in told and not rank():
            print(f"warning: {text}", file=file or sys.stderr)
        told.add(text)

    warnings.showwarning = show


def _traceback_wanted() -> bool:
    return os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
