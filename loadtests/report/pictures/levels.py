"""Throughput against p99: how fast answers still are at how many a second."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from loadtests.comparison.words import number
from loadtests.report.content import Content, Stretch
from loadtests.report.pictures.drawing import (
    DASHES,
    LEGEND,
    MARKERS,
    MOST_SERIES,
    SERIES,
    Grid,
    Picture,
    canvas,
    label,
    legend,
    styled,
)
from loadtests.report.pictures.percentiles import logarithmic, thousands
from loadtests.results.schema import Run
from loadtests.statistics.estimates import Estimate
from loadtests.statistics.figures import Percentile, Throughput
from loadtests.statistics.samples import pooled, rounds

_MOST_POINTS = 24


@dataclass(frozen=True, slots=True)
class _Point:
    row: str
    phase: str
    throughput: Estimate
    latency: Estimate


def throughput_against_latency(content: Content) -> Iterator[Picture]:
    """Pictures of at most eight rows each, a point for each level that was put on."""
    for number_, scenario in enumerate(content.scenarios, 1):
        stretches = [each for each in content.stretches if each.side.source.result.name == scenario]
        of = f", {label(scenario)}" if len(content.scenarios) > 1 else ""
        for index, (which, part) in enumerate(content.parts(stretches, MOST_SERIES), 1):
            series: dict[str, list[_Point]] = {}
            for point in (point for each in part for point in _points(each)):
                series.setdefault(point.row, []).append(point)
            if series:
                yield _picture(
                    f"levels-{number_}-{index}",
                    f"Throughput against p99{of}{which}",
                    list(series.values())[:MOST_SERIES],
                )


def _points(each: Stretch) -> Iterator[_Point]:
    levels = sorted({piece.level for run in each.runs for piece in run.measured if piece.level > 0})
    if len(levels) <= 1:
        if each.answered and each.throughput.value > 0:
            yield _Point(each.short, each.phase, each.throughput, each.percentiles[0.99])
        return
    for group in np.array_split(np.array(levels), min(len(levels), _MOST_POINTS)):
        yield from _at(each, float(group[0]), float(group[-1]))


def _at(each: Stretch, low: float, high: float) -> Iterator[_Point]:
    """Of a load that changes: what is measured once has no interval."""
    runs = [_only(run, low, high) for run in each.runs]
    together = pooled(rounds([run for run in runs if run.slices]))
    weights = np.ones((1, together.slices))
    rate, latency = (float(statistic(together, weights)[0]) for statistic in (Throughput(), Percentile(0.99)))
    if rate > 0 and latency > 0:
        levels = f"{number(low)}" if low == high else f"{number(low)} to {number(high)}"
        yield _Point(
            each.short, f"{each.phase}, level {levels}", Estimate(rate, rate, rate), Estimate(latency, latency, latency)
        )


def _only(run: Run, low: float, high: float) -> Run:
    chosen = tuple(piece for piece in run.measured if low <= piece.level <= high)
    return replace(run, slices=chosen)


def _picture(name: str, title: str, series: Sequence[Sequence[_Point]]) -> Picture:
    with styled():
        figure = canvas(9, 3.6)
        axes = figure.add_subplot()
        for index, points in enumerate(series):
            ordered = sorted(points, key=lambda each: each.throughput.value)
            x, y = ([getattr(each, which).value for each in ordered] for which in ("throughput", "latency"))
            axes.errorbar(
                x, y, xerr=_reach(ordered, "throughput"), yerr=_reach(ordered, "latency"), capsize=2.5, elinewidth=1,
                color=SERIES[index], linestyle=DASHES[index], linewidth=1.2, marker=MARKERS[index],
                label=label(points[0].row, LEGEND),
            )  # fmt: skip
        axes.set_xlim(0, 1.2 * max(point.throughput.value for points in series for point in points))
        thousands(axes.xaxis)
        logarithmic(axes)
        axes.set_xlabel("throughput, right answers a second")
        axes.set_ylabel("p99, ms")
        legend(figure, axes)
    best = max((point for points in series for point in points), key=lambda each: each.throughput.value)
    says = (
        f"The most answers a second were {number(best.throughput.value)} ({best.row}), "
        f"at a p99 of {number(best.latency.value)} ms. "
        "Bars are intervals at 95 %; where they leave the picture, the numbers tell."
    )
    rows = tuple(
        (each.row, label(each.phase, 80), _text(each.throughput), _text(each.latency))
        for points in series
        for each in points
    )
    head = ("", "load", "answers a second", "p99, ms")
    return Picture(name, title, says, figure, Grid(f"Numbers of: {title}", head, rows))


def _reach(points: Sequence[_Point], which: str) -> list[list[float]]:
    """Lengths of bars down and up; none where an interval is not known."""
    found: list[list[float]] = [[], []]
    for each in points:
        estimate: Estimate = getattr(each, which)
        known = estimate.low > 0 and estimate.high < 20 * estimate.value
        found[0].append(estimate.value - estimate.low if known else 0.0)
        found[1].append(estimate.high - estimate.value if known else 0.0)
    return found


def _text(estimate: Estimate) -> str:
    if estimate.low == estimate.high:
        return number(estimate.value)
    return f"{number(estimate.value)} ({number(estimate.low)} to {number(estimate.high)})"
