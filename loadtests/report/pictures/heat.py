"""Framework × hardware: one number of each, and why some are missing."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from loadtests.comparison.matching import Side
from loadtests.comparison.words import number
from loadtests.report.content import Content, Stretch
from loadtests.report.pictures.drawing import INK, LINE, SERIES, SOFT, Grid, Picture, canvas, label, styled
from loadtests.results.histograms import Floats
from loadtests.results.text import plain

_MOST_ALPHA = 0.55
_MOST_ROWS = 24
_MOST_COLUMNS = 8
_MOST_REASONS = 6
_FEW_COLUMNS = 4
_MOST_LINES = 4

Number = Callable[[Stretch], float]


@dataclass(frozen=True)
class _Table:
    """Hardware and machines down, frameworks and ways of asking across."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    sides: dict[tuple[int, int], Side]
    stretches: dict[int, Stretch]
    """By the id of their row."""

    @cached_property
    def reasons(self) -> list[str]:
        """Why cells are empty, each once."""
        missing = (side.row for side in self.sides.values() if side.row.status != "measured")
        return list(
            dict.fromkeys(f"{row.status}: {plain(row.why, 160).rstrip('.') or 'no reason is given'}" for row in missing)
        )

    def values(self, value: Number) -> Floats:
        """The numbers, [rows, columns]; NaN where there is none."""
        found = np.full((len(self.rows), len(self.columns)), np.nan)
        for place, side in self.sides.items():
            if stretch := self.stretches.get(id(side.row)):
                found[place] = value(stretch)
        return found

    def text(self, place: tuple[int, int], value: float, brief: bool) -> str:
        """What a cell says; in the picture, why it is empty is a note below it."""
        side = self.sides.get(place)
        if side is not None and side.row.status != "measured":
            why = plain(side.row.why, 160) or "no reason is given"
            reason = self.reasons.index(f"{side.row.status}: {why.rstrip('.')}") + 1
            return f"{side.row.status} [{reason}]" if brief else f"{side.row.status}: {why}"
        stretch = self.stretches.get(id(side.row)) if side else None
        mark = "*" if stretch and any(run.marks for run in stretch.runs) and math.isfinite(value) else ""
        return number(value) + mark


def heat_maps(content: Content) -> Iterator[Picture]:
    """One of p99 and one of throughput for each level of a scenario, where it has two rows or more."""
    for index, group in enumerate(content.groups, 1):
        sources = content.scenarios[group.stretches[0].side.source.result.name]
        sides = [side for side in content.sides if side.source in sources]
        if len(sides) < 2:
            continue
        table = _arranged(content, sides, group.stretches)
        yield _picture(f"heat-p99-{index}", f"p99 in ms{group.at}", table, lambda each: each.percentiles[0.99].value)
        if any(run.arrival == "closed" for each in group.stretches for run in each.runs):
            title = f"Right answers a second{group.at}"
            yield _picture(f"heat-throughput-{index}", title, table, lambda each: each.throughput.value)


def _arranged(content: Content, sides: Sequence[Side], stretches: Sequence[Stretch]) -> _Table:
    """At most 24 rows and 8 columns; what else there is stands in the table of all numbers."""
    rows: dict[str, int] = {}
    columns: dict[str, int] = {}
    found: dict[tuple[int, int], Side] = {}
    dialects, payloads = (len({getattr(side.row, each) for side in sides}) > 1 for each in ("dialect", "payload"))
    for side in sides:
        row = side.row
        name = ", ".join([row.deployment] + [row.dialect] * dialects + [row.payload] * payloads)
        place = ", ".join(filter(None, (row.hardware, content.place(side))))
        at = rows.setdefault(label(place, 80), len(rows)), columns.setdefault(label(name, 80), len(columns))
        if at[0] < _MOST_ROWS and at[1] < _MOST_COLUMNS:
            found[at] = side
    of_rows = {id(each.side.row): each for each in stretches}
    return _Table(tuple(rows)[:_MOST_ROWS], tuple(columns)[:_MOST_COLUMNS], found, of_rows)


