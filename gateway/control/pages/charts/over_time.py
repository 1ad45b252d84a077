"""Lines with bands over time: what the statistics said at each look, and how sure they were."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

from gateway.control.pages.charts.scale import Scale, around
from gateway.control.pages.charts.svg import element, path, picture

_WIDTH, _HEIGHT = 480.0, 220.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 470.0, 12.0, 192.0
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a time in seconds since 1970; None is not known."""

    at_s: float
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Series:
    """One line; `place` chooses colour and dashes."""

    label: str
    place: int
    points: Sequence[Point]


def over_time(
    series: Sequence[Series], margin: float | None, write: Callable[[float], str], title: str, zero: bool = False
) -> Markup:
    """The picture; with `zero`, the line of no difference and, around it, the `margin` that does not matter."""
    times = [point.at_s for each in series for point in each.points]
    across = Scale(min(times), max(*times, min(times) + 1.0), _LEFT, _RIGHT)
    edge = margin or 0.0
    up = around([*_extent(series), *([0.0, edge, -edge] if zero else [])], _BOTTOM, _TOP)
    return picture(
        *_ground(across, up, write),
        *(_zero(up, margin) if zero else []),
        *(_band(across, up, each) for each in series),
        *(_line(across, up, each) for each in series),
        width=_WIDTH,
        height=_HEIGHT,
        title=title,
        class_="over-time",
    )


def _extent(series: Sequence[Series]) -> list[float]:
    """What has to be seen: all values, and the bands' later half (the first are as wide as one's ignorance)."""
    found: list[float] = []
    for each in series:
        found += [point.value for point in each.points if point.value is not None]
        for point in each.points[len(each.points) // 2 :]:
            found += [end for end in (point.low, point.high) if end is not None]
    return found


def _ground(across: Scale, up: Scale, write: Callable[[float], str]) -> list[Markup]:
    parts = []
    for tick in up.ticks():
        y = up(tick)
        parts += [
            element("line", x1=_LEFT, x2=_RIGHT, y1=y, y2=y, class_="grid"),
            element("text", write(tick), x=_LEFT - 6, y=y + 4, class_="tick", text_anchor="end"),
        ]
    for at_s, anchor in ((across.low, "start"), ((across.low + across.high) / 2, "middle"), (across.high, "end")):
        text = _clock(at_s, across.high - across.low)
        parts.append(element("text", text, x=across(at_s), y=_BOTTOM + 18, class_="tick", text_anchor=anchor))
    return parts


def _clock(at_s: float, span_s: float) -> str:
    at = datetime.fromtimestamp(at_s, UTC)
    if span_s > _DAY_S:
        return f"{at:%m-%d %H:%M}"
    return f"{at:%H:%M:%S}" if span_s < 600 else f"{at:%H:%M}"


def _zero(up: Scale, margin: float | None) -> list[Markup]:
    line = element("line", x1=_LEFT, x2=_RIGHT, y1=up(0), y2=up(0), class_="zero")
    if not margin:
        return [line]
    top, bottom = up(margin), up(-margin)
    return [element("rect", x=_LEFT, y=top, width=_RIGHT - _LEFT, height=bottom - top, class_="zone"), line]


def _band(across: Scale, up: Scale, series: Series) -> Markup:
    shapes = []
    for run in _runs(series.points):
        above = [(across(p.at_s), up(math.inf if p.high is None else p.high)) for p in run]
        below = [(across(p.at_s), up(-math.inf if p.low is None else p.low)) for p in run]
        shapes.append(element("path", d=path(above + below[::-1], closed=True), class_="band"))
    return element("g", *shapes, class_=f"v{series.place % 8}")


def _line(across: Scale, up: Scale, series: Series) -> Markup:
    shapes = []
    for run in _runs(series.points):
        places = [(across(p.at_s), up(p.value)) for p in run if p.value is not None]
        shapes.append(element("path", d=path(places), class_="line"))
        shapes.append(element("circle", cx=places[-1][0], cy=places[-1][1], r=3, class_="point"))
    return element("g", *shapes, class_=f"v{series.place % 8}")


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Stretches of points that are known."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point.value is not None and math.isfinite(point.value):
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
