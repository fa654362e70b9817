"""What the sections of a report are made of, as plain data; `templates/elements.html.jinja` draws it."""

import base64
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ncsn.report.numbers import in_digits, in_words, node_name, shortened
from ncsn.runs.contents import Node, Samples, check_picture

WEIGHTS = {"ema": "EMA", "raw": "raw"}


class Fact(NamedTuple):
    """A name, and what is known under it: text, code or a checksum, or several of these."""

    name: str
    text: str = ""
    code: str = ""
    checksum: str = ""


class Picture(NamedTuple):
    """A PNG in base64."""

    data: str
    width: int
    height: int
    caption: str


class Heading(NamedTuple):
    """What a folder of samples is, and its name on disk."""

    title: str
    folder: str


def known(facts: Iterable[Fact]) -> list[Fact]:
    """The facts that say something."""
    return [fact for fact in facts if any(fact[1:])]


def setting(name: str, node: Node, key: str, words: Callable[[Any], str] = in_words) -> Fact:
    """A value in words; an empty fact if the node has no such key."""
    return Fact(name, words(node[key]) if key in node else "")


def weights_in_words(weights: Any) -> str:
    return WEIGHTS.get(str(weights), in_words(weights))


def checksum_of(value: Any) -> str:
    return shortened(str(value)) if value else ""


def as_node(value: Any) -> Node:
    return value if isinstance(value, dict) else {}


def picture_of(path: Path, caption: str = "") -> Picture:
    """Raises DataError if the picture is damaged."""
    width, height = check_picture(path)
    return Picture(base64.b64encode(path.read_bytes()).decode(), width, height, caption)


def heading_of(folder: Samples) -> Heading:
    """Task, checkpoint and weights in words."""
    about = (folder.evaluation.checkpoint if folder.evaluation else None) or {}
    name = Path(str(folder.settings.get("checkpoint") or about.get("path") or "")).stem
    numbers = [match[1] for text in (name, folder.path.name) if (match := re.match(r"step_(\d+)", text))]
    step = about.get("step", int(numbers[0]) if numbers else None)
    weights = folder.settings.get("weights") or about.get("weights")
    task = node_name(as_node(folder.settings.get("task")))
    words = [
        task if task != "Generate" else "",
        f"step {in_digits(step)}" if isinstance(step, int) else name,
        f"{weights_in_words(weights)} weights" if weights else "",
    ]
    title = ", ".join(filter(None, words)) or folder.path.name
    return Heading(title[:1].upper() + title[1:], folder.path.name)
