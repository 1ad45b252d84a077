"""Timelines: latency, answers and failures of each moment, and what happened to the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from msgspec.structs import replace

from loadtests.comparison.words import number
from loadtests.report.content import Content, Stretch
from loadtests.report.pictures.drawing import BAD, INK, LINE, SERIES, SOFT, Grid, Picture, canvas, label, styled
from loadtests.report.pictures.percentiles import logarithmic, thousands
from loadtests.results.histograms import Floats, Integers
from loadtests.results.schema import Run
from loadtests.statistics.figures import Percentile
from loadtests.statistics.samples import rounds

_MOST_RUNS = 12
_MOST_EVENTS = 12
_TABLE_ROWS = 24


@dataclass(frozen=True, slots=True)
class _Moments:
    """Runs one after the other, without the pauses between; each array [moments], NaN where a run ends."""

    seconds: Floats
    p50: Floats
    p99: Floats
    answered: Floats
    failed: Floats
    begins: tuple[float, ...]
    warm_ups: tuple[tuple[float, float], ...]
    events: tuple[tuple[float, str], ...]


def timelines(content: Content, most: int) -> tuple[list[Picture], list[Picture], int]:
    """Phases of rows in which something happened; others; how many are left out, so that it is `most` in all.

    What was part of a search is not shown.
    """
    shown = [each for each in content.stretches if not each.phase.startswith(("search", "confirm"))]
    eventful = [each for each in shown if _eventful(each)]
    others = [each for each in shown if not _eventful(each)]
    if not eventful:
        eventful, others = others[:1], others[1:]
    chosen = [*eventful, *others][:most]
    pictures = [_picture(f"timeline-{index}", each) for index, each in enumerate(chosen, 1)]
    return pictures[: len(eventful)], pictures[len(eventful) :], len(shown) - len(pictures)


def _eventful(each: Stretch) -> bool:
    """Whether requests failed, something was done to the gateway, or the load changed on purpose."""
    levels = {piece.level for run in each.runs for piece in run.slices}
    return bool(each.together.failed.sum()) or any(run.events for run in each.runs) or len(levels) > 2


def _picture(name: str, each: Stretch) -> Picture:
    moments = _moments(each.runs[:_MOST_RUNS])
    with styled():
        figure = canvas(9, 4.6)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        _latency(above, moments)
        _answers(below, moments)
        for axes in (above, below):
            _around(axes, moments)
        _legend(figure, above, below)
    phase = f", {label(each.phase)}" if each.phase != "measure" else ""
    title = f"{each.name}{phase}, over time"
    return Picture(name, title, _says(each, moments), figure, _numbers(title, moments))


def _says(each: Stretch, moments: _Moments) -> str:
    failed = int(np.nansum(each.together.failed))
    says = f"{failed:,} requests failed." if failed else "No request failed."
    reasons = dict.fromkeys(kind for run in each.runs for piece in run.slices for kind in piece.failures)
    if failed and reasons:
        says = f"{says[:-1]}: {label(', '.join(reasons), 160)}."
    for index, (when, text) in enumerate(moments.events[:_MOST_EVENTS], 1):
        says += f" {index}: {label(text, 80)} at {number(when)} s."
    more = len(moments.events) - _MOST_EVENTS
    says += f" {more:,} events more are not shown." if more > 0 else ""
    if len(each.runs) > 1:
        says += f" Rounds stand one after the other: {min(len(each.runs), _MOST_RUNS)} of {len(each.runs)}."
    return says


def _moments(runs: Sequence[Run]) -> _Moments:
    parts: list[list[Floats]] = []
    begins: list[float] = []
    warm_ups: list[tuple[float, float]] = []
    events: list[tuple[float, str]] = []
    offset = 0.0
    for run in runs:
        begins.append(offset)
        warm_ups += [(offset, offset + run.warm_up_s)] if run.warm_up_s else []
        events += [(offset + when, text) for when, text in run.events]
        parts.append(_of_run(_without_rest(run), offset))
        offset += max(each.end_s for each in run.slices)
    columns = [np.concatenate([part[index] for part in parts]) for index in range(5)]
    seconds, p50, p99, answered, failed = columns
    return _Moments(seconds, p50, p99, answered, failed, tuple(begins), tuple(warm_ups), tuple(events))


def _without_rest(run: Run) -> Run:
    """Without the slices at its end in which all was over: they would look as if the gateway had stood still."""
    slices = list(run.slices)
    while len(slices) > 1 and not (slices[-1].sent or slices[-1].under_way or slices[-1].failures):
        if any(answers.succeeded for answers in slices[-1].answers.values()):
            break
        slices.pop()
    return replace(run, slices=tuple(slices))


def _of_run(run: Run, offset: float) -> list[Floats]:
    """Seconds, p50, p99, answers a second, failures a second; with a gap at the end. The warm-up is shown, too."""
    samples = rounds([replace(run, warm_up_s=-1.0)])[0]
    ends = np.array([each.end_s for each in run.slices])
    places = (np.arange(samples.slices) + 1) * len(ends) // samples.slices - 1
    lengths = np.diff(np.concatenate(([0.0], ends[places])))
    weights = np.eye(samples.slices)
    found = [Percentile(share)(samples, weights) for share in (0.5, 0.99)]
    with np.errstate(divide="ignore", invalid="ignore"):
        found += [values / lengths for values in (samples.succeeded, samples.failed)]
    return [np.append(values, np.nan) for values in (offset + ends[places], *found)]


def _latency(axes: Axes, moments: _Moments) -> None:
    axes.plot(moments.seconds, moments.p99, color=SERIES[1], linewidth=1.3, label="p99 of the moment")
    axes.plot(
        moments.seconds, moments.p50, color=SERIES[0], linewidth=1.3, linestyle=(0, (4, 1.5)), label="p50 of the moment"
    )
    axes.set_ylabel("latency, ms")
    if np.any(moments.p50 > 0):
        logarithmic(axes)


def _answers(axes: Axes, moments: _Moments) -> None:
    axes.plot(moments.seconds, moments.answered, color=SERIES[2], linewidth=1.3, label="answers")
    if np.any(moments.failed > 0):
        axes.fill_between(
            moments.seconds, moments.failed, color=BAD, alpha=0.8, linewidth=0, step="mid", label="failures"
        )
    axes.set_ylabel("requests/s")
    axes.set_xlabel("seconds")
    axes.set_ylim(bottom=0)
    thousands(axes.yaxis)
    axes.margins(x=0.01)


def _around(axes: Axes, moments: _Moments) -> None:
    """Where rounds begin, what counts nowhere, and what happened."""
    for begin in moments.begins[1:]:
        axes.axvline(begin, color=SOFT, linewidth=0.8)
    for index, (begin, end) in enumerate(moments.warm_ups):
        axes.axvspan(begin, end, color=LINE, alpha=0.6, linewidth=0, zorder=0, label="" if index else "warm-up")
    for index, (when, _) in enumerate(moments.events[:_MOST_EVENTS], 1):
        axes.axvline(when, color=INK, linewidth=1, linestyle=(0, (3, 2)))
        axes.annotate(f" {index}", (when, 1), xycoords=("data", "axes fraction"), va="top", fontsize=9)


def _legend(figure: Figure, *of: Axes) -> None:
    """Of both axes, each name once."""
    found: dict[str, Artist] = {}
    for axes in of:
        found |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(list(found.values()), list(found), loc="outside lower left", ncols=5, handlelength=2.6)


def _numbers(title: str, moments: _Moments) -> Grid:
    """About two dozen moments, the worst of what lies between."""
    groups = np.array_split(np.arange(len(moments.seconds)), min(len(moments.seconds), _TABLE_ROWS))
    rows = []
    for group in groups:
        if not np.any(np.isfinite(moments.seconds[group])):
            continue
        events = [
            text for when, text in moments.events if _begin(moments, group) < when <= np.nanmax(moments.seconds[group])
        ]
        rows.append(
            (
                f"{number(float(np.nanmax(moments.seconds[group])))} s", _most(moments.p50[group]),
                _most(moments.p99[group]), _mean(moments.answered[group]), _mean(moments.failed[group]),
                "; ".join(label(each, 60) for each in events[:_MOST_EVENTS]),
            )
        )  # fmt: skip
    head = ("until", "worst p50, ms", "worst p99, ms", "answers/s", "failures/s", "events")
    return Grid(f"Numbers of: {title}", head, tuple(rows))


def _begin(moments: _Moments, group: Integers) -> float:
    before = moments.seconds[: group[0]]
    return float(np.nanmax(before)) if np.any(np.isfinite(before)) else -1.0


def _most(values: Floats) -> str:
    return number(float(np.nanmax(values))) if np.any(np.isfinite(values)) else "–"


def _mean(values: Floats) -> str:
    return number(float(np.nanmean(values))) if np.any(np.isfinite(values)) else "–"
