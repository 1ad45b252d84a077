"""Pictures: what is drawn where, what they say in words, and that no text becomes markup."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.pages.charts.forest import Difference, forest
from gateway.control.pages.charts.over_time import Point, Series, over_time
from gateway.control.pages.charts.scale import Scale, around
from gateway.control.pages.charts.split import split
from gateway.control.pages.charts.svg import element, path
from tests.gateway.control.pages.served import HOSTILE

FINITE = st.floats(-1e6, 1e6, allow_nan=False)


def parsed(svg: object) -> ElementTree.Element:
    return ElementTree.fromstring(str(svg))


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [each for each in root.iter() if each.get("class") == name]


def test_texts_and_values_are_escaped() -> None:
    made = element("text", HOSTILE, class_='"><script>', x=1.25)
    root = parsed(made)
    assert root.text == HOSTILE
    assert root.get("class") == '"><script>'
    assert "<script" not in str(made)


def test_attributes_that_are_none_are_left_out() -> None:
    assert str(element("line", x1=1.0, stroke_width=None)) == '<line x1="1"></line>'


def test_a_path_goes_through_its_points() -> None:
    assert path([(0, 1), (2, 3.05)], closed=True) == "M0.0 1.0L2.0 3.0Z"


@given(st.lists(FINITE, min_size=1, max_size=20))
def test_a_scale_has_room_for_all_and_round_values_between(values: list[float]) -> None:
    scale = around(values, 10.0, 110.0)
    assert all(10 <= scale(value) <= 110 for value in values)
    ticks = scale.ticks()
    assert 3 <= len(ticks) <= 21
    assert ticks == sorted(ticks)


def test_what_is_beyond_a_scale_is_on_its_edge() -> None:
    scale = Scale(0.0, 1.0, 0.0, 100.0)
    assert scale(math.inf) == 100.0
    assert scale(-5.0) == 0.0


def test_ticks_are_round() -> None:
    assert Scale(-2.62, 4.22, 0, 1).ticks() == [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    assert Scale(0.0, 0.0031, 0, 1).ticks() == [0.0, 0.001, 0.002, 0.003]


ROWS = [
    Difference("onnx", 1, -2.0, -3.0, -1.0, "−2 [−3 … −1]"),
    Difference("lite", 2, 1.0, None, 4.0, "+1 [−∞ … 4]"),
    Difference("new", 3, None, None, None, "–"),
]


def test_a_forest_plot_has_an_interval_and_a_point_for_what_is_known() -> None:
    root = parsed(forest(ROWS, 0.5, True, str, "Difference to control in latency_ms"))
    assert len(of_class(root, "point")) == 2
    onnx, lite = (of_class(root, f"v{place}")[0] for place in (1, 2))
    assert len(of_class(onnx, "interval")) == 3  # the line, and a mark at each end
    assert len(of_class(lite, "interval")) == 2  # one end is open
    assert not of_class(of_class(root, "v3")[0], "interval")
    assert root.get("aria-label", "").endswith("onnx: −2 [−3 … −1]; lite: +1 [−∞ … 4]; new: –")


def test_the_zone_is_as_wide_as_twice_the_margin() -> None:
    root = parsed(forest(ROWS, 0.5, True, str, ""))
    [zone], [point] = of_class(root, "zone"), of_class(of_class(root, "v1")[0], "point")
    zero = float(of_class(root, "zero")[0].get("x1", ""))
    per_unit = (zero - float(point.get("cx", ""))) / 2
    assert float(zone.get("width", "")) == pytest.approx(per_unit, abs=0.2)
    assert not of_class(parsed(forest(ROWS, None, True, str, "")), "zone")


def test_a_forest_plot_says_which_side_is_better() -> None:
    def sides(lower: bool) -> list[str | None]:
        return [each.text for each in of_class(parsed(forest(ROWS, 0.5, lower, str, "")), "tick")][:2]

    assert sides(True) == ["← better", "worse →"]
    assert sides(False) == ["← worse", "better →"]


def test_a_long_name_is_cut_and_there_as_a_whole_on_hovering() -> None:
    name = "v" * 64
    root = parsed(forest([Difference(name, 0, 0.0, -1.0, 1.0, "")], None, True, str, ""))
    [label] = of_class(root, "label")
    assert label.text == "v" * 23 + "…"
    assert label[0].text == name


def points(*values: float | None) -> list[Point]:
    return [
        Point(60.0 * index, value, None if value is None else value - 1, None if value is None else value + 1)
        for index, value in enumerate(values)
    ]


def test_a_line_is_broken_where_nothing_was_known() -> None:
    root = parsed(over_time([Series("a", 0, points(1.0, 2.0, None, 3.0, 4.0))], None, str, "over time"))
    assert len(of_class(root, "line")) == 2
    assert len(of_class(root, "band")) == 2


def test_every_series_has_its_own_line_and_band() -> None:
    root = parsed(over_time([Series("a", 0, points(1.0, 2.0)), Series("b", 1, points(2.0, 3.0))], None, str, "t"))
    assert len(of_class(root, "v0")) == len(of_class(root, "v1")) == 2
    assert root.get("aria-label") == "t"


def test_differences_have_the_line_of_none_and_the_zone() -> None:
    series = [Series("a", 1, points(5.0, 6.0))]
    root = parsed(over_time(series, 0.5, str, "t", zero=True))
    assert of_class(root, "zero")
    assert of_class(root, "zone")
    assert not of_class(parsed(over_time(series, 0.5, str, "t")), "zero")


def test_a_single_look_is_drawn_too() -> None:
    assert of_class(parsed(over_time([Series("a", 0, points(1.0))], None, str, "t")), "point")


@given(st.lists(st.none() | FINITE, min_size=1, max_size=30))
def test_nothing_is_drawn_outside_the_picture(values: list[float | None]) -> None:
    series = [Series("a", 0, points(*values))]
    drawn = str(over_time(series, None, str, "t"))
    parsed(drawn)
    for shape in re.findall(r' d="([^"]*)"', drawn):
        for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", shape):
            assert 0 <= float(x) <= 480
            assert 0 <= float(y) <= 220


def test_time_is_shown_as_finely_as_it_needs() -> None:
    def shown(span_s: float) -> str | None:
        series = [Series("a", 0, [Point(0.0, 1.0, 0.0, 2.0), Point(span_s, 1.0, 0.0, 2.0)])]
        texts = [each.text for each in of_class(parsed(over_time(series, None, str, "t")), "tick")]
        return texts[-1]

    assert shown(90) == "00:01:30"
    assert shown(7200) == "02:00"
    assert shown(3 * 86_400) == "01-04 00:00"


def test_bars_are_as_long_as_their_shares() -> None:
    root = parsed(split([("as set", [0.75, 0.25]), ("as seen", [1.0, 0.0])], ["a", "b"]))
    widths = [float(each.get("width", "")) for each in of_class(root, "share")]
    assert widths[0] == pytest.approx(3 * widths[1], rel=0.02)
    assert widths[3] == 0
    assert "as set: a 75 %, b 25 %; as seen: a 100 %, b 0 %" in root.get("aria-label", "")


def test_no_share_at_all_is_no_error() -> None:
    parsed(split([("as set", [0.0, 0.0])], ["a", "b"]))
