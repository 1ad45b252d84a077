"""Latency distributions: how slow the slowest one in ten, in a hundred, in a thousand answers are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator

from loadtests.comparison.words import number
from loadtests.report.content import SHARES, Content, Stretch
from loadtests.report.pictures.drawing import (
    DASHES,
    LEGEND,
    MOST_SERIES,
    SERIES,
    Grid,
    Picture,
    canvas,
    label,
    legend,
    styled,
)
from loadtests.results.histograms import Floats

_TICKS = (
    (0.0, "0 %"),
    (0.5, "50 %"),
    (0.9, "90 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
    (0.99999, "99.999 %"),
)
_POINTS = 240


def latency_distributions(content: Content) -> Iterator[Picture]:
    """A picture for each level, of at most eight rows each."""
    for number_, group in enumerate(content.groups, 1):
        for index, (which, stretches) in enumerate(content.parts(group.stretches, MOST_SERIES), 1):
            yield _picture(f"latency-{number_}-{index}", f"Latency distribution{group.at}{which}", stretches)


def _picture(name: str, title: str, stretches: Sequence[Stretch]) -> Picture:
    with styled():
        figure = canvas(9, 3.6)
        axes = figure.add_subplot()
        for index, each in enumerate(stretches):
            nines, values = _curve(each)
            axes.plot(nines, values, color=SERIES[index], linestyle=DASHES[index], label=label(each.short, LEGEND))
        _axes(axes, max(each.answered for each in stretches))
        legend(figure, axes)
    slowest = max(stretches, key=_p99)
    fastest = min(stretches, key=_p99)
    ends = (f"{number(_p99(each))} ms ({each.short})" for each in (fastest, slowest))
    says = f"p99 reaches from {' to '.join(ends)}."
    if fastest is slowest:
        says = f"p99 of {fastest.short} is {number(_p99(fastest))} ms."
    head = ("", "answers", *(f"p{100 * share:g}, ms" for share in SHARES), "maximum, ms")
    return Picture(name, title, says, figure, Grid(f"Numbers of: {title}", head, tuple(map(_numbers, stretches))))


def _numbers(each: Stretch) -> tuple[str, ...]:
    values = (number(each.percentiles[share].value) for share in SHARES)
    return (each.short, f"{each.answered:,}", *values, number(each.longest))


def _curve(each: Stretch) -> tuple[Floats, Floats]:
    """Nines (1: 90 %, 2: 99 %) and ms, both [points], up to the share that one answer less would be."""
    shares, values = each.distribution
    nines = -np.log10(np.maximum(1 - shares, 1 / each.answered))
    wanted = np.linspace(0, nines[-1], _POINTS)
    places = np.unique(np.searchsorted(nines, wanted).clip(0, len(nines) - 1))
    return nines[places], values[places]


def _axes(axes: Axes, answered: int) -> None:
    most = max(2.0, math.log10(answered))
    ticks = [(-math.log10(1 - share), text) for share, text in _TICKS if -math.log10(1 - share) <= most + 1e-9]
    axes.set_xticks([place for place, _ in ticks], [text for _, text in ticks])
    axes.set_xlim(0, most)
    logarithmic(axes)
    axes.set_xlabel("share of answers that are faster")
    axes.set_ylabel("latency, ms")


def logarithmic(axes: Axes) -> None:
    """A logarithmic y axis with plain numbers, and some between the powers of ten where it spans few."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    thousands(axes.yaxis)
    few = math.log10(high / low) < 2.5
    subs = (1, 2, 5) if few else (1,)
    axes.yaxis.set_major_locator(LogLocator(10, subs=subs))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))


def thousands(axis: Axis) -> None:
    """Plain numbers, with thousands apart."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _p99(each: Stretch) -> float:
    return each.percentiles[0.99].value
