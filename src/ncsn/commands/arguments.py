"""A command line as Hydra is to see it: options apart from overrides, paths in quotes, sweeps with a name."""

import os
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString, Sweep
from hydra.errors import HydraException

from ncsn.config import slug

OF_THE_CALL = ("resume", "sweep", "trust")  # keys that are no part of what is trained

_TAKE_A_VALUE = {"--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--cfg", "-c"}
_TAKE_A_VALUE |= {"--package", "-p", "--experimental-rerun"}
_STRUCTURES = re.compile(r"""["'\[{(]|\w+\(""")  # quotes, lists, dictionaries, Hydra's functions


def split(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """Overrides, and Hydra's own options with their values; its parser wants the overrides in one piece."""
    overrides: list[str] = []
    options: list[str] = []
    before = ""
    for argument in arguments:
        is_value = before in _TAKE_A_VALUE or (before in ("--info", "-i") and "=" not in argument)
        (options if is_value or argument.startswith("-") else overrides).append(argument)
        before = "" if is_value else argument
    return overrides, options


def config_folders(arguments: Iterable[str]) -> list[str]:
    """The folder of `--config-dir DIR`, if it is given."""
    options = split(arguments)[1]
    pairs = [a.split("=", 1) for a in options if "=" in a] + [list(pair) for pair in pairwise(options)]
    return [pair[1] for pair in pairs if pair[0] in ("--config-dir", "-cd")][-1:]


def search_path(arguments: Iterable[str]) -> list[str]:
    """`--config-dir DIR` as the override that `hydra.compose` takes, which knows no options."""
    folders = config_folders(arguments)
    return [f"hydra.searchpath=[{_quoted('file://' + os.path.abspath(folder))}]" for folder in folders]


def is_multirun(overrides: Iterable[str], options: Iterable[str]) -> bool:
    """Whether the command line asks for a sweep."""
    return not {"-m", "--multirun"}.isdisjoint(options) or "hydra.mode=MULTIRUN" in overrides


def with_name(overrides: Sequence[str]) -> list[str]:
    """A sweep's overrides with a name for its folder: the one given, or one made of what it varies."""
    if any(override.startswith("sweep=") for override in overrides):
        return list(overrides)
    of_the_call = tuple(f"{key}=" for key in OF_THE_CALL)
    varied = [o for o in overrides if "=" in o and not o.startswith(("hydra.", "hydra/", *of_the_call))]
    return [*overrides, f"sweep={slug('_'.join(varied))}"]


def with_texts(overrides: Iterable[str], multirun: bool, folders: Collection[str | Path] = ()) -> list[str]:
    """Overrides whose texts Hydra reads as they were typed.

    A path has its leading ~ expanded, and quotes if Hydra's grammar refuses it; a choice of a group that looks like a
    number or null has quotes, because choices are names of files. In a multirun, commas separate values, as they do
    for Hydra.

    Args:
        folders: of configurations; what is a folder in them is a group.
    """
    parser = OverridesParser.create()

    def parsed(override: str) -> Any:
        try:
            return parser.parse_override(override).value()
        except HydraException:
            return HydraException

    def as_hydra_reads_it(override: str) -> str:
        key, sign, value = override.partition("=")
        name = key.lstrip("+~").partition("@")[0]
        is_group = bool(name and sign) and any(os.path.isdir(os.path.join(folder, name)) for folder in folders)

        def read(part: str) -> str:
            found = parsed(f"{key}={part}")
            if found is HydraException or part.startswith("~"):
                return _quoted(os.path.expanduser(part))
            return part if isinstance(found, str | list | dict | Sweep) or not is_group else _quoted(part)

        if _STRUCTURES.match(value) or not sign:
            return override
        if parsed(override) is not HydraException and not value.startswith("~") and not is_group:
            return override
        quoted = f"{key}={','.join(read(part) for part in (value.split(',') if multirun else [value]))}"
        return override if parsed(quoted) is HydraException else quoted  # Hydra says what is wrong with it

    return [as_hydra_reads_it(override) for override in overrides]


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()
