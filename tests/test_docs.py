"""What the documents say can be typed: commands compose and pass the checks, links lead somewhere.

Nothing is run. Blocks of shell are read by bash itself, with a function in place of every program, so that loops,
variables and functions come out as the commands that a reader's shell would start. Commands in the text count too.
"""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from composing import asked, composed
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException

from ncsn.commands import checkpoint, choices, evaluate, report
from ncsn.commands.arguments import is_multirun, search_path, split, with_texts
from ncsn.commands.cli import COMPOSED, CONF, PLAIN
from ncsn.commands.completion import OPTIONS
from ncsn.config import check
from ncsn.training.budget import is_auto, resolve_width
from ncsn.training.classes import resolve_conditions

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SETTINGS = {name: import_module(f"ncsn.commands.{name}").SETTINGS for name in COMPOSED}
MISSPELT = ("ncsn", "train", "noise.sigma_mx=1")  # to measure how soon it is told
SHELL = r"""
PATH=/nonexistent
exec 3>&1 >/dev/null
command_not_found_handle() { printf -v typed '%s\037' "$here" "$@"; printf '%s\036' "$typed" >&3; }
source() { :; }
"""

Command = tuple[str, ...]


def in_blocks(page: Path) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def in_text(page: Path) -> list[str]:
    """Commands between backticks, with arguments: a name alone is only mentioned."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]
    named = re.compile(r"ncsn \w+ \S|ncsn list|(python|make|pip) [^-]")
    return [span for span in spans if named.match(span) and "<" not in span]


def commands() -> list[Command]:
    """Every command of every page: the page, the program, its arguments."""
    script = [SHELL]
    for page in PAGES:
        name = page.relative_to(ROOT).as_posix()
        typed = [*in_blocks(page), *([] if name == "CHANGELOG.md" else in_text(page))]  # which tells of what was
        script += [f"(\nhere={name}\n{block}\n)" for block in typed]
    bash = ["bash", "--norc", "-c", "\n".join(script)]
    process = subprocess.run(bash, capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert not process.stderr, process.stderr
    lines = process.stdout.split("\036")[:-1]
    return sorted({tuple(line.split("\037")[:-1]) for line in lines})


COMMANDS = commands()


@pytest.fixture(scope="module", autouse=True)
def _reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """In a folder that has the experiment of the reader's own that the pages speak of."""
    folder = tmp_path_factory.mktemp("reader")
    mine = folder / "my_conf" / "experiment" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("# @package _global_\nname: mine\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


def jobs(arguments: list[str], command: str) -> Iterator[list[str]]:
    """The overrides of a command, of a sweep those of so many of its jobs that each value is there once."""
    overrides, options = split(arguments)
    multirun = is_multirun(overrides, options)
    parsed = OverridesParser.create().parse_overrides(with_texts(overrides, multirun, [CONF]))
    choices = [
        [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()] if o.is_sweep_override() else None
        for o in parsed
    ]
    for job in range(max(len(choice or [0]) for choice in choices) if choices else 1):
        given = [c[job % len(c)] if c else o.input_line for c, o in zip(choices, parsed, strict=True)]
        yield [*search_path(arguments), *given]


def composes(command: str, arguments: list[str]) -> None:
    for overrides in jobs(arguments, command):
        config = asked(overrides, command)
        if command == "train" and is_auto(config):  # what a run would find out
            config.model.num_filters = 16
        if command == "train" and config.compile == "auto":  # the same
            config.compile = True
        config = check(resolve_width(config) if command == "train" else config, SETTINGS[command])
        if command == "train":
            resolve_conditions(config)
        if command == "evaluate":
            evaluate._check_combination(config, evaluate._task(config) == "Restore")


class Reached(Exception):
    """The arguments were understood."""


def parses(command: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def reached(*_: object) -> None:
        raise Reached

    monkeypatch.setattr(checkpoint, "_load", reached)
    monkeypatch.setattr("ncsn.report.write_report", reached)
    with pytest.raises(Reached):
        {"convert": checkpoint.convert, "push": checkpoint.push, "report": report.report}[command](arguments)


@pytest.mark.parametrize("line", sorted({c[1:] for c in COMMANDS if c[1] == "ncsn" or "train.py" in c}), ids=" ".join)
def test_commands_compose(line: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*line]
    if "train.py" in words:  # python, or torchrun
        words = ["ncsn", "train", *words[words.index("train.py") + 1 :]]
    _, command, *arguments = words
    if command in OPTIONS:
        assert arguments == ["install=bash"]
    elif line == MISSPELT:
        with pytest.raises(ConfigCompositionException):
            composed(arguments, command)
    elif command in COMPOSED:
        composes(command, [argument for argument in arguments if argument != "…"])
    elif command == "list":
        choices.choices(arguments)
    elif command == "doctor":
        assert arguments == []
    else:
        assert command in PLAIN
        parses(command, arguments, monkeypatch)


def test_other_programs_find_what_they_name() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for page, program, *arguments in COMMANDS:
        first = arguments[0] if arguments else ""
        if program == "make":
            assert first in targets, (page, first)
        elif program == "pip":
            named = {extra for word in arguments if "[" in word for extra in word.split("[")[1].strip("]").split(",")}
            assert named <= set(extras), (page, arguments)
        elif program == "python":
            assert (ROOT / first).is_file(), (page, first)
            source = "".join(path.read_text("utf-8") for path in (ROOT / first).parent.glob("*.py"))
            given = {word.split("=")[0] for word in arguments[1:] if word.startswith("--")}
            assert all(f'"{option}"' in source for option in given), (page, arguments)
        else:
            assert program in ("ncsn", "pre-commit", "srun", "torchrun"), (page, program)


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S), re.M)
    plain = [re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading)).lower() for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$|`[^`]*`", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", text):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), target
        assert not anchor or anchor in slugs(there), f"{target}#{anchor}"


def test_readme_is_short_and_its_table_has_evidence() -> None:
    readme = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(readme) <= 120
    assert max(map(len, readme)) <= 120

    def rows(lines: list[str]) -> dict[str, list[bool]]:
        cells = [[cell.strip() for cell in re.split(r"\|", line)[1:-1]] for line in lines if line.startswith("| ")]
        return {name: [bool(cell) for cell in row] for name, *row in cells if len(row) == 7 and name}

    shown, evidence = rows(readme), rows((ROOT / "docs" / "peers.md").read_text("utf-8").splitlines())
    assert shown == evidence
    assert len(shown) > 10
