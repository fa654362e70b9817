"""What the sections of a report are made of: facts, tables, pictures."""

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ncsn.report.markup import Content, Markup, tag
from ncsn.report.numbers import in_words, shortened
from ncsn.runs.contents import check_picture

FIRST, SECOND, THIRD = "var(--first)", "var(--second)", "var(--third)"
"""Colours of lines."""

NO_VALUE = "–"

Fact = tuple[str, Content]
"""A name, and what it has to say."""


class Section(NamedTuple):
    """A part of the page with a heading."""

    id: str
    title: str
    content: Content


def facts_list(facts: Iterable[Fact]) -> Markup | None:
    entries = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts]
    return tag("dl", entries, class_="facts") if entries else None


def table_of(
    heads: Sequence[str],
    groups: Sequence[Sequence[Sequence[Content]]],
    numeric: set[int],
    names: Sequence[str] = (),
) -> Markup:
    """A table in a box that scrolls where it is too wide; a group of rows may have a name."""

    def kind(column: int) -> str | None:
        return "number" if column in numeric else None

    top = tag("tr", [tag("th", head, scope="col", class_=kind(column)) for column, head in enumerate(heads)])
    bodies = []
    for number, rows in enumerate(groups):
        name = None
        if names:
            name = tag("tr", tag("th", names[number], scope="colgroup", colspan=len(heads)), class_="group")
        cells = [tag("tr", [tag("td", cell, class_=kind(c)) for c, cell in enumerate(row)]) for row in rows]
        bodies.append(tag("tbody", name, cells))
    return tag("div", tag("table", tag("thead", top), bodies), class_="scroll", tabindex="0")


def picture_of(path: Path, caption: str, class_: str | None = None) -> Markup:
    width, height = check_picture(path)
    data = base64.b64encode(path.read_bytes()).decode()
    image = tag("img", src=f"data:image/png;base64,{data}", alt=caption or "samples", width=width, height=height)
    box = tag("div", image, class_="scroll", tabindex="0") if class_ == "strip" else image
    return tag("figure", box, tag("figcaption", caption) if caption else None, class_=class_)


def checksum_of(value: Any) -> Markup | None:
    return tag("code", shortened(str(value)), class_="checksum") if value else None


def in_percent(share: Any) -> str:
    return f"{100 * share:.1f} %" if isinstance(share, int | float) else in_words(share)


def as_node(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
