"""`resume=…`: a run goes on as it was started, with what the command line changes on top.

What started it stands in its folder, in overrides.yaml and run.json. A folder may come from anybody, so that its
record sets plain values and chooses groups, and no more. It reaches nothing of Hydra's own, names only classes that
`ncsn.checkpoint.trust` lists or that the user trusts, and leads to no file elsewhere. What the command line gives is
the user's own word, and takes the place of what is recorded.
"""

import os
import re
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from ncsn.commands.arguments import search_path
from ncsn.errors import ConfigError, DataError, shown
from ncsn.files import check_folder, read_yaml
from ncsn.runs.folder import Run

_NOT_RECORDED = ("resume", "trust")  # they are said anew


def resumed(overrides: Sequence[str], options: Sequence[str], conf: Path) -> list[str]:
    """A command line with `resume=…` as one that starts the run again, in its folder; any other as it is.

    Args:
        overrides: of the command line.
        options: Hydra's, `--config-dir` among them.
        conf: the folder of the configurations.

    Raises:
        UserError: there is no such run, or its record is damaged, or asks for more than a record may.
    """
    resume = _value_of("resume", overrides)
    if resume in (None, False):
        return [*overrides, *options]
    run = _newest_run(overrides, options, conf) if resume is True else _run_of(Path(str(resume)))
    record = None if run is None else run.path / "overrides.yaml"
    if run is None or record is None:
        return [*overrides, *options]
    if not record.is_file():
        if Path(str(resume)).is_file():  # a checkpoint on its own continues in a new folder
            return [*overrides, *options]
        raise ConfigError(f"resume={run.path}: {record} is missing, so this is no folder of a run")

    check_folder(run.path)
    given = {_key(override): override for override in overrides}
    trust = _value_of("trust", overrides) or []
    recorded = {_key(o): o for o in _read(record) if _key(o) not in _NOT_RECORDED}
    for key, override in recorded.items():
        if key not in given:
            _check_override(override, record, trust)
    whole = recorded | given
    if not search_path(options):
        _check_config_folder(run)
    whole.setdefault("hydra.run.dir", f"hydra.run.dir={_quoted(str(run.path))}")
    return [*whole.values(), *options]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _value_of(key: str, overrides: Sequence[str]) -> Any:
    """What the command line says of a key at the top level; None if nothing."""
    said = [override for override in overrides if _key(override) == key]
    return OverridesParser.create().parse_override(said[-1]).value() if said else None


def _run_of(path: Path) -> Run | None:
    if not (os.path.isfile(path) or os.path.isdir(path)):  # which are False of what can be no path
        raise ConfigError(f"resume={path}: no such file or folder; give a run's folder, or one of its checkpoints")
    return Run.of(path)


def _newest_run(overrides: Sequence[str], options: Sequence[str], conf: Path) -> Run | None:
    """The newest run that the command line could have started and that has a checkpoint."""
    own = [o for o in overrides if not _key(o).startswith(("hydra.", "hydra/"))]
    with initialize_config_dir(str(conf), version_base="1.3"):
        config = compose("train", [*search_path(options), *own])
    parent = Path(config.run_root) / config.name
    runs = [Run(folder) for folder in sorted(parent.glob("*"))] if parent.is_dir() else []
    return next((run for run in reversed(runs) if run.checkpoints()), None)


def _read(record: Path) -> list[str]:
    overrides = read_yaml(record, "restore it, or start another run")
    if not isinstance(overrides, list) or not all(isinstance(override, str) for override in overrides):
        raise DataError(f"{record}: damaged (expected a list of overrides, key=value)")
    return overrides


def _check_override(text: str, record: Path, trust: Collection[str]) -> None:
    """Refuses an override of a record that does more than set plain values or choose a group.

    Raises:
        DataError: with how to give it on the command line instead.
    """
    from ncsn.checkpoint.trust import refusals

    try:
        override = OverridesParser.create().parse_override(text)
    except (HydraException, RecursionError) as error:
        raise DataError(f"{record}: damaged ({shown(text)} is no override, key=value)") from error
    reason = _reaches(override) or ("is an interpolation" if "${" in text else None)
    reason = reason or next(refusals(override.value(), override.key_or_group, trust), None)
    if reason is not None:
        raise DataError(
            f"{record}: refused, and nothing in it was run: {shown(text)} {reason}; if it is meant, give it on the "
            f"command line: {shlex.quote(shown(text))}"
        )


def _reaches(override: Override) -> str | None:
    """What an override reaches beyond the keys of a configuration."""
    if re.split(r"[./]", override.key_or_group)[0] == "hydra":
        return "sets what is Hydra's own"
    if override.package is not None:
        return "puts a group elsewhere"
    return "is a sweep" if override.is_sweep_override() else None


def _check_config_folder(run: Run) -> None:
    """Refuses to go on without the user's own configurations that a run was started with; a record is not followed.

    Raises:
        ConfigError: with the option that is missing.
    """
    if run.config_folder is not None:
        folder = shlex.quote(shown(run.config_folder))
        raise ConfigError(
            f"resume={run.path}: was started with configurations of its own, which a record cannot choose; give them "
            f"again: --config-dir {folder}"
        )


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()