def _picture(name: str, title: str, table: _Table, value: Number) -> Picture:
    values = table.values(value)
    with styled():
        heads = [_wrapped(each, 14 if len(table.columns) > _FEW_COLUMNS else 20) for each in table.columns]
        sides = [_wrapped(each, 40) for each in table.rows]
        across, down = (max(each.count("\n") + 1 for each in names) for names in (heads, sides))
        figure = canvas(9, 0.6 + 0.17 * across + max(0.42, 0.18 * down) * len(sides))
        _draw(figure.add_subplot(), table, (sides, heads), values)
    rows = tuple(
        (row, *(table.text((index, column), values[index, column], False) for column in range(len(table.columns))))
        for index, row in enumerate(table.rows)
    )
    grid = Grid(f"Numbers of: {title}", ("", *table.columns), rows)
    return Picture(name, title, _says(table, values), figure, grid)


def _wrapped(text: str, width: int) -> str:
    """In lines that do not reach into what is beside it."""
    lines = textwrap.wrap(
        text.replace("@", " @"), width, max_lines=_MOST_LINES, placeholder=" …", break_on_hyphens=False
    )
    return "\n".join(lines).replace(" @", "@")


def _draw(axes: Axes, table: _Table, names: tuple[list[str], list[str]], values: Floats) -> None:
    sides, heads = names
    shares = _shares(values)
    for row in range(len(table.rows)):
        for column in range(len(heads)):
            share = float(shares[row, column])
            known = math.isfinite(share)
            empty = not known and (row, column) in table.sides
            axes.add_patch(
                Rectangle(
                    (column - 0.485, row - 0.46), 0.97, 0.92, linewidth=0 if known else 0.8,
                    facecolor=SERIES[0] if known else "none", edgecolor=LINE if empty else "none",
                    alpha=0.05 + (_MOST_ALPHA - 0.05) * share if known else 1,
                )
            )  # fmt: skip
            text = table.text((row, column), values[row, column], True)
            axes.text(column, row, text, ha="center", va="center", color=INK if known else SOFT)
    axes.set_xlim(-0.5, len(heads) - 0.5)
    axes.set_ylim(len(sides) - 0.5, -0.5)
    axes.set_xticks(range(len(heads)), heads, fontsize=9.5)
    axes.set_yticks(range(len(table.rows)), sides, fontsize=9.5)
    axes.tick_params(length=0, labelcolor=INK)
    axes.xaxis.tick_top()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _shares(values: Floats) -> Floats:
    """How deep each colour is, 0…1, by logarithms, [rows, columns]; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(values)
    known = logs[np.isfinite(logs)]
    if not len(known):
        return np.full_like(values, np.nan)
    shares: Floats = (logs - known.min()) / max(float(np.ptp(known)), 1e-9)
    return np.where(np.isfinite(shares), shares, np.nan)


def _says(table: _Table, values: Floats) -> str:
    if not np.any(np.isfinite(values)):
        return "Nothing was measured."
    ends = []
    for place in (np.nanargmin(values), np.nanargmax(values)):
        row, column = np.unravel_index(place, values.shape)
        ends.append(f"{number(values[row, column])} ({table.columns[column]}, {table.rows[row]})")
    says = f"From {ends[0]} to {ends[1]}. The deeper the colour, the larger the number."
    places = [place for place in table.sides if math.isfinite(values[place])]
    if any(table.text(place, 1.0, True).endswith("*") for place in places):
        says += " *: there are reasons to mistrust it, which are said above."
    if len(table.sides) < values.size:
        says += " –: the scenario does not ask for it."
    for index, reason in enumerate(table.reasons[:_MOST_REASONS], 1):
        says += f" [{index}] {reason}."
    return says
