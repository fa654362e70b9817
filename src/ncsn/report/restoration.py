"""Restored images beside the damaged ones, other networks and the originals."""

from typing import NamedTuple

from ncsn.report.charts import FIRST, SECOND, THIRD, Chart, Line, line_chart
from ncsn.report.elements import Fact, Heading, Picture, heading_of, picture_of
from ncsn.report.numbers import in_digits
from ncsn.report.scores import protocol
from ncsn.runs.contents import Contents, Restoration
from ncsn.runs.score_names import label

COLOURS = (THIRD, FIRST, SECOND)  # of the damaged images, the restored ones, and those of the first other network


class Row(NamedTuple):
    """A method, and its scores as text, empty where it has none."""

    name: str
    values: list[str]


class Judged(NamedTuple):
    """A folder of restored images: a picture, a row for each method, and what the scores depend on."""

    heading: Heading
    picture: Picture | None
    columns: list[str]
    rows: list[Row]
    charts: list[Chart]
    protocol: list[Fact]


def restoration(run: Contents) -> list[Judged] | None:
    folders = []
    for folder in run.samples:
        if folder.evaluation is None or (found := folder.evaluation.restoration) is None:
            continue
        names = list(dict.fromkeys(name for method in found.methods for name in method.scores))
        rows = []
        for method in found.methods:
            values = [method.scores.get(name) for name in names] + [method.network_evaluations]
            shown = ["" if value is None else in_digits(round(value, 6)) for value in values]
            rows.append(Row(method.name, shown))
        chart = _by_quality(found)
        columns = [*map(label, names), "Network evaluations"]
        about = [Fact("Damage", found.damage), Fact("Samples per image", in_digits(found.samples_per_image))]
        facts = [*about, *protocol(folder.evaluation)]
        path = folder.picture("methods.png")
        picture = picture_of(path, _caption(found)) if path else None
        folders.append(Judged(heading_of(folder), picture, columns, rows, [chart] if chart else [], facts))
    return folders or None


def _caption(found: Restoration) -> str:
    ours, *others = (method.name for method in found.methods[1:-1])
    return f"in each row: damaged; {', '.join([f'{ours} ({found.samples_per_image})', *others])}; original"


def _by_quality(found: Restoration) -> Chart | None:
    """PSNR by the quality of JPEG, at the middle of each few qualities."""
    if not found.by_quality:
        return None
    lines = []
    for number, (method, colour) in enumerate(zip(found.methods[:-1], COLOURS, strict=False)):
        points = [(sum(q.quality) / 2, q.psnr[number]) for q in found.by_quality if number < len(q.psnr)]
        lines.append(Line(method.name, points, colour, dots=True))
    return line_chart("PSNR by quality of JPEG, in dB", lines, "quality")
