"""Charts as SVG: small, and in the colours of the page, which follow its light or dark scheme."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ncsn.report.markup import Content, Markup, join, tag
from ncsn.report.numbers import in_digits
from ncsn.runs.contents import Distances, Series

WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 38
MOST_POINTS = 300
LEVEL_COLOURS = ("#d9542b", "#c2458f", "#7a5fd0", "#2f83c9", "#16938a")


class Line(NamedTuple):
    """A line of a chart.

    Attributes:
        name: as it stands in the legend.
        points: drawn in this order; one that is not finite interrupts the line.
        colour: any CSS colour.
        note: beside the name in the legend.
        dashed: instead of drawn through.
        dots: mark every point.
    """

    name: str
    points: Series
    colour: str
    note: str = ""
    dashed: bool = False
    dots: bool = False


class Axis(NamedTuple):
    """One direction of a chart: values, where they lie on it, and its ticks."""

    place: Callable[[float], float]
    ticks: list[float]

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, logarithmic: bool, include_zero: bool) -> "Axis":
        """An axis on which all values have a place, from `start` to `end` in the picture."""
        transform = math.log10 if logarithmic else float
        low, high = min(values), max(values)
        if include_zero and not logarithmic:
            low, high = min(low, 0.0), max(high, 0.0)
        if low == high:
            low, high = (
                (low / 2, high * 2) if logarithmic else (low - (abs(low) / 2 or 1), high + (abs(high) / 2 or 1))
            )
        ticks = _log_ticks(low, high) if logarithmic else _ticks(low, high)
        if not logarithmic:
            low, high = ticks[0], ticks[-1]
        first, last = transform(low), transform(high)

        def place(value: float) -> float:
            return start + (transform(value) - first) / (last - first) * (end - start)

        return cls(place, ticks)


def line_chart(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    *,
    log_x: bool = False,
    log_y: bool | None = False,
    include_zero: bool = False,
    level: float | None = None,
    marked: tuple[float, float] | None = None,
    note: str | None = None,
) -> Markup | None:
    """Lines over a common axis; None if there is nothing to draw.

    Args:
        log_y: None: if all values are positive and span a decade.
        include_zero: on the vertical axis, if it is linear.
        level: a horizontal line to compare with.
        marked: a point (x, y).
        note: a line below.
    """
    lines = [line._replace(points=_thinned(line.points)) for line in lines]
    ys = [y for line in lines for _, y in line.points if math.isfinite(y)]
    if log_y is None:
        log_y = bool(ys) and min(ys) > 0 and max(ys) > 10 * min(ys)
    drawable = [
        (x, y)
        for line in lines
        for x, y in line.points
        if math.isfinite(x) and math.isfinite(y) and (x > 0 or not log_x) and (y > 0 or not log_y)
    ]
    if not drawable:
        return None
    values = [y for _, y in drawable] + ([] if level is None else [level])
    x_axis = Axis.over([x for x, _ in drawable], LEFT, WIDTH - RIGHT, log_x, include_zero=False)
    y_axis = Axis.over(values, HEIGHT - BOTTOM, TOP, log_y, include_zero)
    known = set(drawable)
    drawing: list[Content] = [_frame(x_axis, y_axis, x_label)]
    if level is not None:
        y = _1(y_axis.place(level))
        drawing.append(tag("line", class_="level", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y))
    for line in lines:
        places = [(x_axis.place(x), y_axis.place(y)) if (x, y) in known else None for x, y in line.points]
        drawing.append(_path(line, places))
    if marked in known:
        drawing.append(
            tag("circle", class_="mark", cx=_1(x_axis.place(marked[0])), cy=_1(y_axis.place(marked[1])), r=6)
        )
    return _figure(title, drawing, legend=[_entry(line) for line in lines] if len(lines) > 1 else [], note=note)


def bar_chart(
    title: str, shares: Sequence[float], x_label: str, level: float, note: str | None = None
) -> Markup | None:
    """A bar for each class, and a horizontal line to compare with."""
    if not shares or not all(math.isfinite(share) and share >= 0 for share in shares):
        return None
    y_axis = Axis.over([*shares, level], HEIGHT - BOTTOM, TOP, logarithmic=False, include_zero=True)
    step = (WIDTH - RIGHT - LEFT) / len(shares)
    named = range(0, len(shares), math.ceil(len(shares) / 12))
    x_axis = Axis(lambda number: LEFT + (number + 0.5) * step, [float(number) for number in named])
    bars = [
        tag(
            "rect",
            tag("title", f"{number}: {in_digits(share)}"),
            class_="bar",
            x=_1(LEFT + (number + 0.15) * step),
            width=_1(0.7 * step),
            y=_1(y_axis.place(share)),
            height=_1(HEIGHT - BOTTOM - y_axis.place(share)),
        )
        for number, share in enumerate(shares)
    ]
    y = _1(y_axis.place(level))
    line = tag("line", class_="level", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y)
    return _figure(title, [_frame(x_axis, y_axis, x_label), bars, line], note=note)


def range_chart(title: str, distances: Distances, note: str | None = None) -> Markup | None:
    """First quartile to third, with the median, of the two distributions of distances."""
    rows = {
        "samples": (distances.samples_to_training, "var(--first)"),
        "held-out images": (distances.held_out_to_training, "var(--second)"),
    }
    values = [value for quartiles, _ in rows.values() for value in quartiles]
    if not all(map(math.isfinite, values)):
        return None
    axis = Axis.over(values, 20, WIDTH - 20, logarithmic=False, include_zero=True)
    drawing: list[Content] = [_x_axis(axis, 112, top=6, label="distance to the nearest training image")]
    for number, (name, ((low, middle, high), colour)) in enumerate(rows.items()):
        y = 36 + 50 * number
        left, right = _1(axis.place(low)), _1(axis.place(high))
        words = f"{name}: {in_digits(middle)} ({in_digits(low)} – {in_digits(high)})"
        drawing += [
            tag("text", words, class_="words", x=20, y=y - 14),
            tag("line", class_="range", style=f"stroke: {colour}", x1=left, x2=right, y1=y, y2=y),
            tag("circle", class_="median", style=f"stroke: {colour}", cx=_1(axis.place(middle)), cy=y, r=5),
        ]
    return _figure(title, drawing, height=152, note=note)


def level_colours(count: int) -> list[str]:
    """A colour for each noise level, from the largest σ to the smallest; all legible on light and on dark."""
    places = [index / max(count - 1, 1) * (len(LEVEL_COLOURS) - 1) for index in range(count)]
    return [_mixed(place) for place in places]


def _mixed(place: float) -> str:
    index = min(int(place), len(LEVEL_COLOURS) - 2)
    first, second = (bytes.fromhex(colour[1:]) for colour in LEVEL_COLOURS[index : index + 2])
    mixed = (round(a + (b - a) * (place - index)) for a, b in zip(first, second, strict=True))
    return "#" + bytes(mixed).hex()


def _figure(
    title: str, drawing: Content, *, legend: Content = (), height: int = HEIGHT, note: str | None = None
) -> Markup:
    svg = tag("svg", drawing, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=title)
    below = [tag("ul", legend, class_="legend") if legend else None, tag("p", note, class_="note") if note else None]
    return tag("figure", tag("figcaption", title), svg, below, class_="chart")


def _frame(x: Axis, y: Axis, x_label: str) -> Markup:
    rows = [
        [
            tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=_1(y.place(tick)), y2=_1(y.place(tick))),
            tag("text", _short(tick), x=LEFT - 6, y=_1(y.place(tick) + 4), text_anchor="end"),
        ]
        for tick in y.ticks
    ]
    return join([rows, _x_axis(x, HEIGHT - BOTTOM, top=None, label=x_label)])


def _x_axis(axis: Axis, y: float, top: float | None, label: str) -> Markup:
    ticks = []
    for tick in axis.ticks:
        x = _1(axis.place(tick))
        if top is not None:
            ticks.append(tag("line", class_="grid", x1=x, x2=x, y1=top, y2=y))
        ticks.append(tag("text", _short(tick), x=x, y=y + 16, text_anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2 if top is None else WIDTH / 2
    line = tag(
        "line", class_="axis", x1=LEFT if top is None else 20, x2=WIDTH - (RIGHT if top is None else 20), y1=y, y2=y
    )
    return join([ticks, line, tag("text", label, x=middle, y=y + 33, text_anchor="middle")])


def _path(line: Line, places: Sequence[tuple[float, float] | None]) -> Markup:
    commands, pen = [], "M"
    for place in places:
        if place is None:
            pen = "M"
            continue
        commands.append(f"{pen}{_1(place[0])} {_1(place[1])}")
        pen = "L"
    style = f"stroke: {line.colour}" + ("; stroke-dasharray: 5 4" if line.dashed else "")
    path = tag("path", tag("title", line.name), class_="line", style=style, d="".join(commands))
    lonely = len(commands) == 1
    dots = [
        tag("circle", class_="dot", style=f"fill: {line.colour}", cx=_1(place[0]), cy=_1(place[1]), r=3)
        for place in places
        if place is not None and (line.dots or lonely)
    ]
    return join([path, dots])


def _entry(line: Line) -> Markup:
    swatch = tag("span", class_="dashed swatch" if line.dashed else "swatch", style=f"border-color: {line.colour}")
    return tag("li", swatch, line.name, tag("span", line.note, class_="value") if line.note else None)


def _thinned(points: Series) -> Series:
    """Means over neighbours where there are more points than can be seen."""
    if len(points) <= MOST_POINTS:
        return points
    size = math.ceil(len(points) / MOST_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def _ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers, about `count` of them, the first and the last around all values."""
    rough = (high - low) / count
    magnitude = 10 ** math.floor(math.log10(rough))
    step = next(m for m in (1, 2, 5, 10) if m * magnitude >= rough * 0.999) * magnitude
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, and 2 and 5 times these where there would be few."""
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


def _1(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
