"""`ncsn list`: what there is to choose from, in the words of the configuration itself."""

import re
import shutil
import textwrap
from pathlib import Path

from ncsn.commands.cli import CONF
from ncsn.commands.ending import Parser
from ncsn.config import closest
from ncsn.errors import ConfigError

GROUPS = {  # of `conf`, and what their choices are
    "data": "data sets",
    "model": "networks",
    "condition": "what a network is given beside noise",
    "noise": "levels of noise",
    "objective": "objectives",
    "sampler": "samplers",
    "task": "what is drawn",
    "experiment": "published runs, and short ones",
}


def choices(arguments: list[str]) -> None:
    """Prints the choices of all groups, or of those that are named, a line each.

    Raises:
        ConfigError: there is no such group.
    """
    parser = Parser("ncsn list", description="What there is to choose from, as group=choice.")
    parser.add_argument("group", nargs="*", help=", ".join(GROUPS))
    groups = parser.parse_args(arguments).group or list(GROUPS)
    for group in groups:
        if group not in GROUPS:
            raise ConfigError(f"{group}: no such group{closest(group, GROUPS)} (groups: {', '.join(GROUPS)})")
    columns = max(shutil.get_terminal_size((120, 24)).columns, 80)
    for group in groups:
        print(f"{group}=…  {GROUPS[group]}")
        files = sorted((CONF / group).glob("*.yaml"), key=_by_number)
        names = max(len(file.stem) for file in files)
        for file in files:
            print(f"  {file.stem:{names}}  {textwrap.shorten(about(file), columns - names - 4, placeholder=' …')}")


def _by_number(file: Path) -> list[str | int]:
    """ald_30 before ald_100."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.stem)]


def about(file: Path) -> str:
    """The first line of the comment that a file of `conf` begins with, or nothing."""
    lines = file.read_text(encoding="utf-8").splitlines()
    first = next(line for line in lines if not line.startswith("# @package"))
    return first.lstrip("# ") if first.startswith("#") else ""
