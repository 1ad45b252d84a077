"""What is known of one experiment, as its page shows it: by metric and variant, in words and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from gateway.control.pages.charts.forest import Difference, forest
from gateway.control.pages.charts.over_time import Point, Series, over_time
from gateway.control.pages.formats import UNKNOWN, Units, exactly, number, units
from gateway.experiments.definition import LATENCY, Better, Definition, Kind, Metric
from gateway.experiments.report import Analysis, Comparison, Look, VariantMetric, Verdict, View

_POINTS: Final = 80
_TABLE_ROWS: Final = 12


@dataclass(frozen=True, slots=True)
class Row:
    """One variant in one metric; `place` is its number, which colours follow. `comparison` is None for control."""

    variant: str
    place: int
    metric: VariantMetric | None
    comparison: Comparison | None
    estimate: str
    interval: str
    difference: str
    difference_interval: str
    ratio: str
    loss: str


@dataclass(frozen=True, slots=True)
class LookRow:
    """One variant at one look, for the table beside the pictures."""

    look: Look
    estimate: str
    difference: str


@dataclass(frozen=True, slots=True)
class Section:
    """All of one metric."""

    metric: Metric
    what: str
    aim: str
    unit: str
    rows: Sequence[Row]
    forest: Markup | None
    estimates: Markup | None
    differences: Markup | None
    looks: Sequence[LookRow]
    looks_in_all: int


def sections(view: View, looks: Sequence[Look]) -> list[Section]:
    """The metrics in the definition's order."""
    definition = view.definition
    found: dict[tuple[str, str], list[Look]] = {}
    for look in looks:
        found.setdefault((look.metric, look.variant), []).append(look)
    names = [variant.name for variant in definition.variants]
    return [
        _section(definition, metric, view.analysis, {name: found.get((metric.name, name), []) for name in names})
        for metric in definition.metrics
    ]


def _section(
    definition: Definition, metric: Metric, analysis: Analysis | None, looks: Mapping[str, Sequence[Look]]
) -> Section:
    written = units(metric)
    places = {variant.name: place for place, variant in enumerate(definition.variants)}
    rows = [_row(metric, name, place, analysis, written) for name, place in places.items()]
    by_variant = {name: _thinned(own) for name, own in looks.items()}
    margin = _margin(definition, metric, rows)
    last = sorted((each for own in looks.values() for each in own[-_TABLE_ROWS:]), key=lambda each: each.at)
    return Section(
        metric,
        what(metric),
        aim(metric),
        f", {written.of_differences}" if written.of_differences else "",
        rows,
        _forest(metric, rows, margin, written),
        _estimates(metric, by_variant, places, written),
        _differences(metric, by_variant, places, margin, written),
        [_look_row(each, written) for each in last[: -_TABLE_ROWS - 1 : -1]],
        sum(map(len, looks.values())),
    )


def what(metric: Metric) -> str:
    """Which value of the metric is compared."""
    part = exactly(round(metric.quantile * 100, 8))
    if metric.name == LATENCY:
        return f"p{part} of the latency, from admission to answer"
    return {
        Kind.MEAN: "mean of the reported values",
        Kind.BINARY: "share of requests that failed" if metric.automatic else "share of ones",
        Kind.QUANTILE: f"p{part} of the reported values",
        Kind.CONVERSION: "share of units that ever reported a one",
    }[metric.kind]


def aim(metric: Metric) -> str:
    """Which way is good, and what does not matter."""
    relative = metric.kind in (Kind.MEAN, Kind.QUANTILE)
    size = exactly(round(metric.margin * 100, 8))
    unit = "%" if relative else "point" if size == "1" else "points"
    return f"{metric.better} is better; less than {size} {unit} apart does not matter"


