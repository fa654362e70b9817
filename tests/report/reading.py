"""A report as a reader finds it: elements, headings, text."""

from html.parser import HTMLParser
from pathlib import Path

from ncsn.report import write_report

VOID = {"br", "img", "meta"}
SAMPLES = "samples/step_0015000_ema_1f3a5b7c"
EVIL = "</pre><script>alert(1)</script>\"'&<img src=x onerror=alert(2)>{{ 7*7 }}{% raw %}"


class Page(HTMLParser):
    """A page, checked while it is read: elements close in order, ids are unique, no attribute is a script."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []
        ids = [attributes["id"] for _, attributes in self.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        assert not any(key.startswith("on") for _, attributes in self.elements for key in attributes)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += f"{data} "
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)

    def all(self, element: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == element]


def report_of(run: Path) -> Page:
    return Page(write_report(run).read_text("utf-8"))
