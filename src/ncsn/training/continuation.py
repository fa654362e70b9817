"""Which checkpoint a run goes on from."""

import inspect
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from ncsn.checkpoint.reading import check_resumable
from ncsn.errors import ConfigError, DataError, shown
from ncsn.runs.folder import Run, global_rank

log = logging.getLogger(__name__)

_OF_THE_CALL = ("resume", "sweep", "trust")


def checkpoint_to_resume(
    run: Run, resume: bool | str | None, config: dict[str, Any], *, in_sweep: bool
) -> Path | None:
    """The newest good checkpoint, which training goes on from; it is one of this network and these noise levels.

    Raises:
        UserError: there is none, it is damaged, or it is of another network.
    """
    candidates = run.checkpoints()[::-1]
    if isinstance(resume, str) and Path(resume).is_file():
        candidates = [Path(resume)]
    elif not candidates and isinstance(resume, str):
        raise ConfigError(f"resume={resume}: holds no checkpoint (checkpoints/step_*.ckpt); start it again without")
    elif candidates and not resume and not in_sweep:
        if global_rank():  # whose folder is the working folder, until it resumes
            return None
        raise ConfigError(
            f"hydra.run.dir={run.path}: holds a run already; go on with it (resume=true) or name another"
        )
    for checkpoint in candidates:
        try:
            before = check_resumable(checkpoint)
        except DataError as error:
            if checkpoint is candidates[-1]:
                raise
            log.warning(f"{error}; the run goes on from the checkpoint before")
            continue
        check_same_model(before, config)
        if changed := _changes(before, config):
            log.info(f"changed since {checkpoint.name}: {', '.join(changed)}")
        return checkpoint
    return None


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What the configuration says otherwise than the checkpoint's, by the command line or an edited record."""
    old, new = (dict(_leaves(config, "")) for config in (before, now))
    return [
        f"{key}={shown(new.get(key))} (was {shown(value)})"
        for key, value in old.items()
        if value != new.get(key) and key not in _OF_THE_CALL
    ]


def _leaves(node: dict[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        inner = f"{key}.{name}" if key else name
        if isinstance(value, dict):
            yield from _leaves(value, inner)
        else:
            yield inner, value


def check_same_model(before: dict[str, Any], now: dict[str, Any]) -> None:
    """A checkpoint continues only with the network, noise levels, condition and optimiser it was trained with."""
    for group in ("model", "noise"):
        if not isinstance(before.get(group), dict):
            raise DataError(f"resume: the checkpoint's configuration has no {group}; it cannot be continued")
        for key in before[group].keys() | now[group].keys():
            old, new = before[group].get(key, _default(now[group]["_target_"], key)), now[group].get(key)
            if old != new:
                raise ConfigError(f"{group}.{key}={new}: the run to resume has {old}; leave it, or start a new run")
    for group, key in (
        ("condition", "_target_"),
        ("condition", "names"),
        ("data", "attribute"),
        ("optimizer", "_target_"),
        ("scheduler", "max_time"),
    ):
        old, new = ((config.get(group) or {}).get(key) for config in (before, now))
        if old != new and (group != "scheduler" or None in (old, new)):  # one of two schedules goes by the time
            raise ConfigError(f"{group}.{key}={new}: the run to resume has {old}; leave it, or start a new run")


def _default(target: str, name: str) -> Any:
    """What an argument is where a configuration is older than it."""
    parameter = inspect.signature(get_object(target)).parameters.get(name)
    return None if parameter is None or parameter.default is parameter.empty else parameter.default
