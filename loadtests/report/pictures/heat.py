"""Framework × hardware: one number of each, and why some are missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from matplotlib.axes import Axes

from loadtests.comparison.matching import Side
from loadtests.comparison.words import number
from loadtests.report.content import Content, Stretch
from loadtests.report.pictures.drawing import INK, SERIES, SOFT, Grid, Picture, canvas, label, styled
from loadtests.results.histograms import Floats

_MOST_ALPHA = 0.55
_MOST_CELLS = 24


def heat_maps(content: Content) -> Iterator[Picture]:
    """One of p99 and one of throughput for each level, where there are two rows or more."""
    if len(content.sides) < 2:
        return
    for index, level in enumerate(content.levels, 1):
        stretches = {id(each.side.row): each for each in content.measured if each.level == level}
        at = f" at {level}" if level else ""
        yield _picture(
            content, f"heat-p99-{index}", f"p99 in ms{at}", stretches, lambda each: each.percentiles[0.99].value
        )
        if any(run.arrival == "closed" for each in stretches.values() for run in each.runs):
            rate = f"Right answers a second{at}"
            yield _picture(content, f"heat-throughput-{index}", rate, stretches, lambda each: each.throughput.value)


def _picture(
    content: Content, name: str, title: str, stretches: dict[int, Stretch], value: Callable[[Stretch], float]
) -> Picture:
    rows, columns, cells = _cells(content)
    values = np.full((len(rows), len(columns)), np.nan)
    texts = [["–"] * len(columns) for _ in rows]
    for (row, column), side in cells.items():
        stretch = stretches.get(id(side.row))
        if stretch is not None and stretch.answered:
            values[row, column] = value(stretch)
            texts[row][column] = number(values[row, column])
        elif side.row.status != "measured":
            texts[row][column] = side.row.status
    with styled():
        figure = canvas(9, min(1.3 + 0.45 * len(rows), 12))
        _draw(figure.add_subplot(), rows, columns, values, texts)
    says = _says(title, rows, columns, values)
    why = {side.row.why for side in cells.values() if side.row.status == "not run" and side.row.why}
    says += "".join(f" Not run: {label(each, 160)}." for each in sorted(why)[:4])
    numbers = Grid(f"Numbers of: {title}", ("", *columns), tuple((r, *t) for r, t in zip(rows, texts, strict=True)))
    return Picture(name, title, says, figure, numbers)


def _cells(content: Content) -> tuple[list[str], list[str], dict[tuple[int, int], Side]]:
    """Framework and way of asking by hardware and machine; at most 24 of each."""
    rows: dict[str, int] = {}
    columns: dict[str, int] = {}
    found: dict[tuple[int, int], Side] = {}
    dialects = len({side.row.dialect for side in content.sides}) > 1
    payloads = len({side.row.payload for side in content.sides}) > 1
    for side in content.sides:
        row = side.row
        name = ", ".join([row.deployment] + [row.dialect] * dialects + [row.payload] * payloads)
        place = row.hardware + (f", {content.place(side)}" if len(content.sources) > 1 else "")
        at = rows.setdefault(label(name), len(rows)), columns.setdefault(label(place, 40), len(columns))
        if max(at) < _MOST_CELLS:
            found[at] = side
    return list(rows)[:_MOST_CELLS], list(columns)[:_MOST_CELLS], found


def _draw(axes: Axes, rows: list[str], columns: list[str], values: Floats, texts: list[list[str]]) -> None:
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(values)
    known = logs[np.isfinite(logs)]
    low, span = (known.min(), max(float(np.ptp(known)), 1e-9)) if len(known) else (0.0, 1.0)
    for row in range(len(rows)):
        for column in range(len(columns)):
            share = (logs[row, column] - low) / span
            if math.isfinite(share):
                axes.fill_between(
                    [column - 0.49, column + 0.49], row - 0.48, row + 0.48, color=SERIES[0], linewidth=0,
                    alpha=0.05 + (_MOST_ALPHA - 0.05) * share,
                )  # fmt: skip
            colour = INK if math.isfinite(share) else SOFT
            axes.text(column, row, texts[row][column], ha="center", va="center", color=colour)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, labelcolor=INK)
    axes.xaxis.tick_top()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _says(title: str, rows: list[str], columns: list[str], values: Floats) -> str:
    if not np.any(np.isfinite(values)):
        return f"{title}: nothing was measured."
    ends = []
    for place in (np.nanargmin(values), np.nanargmax(values)):
        row, column = np.unravel_index(place, values.shape)
        ends.append(f"{number(values[row, column])} ({rows[row]}, {columns[column]})")
    return f"{title}, from {ends[0]} to {ends[1]}. The deeper the colour, the larger the number."
