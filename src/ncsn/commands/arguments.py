"""A command line as Hydra is to see it: options apart from overrides, paths in quotes, sweeps with a name."""

import os
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
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


def search_path(arguments: Iterable[str]) -> list[str]:
    """`--config-dir DIR` as the override that `hydra.compose` takes, which knows no options."""
    options = split(arguments)[1]
    pairs = [a.split("=", 1) for a in options if "=" in a] + [list(pair) for pair in pairwise(options)]
    folders = [pair[1] for pair in pairs if pair[0] in ("--config-dir", "-cd")]
    return [f"hydra.searchpath=[{_quoted('file://' + os.path.abspath(folder))}]" for folder in folders[-1:]]


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


def with_paths(overrides: Iterable[str], multirun: bool) -> list[str]:
    """Overrides whose paths Hydra reads as they were typed: a leading ~ expanded; quoted if its grammar refuses them.

    In a multirun, commas separate values, as they do for Hydra.
    """
    parser = OverridesParser.create()

    def is_valid(override: str) -> bool:
        try:
            parser.parse_override(override)
        except HydraException:
            return False
        return True

    def as_hydra_reads_it(override: str) -> str:
        key, _, value = override.partition("=")
        if _STRUCTURES.match(value) or (is_valid(override) and not value.startswith("~")):
            return override
        parts = value.split(",") if multirun else [value]
        taken = [part if is_valid(f"{key}={part}") else _quoted(os.path.expanduser(part)) for part in parts]
        quoted = f"{key}={','.join(taken)}"
        return quoted if is_valid(quoted) else override  # Hydra says what is wrong with it

    return [as_hydra_reads_it(override) for override in overrides]


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()
