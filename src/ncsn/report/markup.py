"""HTML and SVG by a function: what is not markup already is escaped."""

import html
from collections.abc import Iterable
from typing import TypeAlias

VOID = {"br", "img", "meta"}


class Markup(str):
    """Finished HTML."""

    __slots__ = ()


Content: TypeAlias = "str | Iterable[Content] | None"
"""Markup, text to be escaped, nothing, or any of these in order."""


def tag(element: str, /, *content: Content, **attributes: str | float | bool | None) -> Markup:
    """An element; `class_` is the attribute class, `stroke_width` is stroke-width; one that is None is left out."""
    start = element
    for key, value in attributes.items():
        if value is True:
            start += f" {_attribute(key)}"
        elif value is not None and value is not False:
            start += f' {_attribute(key)}="{html.escape(str(value))}"'
    return Markup(f"<{start}>" if element in VOID else f"<{start}>{join(content)}</{element}>")


def join(content: Content) -> Markup:
    """Pieces of a page in order."""
    if content is None:
        return Markup()
    if isinstance(content, Markup):
        return content
    if isinstance(content, str):
        return Markup(html.escape(content, quote=False))
    return Markup("".join(map(join, content)))


def _attribute(key: str) -> str:
    return key.removesuffix("_").replace("_", "-")
