"""`report.html`: one file with everything in it, that any browser shows without a network and without scripts."""

import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ncsn.errors import DataError
from ncsn.files import atomically, one_process_at_a_time
from ncsn.report.charts import Chart
from ncsn.report.diagnostics import diagnostics, neighbours
from ncsn.report.likelihood import likelihood
from ncsn.report.numbers import in_digits
from ncsn.report.restoration import restoration
from ncsn.report.samples import samples
from ncsn.report.scores import checkpoints, scores
from ncsn.report.training import curves, header, settings
from ncsn.runs.contents import Contents

if TYPE_CHECKING:
    from jinja2 import Environment

log = logging.getLogger(__name__)

NAME = "report.html"
TEMPLATES = Path(__file__).parent / "templates"
SECTIONS = {
    "settings": ("Settings", settings),
    "curves": ("Curves", curves),
    "samples": ("Samples", samples),
    "scores": ("Scores", scores),
    "restoration": ("Restoration", restoration),
    "likelihood": ("Likelihoods", likelihood),
    "checkpoints": ("Checkpoints", checkpoints),
    "neighbours": ("Nearest training images", neighbours),
    "diagnostics": ("Diagnostics", diagnostics),
}
"""By id, which is also the template's name: the heading, and what the template gets; None: nothing to show."""


def write_report(run: Path) -> Path:
    """Writes `report.html` into a run's folder, from what is there.

    Returns:
        Its path.

    Raises:
        DataError: the folder is missing or has nothing of a run in it, or a file in it is damaged.
    """
    try:
        page = render(Contents.read(run))
    except (OverflowError, RecursionError) as error:
        raise DataError(f"{run}: a value in its files is too large or too deeply nested ({error})") from error
    path = run / NAME
    with one_process_at_a_time(path, path), atomically(path) as partial:
        partial.write_text(page, encoding="utf-8", errors="replace")
    return path


def refresh_report(run: Path) -> None:
    """Like `write_report`, after a command has added to a run; a report that cannot be written does not fail it."""
    try:
        log.info(f"report: {write_report(run)}")
    except (DataError, OSError) as error:
        log.warning(f"no report: {error}")


def render(run: Contents) -> str:
    """The page: plain data, drawn by the templates, which escape all of it."""
    found = [(key, title, make(run)) for key, (title, make) in SECTIONS.items()]
    sections = [section for section in found if section[2] is not None]
    return _environment().get_template("page.html.jinja").render(header=header(run), sections=sections)


def render_chart(chart: Chart) -> str:
    """A chart alone, as HTML that `templates/chart.css` goes with."""
    drawn: str = _environment().get_template("chart.html.jinja").module.chart(chart)  # type: ignore[attr-defined]
    return str(drawn)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined  # only here: commands start sooner without it

    environment = Environment(
        loader=PackageLoader("ncsn.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["digits"] = in_digits
    return environment