def _row(metric: Metric, name: str, place: int, analysis: Analysis | None, written: Units) -> Row:
    found = (
        next((m for m in analysis.metrics if (m.metric, m.variant) == (metric.name, name)), None) if analysis else None
    )
    against = (
        next((c for c in analysis.comparisons if (c.metric, c.variant) == (metric.name, name)), None)
        if analysis
        else None
    )
    return Row(
        name,
        place,
        found,
        against,
        written.value(found.estimate.value) if found else UNKNOWN,
        written.interval(found.estimate) if found else UNKNOWN,
        written.difference(against.difference.value) if against else UNKNOWN,
        written.interval(against.difference) if against else UNKNOWN,
        number(against.ratio.value) if against else UNKNOWN,
        written.value(found.bayes.expected_loss) if found and found.bayes else UNKNOWN,
    )


def _margin(definition: Definition, metric: Metric, rows: Sequence[Row]) -> float | None:
    """The margin in the metric's own unit; None while control's value is not known."""
    if metric.kind in (Kind.BINARY, Kind.CONVERSION):
        return metric.margin
    control = next((row.metric for row in rows if row.variant == definition.control), None)
    value = control.estimate.value if control else None
    return None if value is None else metric.margin * abs(value)


def _forest(metric: Metric, rows: Sequence[Row], margin: float | None, written: Units) -> Markup | None:
    compared = [
        Difference(
            row.variant,
            row.place,
            row.comparison.difference.value,
            row.comparison.difference.low,
            row.comparison.difference.high,
            f"{row.difference} [{row.difference_interval}]",
        )
        for row in rows
        if row.comparison is not None
    ]
    if not any(each.value is not None for each in compared):
        return None
    title = f"Difference to control in {metric.name}"
    return forest(compared, margin, metric.better is Better.LOWER, written.tick_of_differences, title)


def _estimates(
    metric: Metric, looks: Mapping[str, Sequence[Look]], places: Mapping[str, int], written: Units
) -> Markup | None:
    series = [
        Series(
            name,
            places[name],
            [_point(each, each.estimate.value, each.estimate.low, each.estimate.high) for each in own],
        )
        for name, own in looks.items()
        if any(each.estimate.value is not None for each in own)
    ]
    title = f"Estimates of {metric.name} over time, with intervals"
    return over_time(series, None, written.tick, title) if series else None


def _differences(
    metric: Metric,
    looks: Mapping[str, Sequence[Look]],
    places: Mapping[str, int],
    margin: float | None,
    written: Units,
) -> Markup | None:
    series = [
        Series(
            name,
            places[name],
            [_point(each, each.difference.value, each.difference.low, each.difference.high) for each in own],
        )
        for name, own in looks.items()
        if any(each.difference.value is not None and each.p_value is not None for each in own)
    ]
    title = f"Differences to control in {metric.name} over time, with intervals"
    return over_time(series, margin, written.tick_of_differences, title, zero=True) if series else None


def _point(look: Look, value: float | None, low: float | None, high: float | None) -> Point:
    return Point(look.at.timestamp(), value, low, high)


def _thinned(looks: Sequence[Look]) -> Sequence[Look]:
    """So many that a line shows as much as with all; the last one is among them."""
    if len(looks) <= _POINTS:
        return looks
    step = (len(looks) - 1) / (_POINTS - 1)
    return [looks[round(index * step)] for index in range(_POINTS)]


def _look_row(look: Look, written: Units) -> LookRow:
    compared = look.p_value is not None
    return LookRow(
        look,
        f"{written.value(look.estimate.value)} [{written.interval(look.estimate)}]",
        f"{written.difference(look.difference.value)} [{written.interval(look.difference)}]" if compared else UNKNOWN,
    )


def overall(view: View) -> list[tuple[str, Verdict]]:
    """Every variant's verdict as a whole, but control's."""
    verdicts = view.analysis.verdicts if view.analysis else {}
    return [(each.name, verdicts.get(each.name, Verdict.UNDECIDED)) for each in view.variants if not each.control]
