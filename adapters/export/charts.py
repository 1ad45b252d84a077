"""Where a certificate's pictures have their lines and bars: pure geometry, which the page's template draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adapters.export.figures import BIN_EXPONENTS, Differences

WIDTH = 480.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 464.0, 24.0, 180.0
_ZERO_WIDTH, _GAP = 24.0, 30.0
_FEWEST_BINS = 8
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Column:
    """A bar of a histogram, and what it stands for in words."""

    x: float
    y: float
    width: float
    height: float
    words: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis and its text."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Absolute differences on a logarithmic axis; counts too, since the rare large ones are what matters."""

    columns: Sequence[Column]
    across: Sequence[Tick]
    up: Sequence[Tick]
    tolerated: float | None
    left: float = _LEFT
    right: float = _RIGHT
    top: float = _TOP
    bottom: float = _BOTTOM
    height: float = _BOTTOM + 50


def histogram(differences: Differences, tolerated: float) -> Histogram:
    """The picture of an output's differences; `tolerated` is the largest one that is, in the output's unit."""
    first, last = _shown(differences, tolerated)
    most = max(1, differences.zero, *differences.bins)
    decades = max(1, math.ceil(math.log10(most + 1)))
    begin = _LEFT + _ZERO_WIDTH + _GAP
    step = (_RIGHT - begin) / (last - first)

    def place(exponent: float) -> float:
        return begin + (exponent - BIN_EXPONENTS[first]) * 2 * step

    columns = [_column(_LEFT, _ZERO_WIDTH, differences.zero, decades, "no difference")]
    for index in range(first, last):
        low, high = BIN_EXPONENTS[index], BIN_EXPONENTS[index + 1]
        words = f"{10**low:.1e} to {10**high:.1e}"
        columns.append(_column(place(low), step, differences.bins[index], decades, words))
    whole = range(math.ceil(BIN_EXPONENTS[first]), math.floor(BIN_EXPONENTS[last]) + 1)
    every = max(1, math.ceil(len(whole) / 6))
    across = [Tick(_LEFT + _ZERO_WIDTH / 2, "0"), *(Tick(place(each), _power(each)) for each in whole[::every])]
    up = [Tick(_height(10**each, decades), f"{10**each:,}") for each in range(decades + 1)]
    inside = tolerated > 0 and BIN_EXPONENTS[first] <= math.log10(tolerated) <= BIN_EXPONENTS[last]
    return Histogram(
        [each for each in columns if each.height], across, up, place(math.log10(tolerated)) if inside else None
    )


def _shown(differences: Differences, tolerated: float) -> tuple[int, int]:
    """The bins from the first to the last that something is in, and with them what is tolerated."""
    used = [index for index, count in enumerate(differences.bins) if count]
    if tolerated > 0:
        at = (math.log10(tolerated) - BIN_EXPONENTS[0]) * 2
        used.append(min(max(int(at), 0), len(differences.bins) - 1))
    first, last = (min(used), max(used) + 1) if used else (8, 8 + _FEWEST_BINS)
    while last - first < _FEWEST_BINS:
        first, last = max(0, first - 1), min(len(differences.bins), last + 1)
    return first, last


def _column(x: float, width: float, count: int, decades: int, words: str) -> Column:
    y = _height(count, decades) if count else _BOTTOM
    noun = "element" if count == 1 else "elements"
    return Column(x, y, max(width - 1.5, 1.0), _BOTTOM - y, f"{words}: {count:,} {noun}")


def _height(count: int, decades: int) -> float:
    """Where a column of so many ends: one element is seen, and each ten times as many is as much higher."""
    return _BOTTOM - (_BOTTOM - _TOP) * (math.log10(count) + 0.35) / (decades + 0.35)


def _power(exponent: int) -> str:
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar with its name and its value as text; the first is the source's."""

    label: str
    text: str
    y: float
    width: float
    inside: bool


@dataclass(frozen=True, slots=True)
class Bars:
    """Two values beside each other, from zero on."""

    title: str
    bars: Sequence[Bar]
    words: str
    height: float
    left: float = 0.0


def bars(title: str, values: Sequence[tuple[str, float]], write: Callable[[float], str]) -> Bars:
    """The picture of named values, drawn to one scale."""
    most = max(*(value for _, value in values), 1e-300)
    drawn = []
    for place, (label, value) in enumerate(values):
        width = max(2.0, WIDTH * value / most)
        drawn.append(Bar(label, write(value), place * 48.0, width, width > WIDTH * 0.55))
    words = f"{title}: " + "; ".join(f"{label} {write(value)}" for label, value in values)
    return Bars(title, drawn, words, len(values) * 48.0)
