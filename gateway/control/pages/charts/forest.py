"""A forest plot: differences to control with their intervals, and the zone in which they do not matter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gateway.control.pages.charts.scale import Scale, around
from gateway.control.pages.charts.svg import element, picture

_WIDTH, _LEFT, _RIGHT = 480.0, 14.0, 466.0
_TOP, _ROW, _AXIS = 26.0, 44.0, 30.0


@dataclass(frozen=True, slots=True)
class Difference:
    """One variant's difference to control; None is not known, or without end. `place` chooses colour and mark."""

    label: str
    place: int
    value: float | None
    low: float | None
    high: float | None
    words: str


def forest(
    rows: Sequence[Difference],
    margin: float | None,
    lower_is_better: bool,
    write: Callable[[float], str],
    title: str,
) -> Markup:
    """The picture; `margin` is in the differences' unit, None where it is not known yet."""
    edge = margin or 0.0
    ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    scale = around([0.0, -1.5 * edge, 1.5 * edge, *ends], _LEFT, _RIGHT)
    bottom = _TOP + _ROW * len(rows)
    told = "; ".join(f"{row.label}: {row.words}" for row in rows)
    return picture(
        *_ground(scale, margin, bottom, lower_is_better),
        *(_row(scale, row, _TOP + _ROW * index) for index, row in enumerate(rows)),
        *(
            element("text", write(tick), x=scale(tick), y=bottom + 16, class_="tick", text_anchor="middle")
            for tick in scale.ticks()
        ),
        width=_WIDTH,
        height=bottom + _AXIS,
        title=f"{title}. {told}",
        class_="forest",
    )


def _ground(scale: Scale, margin: float | None, bottom: float, lower_is_better: bool) -> list[Markup]:
    left, right = ("← better", "worse →") if lower_is_better else ("← worse", "better →")
    zone = []
    if margin:
        start, end = scale(-margin), scale(margin)
        zone = [element("rect", x=start, y=_TOP - 6, width=end - start, height=bottom - _TOP + 6, class_="zone")]
    return [
        *zone,
        element("line", x1=_LEFT, x2=_RIGHT, y1=bottom, y2=bottom, class_="axis"),
        element("line", x1=scale(0), x2=scale(0), y1=_TOP - 6, y2=bottom, class_="zero"),
        element("text", left, x=_LEFT, y=12, class_="tick"),
        element("text", right, x=_RIGHT, y=12, class_="tick", text_anchor="end"),
    ]


def _row(scale: Scale, row: Difference, top: float) -> Markup:
    middle = top + 28
    parts = [
        element("text", _cut(row.label), element("title", row.label), x=_LEFT, y=top + 13, class_="label"),
        element("text", row.words, x=_RIGHT, y=top + 13, class_="figure", text_anchor="end"),
    ]
    if row.value is not None:
        low = scale(-math.inf if row.low is None else row.low)
        high = scale(math.inf if row.high is None else row.high)
        parts.append(element("line", x1=low, x2=high, y1=middle, y2=middle, class_="interval"))
        for end, known in ((low, row.low), (high, row.high)):
            if known is not None:
                parts.append(element("line", x1=end, x2=end, y1=middle - 5, y2=middle + 5, class_="interval"))
        parts.append(element("circle", cx=scale(row.value), cy=middle, r=4.5, class_="point"))
    return element("g", *parts, class_=f"v{row.place % 8}")


def _cut(label: str, most: int = 24) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"
