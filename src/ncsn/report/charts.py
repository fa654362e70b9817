"""Charts: where lines, bars and ticks lie. `templates/chart.html.jinja` draws them, in the colours of the page."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ncsn.report.numbers import in_digits
from ncsn.runs.contents import Distances, Series

MOST_POINTS = 300
FIRST, SECOND, THIRD = "var(--first)", "var(--second)", "var(--third)"
LEVEL_COLOURS = ("#d9542b", "#c2458f", "#7a5fd0", "#2f83c9", "#16938a")

Point = tuple[float, float]
Tick = tuple[float, str]
"""A place on an axis, and the number there."""


class Line(NamedTuple):
    """A line of a chart, in the units of its axes.

    Attributes:
        name: its entry in the legend.
        points: drawn in this order; one that is not finite interrupts the line.
        colour: any CSS colour.
        note: beside the name in the legend.
        dashed: rather than solid.
        dots: mark every point.
    """

    name: str
    points: Series
    colour: str
    note: str = ""
    dashed: bool = False
    dots: bool = False


class Frame(NamedTuple):
    """Where the axes end in a picture of this width and height."""

    left: float
    right: float
    top: float
    bottom: float
    size: tuple[int, int]


class Curve(NamedTuple):
    """A line in the picture: an SVG path, and dots."""

    line: Line
    path: str
    dots: list[Point]


class Bar(NamedTuple):
    """A bar in the picture."""

    x: float
    y: float
    width: float
    height: float
    label: str


class Range(NamedTuple):
    """Quartiles and median in the picture."""

    y: float
    low: float
    middle: float
    high: float
    colour: str
    label: str


@dataclass(frozen=True)
class Chart:
    """What is drawn, in the units of the picture.

    Attributes:
        level: height of a horizontal line to compare with.
        mark: centre of a ring around a point.
        note: a sentence below.
    """

    title: str
    frame: Frame
    x_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    curves: Sequence[Curve] = ()
    bars: Sequence[Bar] = ()
    ranges: Sequence[Range] = ()
    level: float | None = None
    mark: Point | None = None
    note: str = ""


PLOT = Frame(left=46, right=348, top=12, bottom=192, size=(360, 230))
RANGES = Frame(left=20, right=340, top=6, bottom=112, size=(360, 152))


class Axis(NamedTuple):
    """One direction of a chart: from values to places, to a tenth of a unit, and its ticks."""

    place: Callable[[float], float]
    ticks: list[Tick]

    @classmethod
    def over(
        cls, values: Sequence[float], start: float, end: float, *, log: bool = False, include_zero: bool = False
    ) -> "Axis":
        """An axis on which all values have a place, from `start` to `end` in the picture.

        Args:
            include_zero: if the axis is linear.
        """
        low, high = min(values), max(values)
        if include_zero and not log:
            low, high = min(low, 0.0), max(high, 0.0)
        if low == high:
            margin = abs(low) / 2 or 1
            low, high = (low / 2, high * 2) if log else (low - margin, high + margin)
        ticks = _log_ticks(low, high) if log else _ticks(low, high)
        if not log:
            low, high = ticks[0], ticks[-1]
        transform = math.log10 if log else float
        first, last = transform(low), transform(high)

        def place(value: float) -> float:
            return round(start + (transform(value) - first) / (last - first) * (end - start), 1)

        return cls(place, [(place(tick), _short(tick)) for tick in ticks])


def line_chart(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    include_zero: bool = False,
    level: float | None = None,
    marked: Point | None = None,
    note: str = "",
) -> Chart | None:
    """Lines over a common axis; None if there is nothing to draw.

    Args:
        log_y: if all values are positive and span more than a decade.
        include_zero: on the vertical axis, if it is linear.
        level: a horizontal line to compare with.
        marked: one of the points.
        note: a sentence below.
    """
    lines = [line._replace(points=_thinned(line.points)) for line in lines]
    ys = [y for line in lines for _, y in line.points if math.isfinite(y)]
    log_y = log_y and bool(ys) and min(ys) > 0 and max(ys) > 10 * min(ys)

    def drawable(point: Point) -> bool:
        x, y = point
        return math.isfinite(x) and math.isfinite(y) and (x > 0 or not log_x) and (y > 0 or not log_y)

    points = [point for line in lines for point in line.points if drawable(point)]
    if not points:
        return None
    values = [y for _, y in points] + ([] if level is None else [level])
    x_axis = Axis.over([x for x, _ in points], PLOT.left, PLOT.right, log=log_x)
    y_axis = Axis.over(values, PLOT.bottom, PLOT.top, log=log_y, include_zero=include_zero)

    def place(point: Point) -> Point:
        return x_axis.place(point[0]), y_axis.place(point[1])

    return Chart(
        title,
        PLOT,
        x_label,
        x_axis.ticks,
        y_axis.ticks,
        curves=[_curve(line, [place(p) if drawable(p) else None for p in line.points]) for line in lines],
        level=None if level is None else y_axis.place(level),
        mark=place(marked) if marked in points else None,
        note=note,
    )


def bar_chart(title: str, shares: Sequence[float], x_label: str, level: float, note: str = "") -> Chart | None:
    """One bar per class, and a horizontal line to compare with; None if there is nothing to draw."""
    if not shares or not all(math.isfinite(share) and share >= 0 for share in shares):
        return None
    y_axis = Axis.over([*shares, level], PLOT.bottom, PLOT.top, include_zero=True)
    step = (PLOT.right - PLOT.left) / len(shares)
    bars = [
        Bar(
            x=round(PLOT.left + (number + 0.15) * step, 1),
            y=y_axis.place(share),
            width=round(0.7 * step, 1),
            height=round(PLOT.bottom - y_axis.place(share), 1),
            label=f"{number}: {in_digits(share)}",
        )
        for number, share in enumerate(shares)
    ]
    named = range(0, len(shares), math.ceil(len(shares) / 12))
    x_ticks = [(round(PLOT.left + (number + 0.5) * step, 1), _short(number)) for number in named]
    return Chart(title, PLOT, x_label, x_ticks, y_axis.ticks, bars=bars, level=y_axis.place(level), note=note)


def range_chart(title: str, distances: Distances, note: str = "") -> Chart | None:
    """Quartiles and median of two distributions of distances; None if one is not finite."""
    rows = [
        ("samples", distances.samples_to_training, FIRST),
        ("held-out images", distances.held_out_to_training, SECOND),
    ]
    values = [value for _, quartiles, _ in rows for value in quartiles]
    if not all(map(math.isfinite, values)):
        return None
    axis = Axis.over(values, RANGES.left, RANGES.right, include_zero=True)
    ranges = []
    for number, (name, (low, middle, high), colour) in enumerate(rows):
        label = f"{name}: {in_digits(middle)} ({in_digits(low)} – {in_digits(high)})"
        y = 36 + 50 * number
        ranges.append(Range(y, axis.place(low), axis.place(middle), axis.place(high), colour, label))
    return Chart(title, RANGES, "distance to the nearest training image", axis.ticks, [], ranges=ranges, note=note)


def level_colours(count: int) -> list[str]:
    """A colour for each noise level, from the largest σ to the smallest; all legible on light and on dark."""
    return [_mixed(index / max(count - 1, 1) * (len(LEVEL_COLOURS) - 1)) for index in range(count)]


def _mixed(place: float) -> str:
    index = min(int(place), len(LEVEL_COLOURS) - 2)
    first, second = (bytes.fromhex(colour[1:]) for colour in LEVEL_COLOURS[index : index + 2])
    mixed = (round(a + (b - a) * (place - index)) for a, b in zip(first, second, strict=True))
    return "#" + bytes(mixed).hex()


def _curve(line: Line, places: Sequence[Point | None]) -> Curve:
    path, pen = "", "M"
    for place in places:
        if place is None:
            pen = "M"
        else:
            path += f"{pen}{place[0]:g} {place[1]:g}"
            pen = "L"
    drawn = [place for place in places if place is not None]
    return Curve(line, path, drawn if line.dots or len(drawn) == 1 else [])


def _thinned(points: Series) -> Series:
    """Means over neighbours where there are more points than can be seen."""
    if len(points) <= MOST_POINTS:
        return points
    size = math.ceil(len(points) / MOST_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def _ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers, about `count` of them; all values lie between the first and the last."""
    rough = (high - low) / count
    magnitude = 10 ** math.floor(math.log10(rough))
    step = next(m for m in (1, 2, 5, 10) if m * magnitude >= rough * 0.999) * magnitude
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, and multiples of these where they would be few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for multiples in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = [m * 10.0**e for e in range(first, last + 1) for m in multiples]
        ticks = [t for t in ticks if low * 0.999 <= t <= high * 1.001]
        if len(ticks) >= 3:
            break
    return ticks[:: math.ceil(len(ticks) / 7)]


def _short(value: float) -> str:
    """A tick's number: 0.05, 1500, 20k, 2e−05."""
    if abs(value) >= 10_000:
        text = f"{value / 1000:g}k" if abs(value) < 1e6 else f"{value / 1e6:g}M"
    else:
        text = f"{round(value, 12):g}" if abs(value) >= 1e-4 else f"{value:.3g}"
    return text.replace("-", "−")
