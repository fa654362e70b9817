"""`report.html`: one file with everything in it, that any browser shows without a network and without scripts."""

import logging
from importlib.resources import files
from pathlib import Path

from ncsn.errors import DataError
from ncsn.files import atomically
from ncsn.report.elements import Section
from ncsn.report.markup import Markup, join, tag
from ncsn.report.samples import samples
from ncsn.report.scores import beyond, checkpoints, neighbours, scores
from ncsn.report.training import curves, header, settings
from ncsn.runs.contents import RunFolder

log = logging.getLogger(__name__)

NAME = "report.html"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
SECTIONS = (settings, curves, samples, scores, checkpoints, neighbours, beyond)
"""Each is None where the run's folder has nothing for it."""


def write_report(run: Path) -> Path:
    """Writes `report.html` into a run's folder, from what is there.

    Returns:
        Its path.

    Raises:
        DataError: the folder is not there or has nothing of a run in it, or a file in it is damaged.
    """
    page = render(RunFolder.read(run))
    path = run / NAME
    with atomically(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def refresh_report(run: Path) -> None:
    """As `write_report`, for those who have just added to a run: what cannot be shown is no failure of theirs."""
    try:
        log.info(f"report: {write_report(run)}")
    except (DataError, OSError) as error:
        log.warning(f"no report: {error}")


def render(run: RunFolder) -> str:
    """The page."""
    sections = [section for make in SECTIONS if (section := make(run)) is not None]
    style = Markup(files("ncsn.report").joinpath("page.css").read_text("utf-8"))
    title, top = header(run)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", title),
        tag("style", style),
    )
    body = tag("body", top, _contents(sections), tag("main", map(_section, sections)))
    return "<!DOCTYPE html>\n" + tag("html", head, body, lang="en") + "\n"


def _contents(sections: list[Section]) -> Markup | None:
    links = [tag("a", section.title, href=f"#{section.id}") for section in sections]
    return tag("nav", links, aria_label="Sections") if len(links) > 1 else None


def _section(section: Section) -> Markup:
    return tag("section", join([tag("h2", section.title), section.content]), id=section.id)
