"""Charts: every value is where it belongs in the picture."""

import math
import re

import pytest

from ncsn.report.charts import MOST_POINTS, Chart, Line, bar_chart, level_colours, line_chart


def places(chart: Chart | None) -> list[list[tuple[float, float]]]:
    """The points of each line of a chart, and of each part of it that is not interrupted."""
    assert chart is not None
    parts = [part for curve in chart.curves for part in curve.path.split("M") if part]
    return [[tuple(map(float, point.split())) for point in part.split("L")] for part in parts]  # type: ignore[misc]


def test_a_line_is_where_its_values_are() -> None:
    (line,) = places(line_chart("t", [Line("a", [(0, 0), (1, 5), (2, 10)], "red")], "x"))
    assert line == [(46, 192), (197, 102), (348, 12)]
    (line,) = places(
        line_chart("t", [Line("a", [(0.01, 1), (0.1, 10), (1, 100)], "red")], "x", log_x=True, log_y=True)
    )
    assert line == [(46, 192), (197, 102), (348, 12)]


def test_a_line_is_interrupted_where_it_is_not_finite() -> None:
    points = [(0.0, 1.0), (1.0, 2.0), (2.0, math.nan), (3.0, math.inf), (4.0, 1.0), (5.0, 2.0)]
    assert [len(part) for part in places(line_chart("t", [Line("a", points, "red")], "x"))] == [2, 2]
    assert line_chart("t", [Line("a", [(0.0, math.nan)], "red")], "x") is None
    assert line_chart("t", [], "x") is None
    assert bar_chart("t", [0.5, math.nan], "x", 0.5) is None


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-30, 1e30])
def test_a_constant_has_a_chart(value: float) -> None:
    for log_y in (False, True):
        (line,) = places(line_chart("t", [Line("a", [(5, value), (6, value)], "red")], "x", log_y=log_y))
        assert all(0 <= coordinate <= 360 for point in line for coordinate in point)
    assert line_chart("t", [Line("a", [(5, value)], "red")], "x") is not None


def test_long_curves_are_thinned_by_means() -> None:
    points = [(float(step), float(step % 2)) for step in range(4000)]
    (line,) = places(line_chart("t", [Line("a", points, "red")], "x"))
    assert MOST_POINTS / 2 < len(line) <= MOST_POINTS
    assert len({y for _, y in line}) == 1


def test_noise_levels_have_colours_of_their_own() -> None:
    for count in (1, 2, 10, 232):
        colours = level_colours(count)
        assert len(set(colours)) == count
        assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
