"""Numbers of rows with their intervals, as results have them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import msgspec

from loadtests.results.schema import Figure, Run
from loadtests.scenario import PricesTable
from loadtests.statistics import Estimate, error_rate, percentile, throughput


def usual(runs: Sequence[Run], ending: str = "", first: float = 50.0) -> list[Figure]:
    """Percentiles, throughput and errors of runs at one level.

    Args:
        runs: All rounds.
        ending: Of their names: ` at 8 connections`, `, before`.
        first: The percentile that is asked for first.
    """
    percents = [first, *(each for each in (50.0, 90.0, 99.0) if each != first)]
    return [
        *(figure(f"p{each:g}{ending}", percentile(runs, each / 100), "ms") for each in percents),
        figure(f"throughput{ending}", throughput(runs), "1/s"),
        figure(f"errors{ending}", error_rate(runs), "share"),
    ]


def figure(name: str, estimate: Estimate, unit: str, note: str = "", times: float = 1.0) -> Figure:
    """An estimate; what is not finite cannot be said."""
    value, low, high = (
        None if not math.isfinite(each) else each * times for each in (estimate.value, estimate.low, estimate.high)
    )
    if low is None or high is None:
        low = high = None
    return Figure(name, value, unit, low, high, note)


def cost(rate: Figure, prices: PricesTable, cores: int, what: str) -> list[Figure]:
    """What a million of them cost at this rate by the hour of all cores; nothing where no price is said."""
    if not prices.core_hour or not rate.value:
        return []
    per_million = prices.core_hour * cores / 3600 * 1e6
    low, high = (None if not each else per_million / each for each in (rate.high, rate.low))
    note = f"{cores} core{'s' if cores > 1 else ''} at {prices.core_hour:g} {prices.currency} an hour"
    return [Figure(f"million {what}", per_million / rate.value, prices.currency, low, high, note)]


def of_times(name: str, values: Sequence[float], unit: str, note: str = "") -> Figure:
    """The median of independent times. From six on, the lowest and the highest hold it with 95 %."""
    if not values:
        return Figure(name, None, unit, note=note)
    told = f"median, lowest and highest of {len(values)}" if len(values) > 1 else "once"
    low, high = (min(values), max(values)) if len(values) > 1 else (None, None)
    return Figure(name, median(values), unit, low, high, "; ".join(filter(None, [note, told])))


def share(name: str, part: int, whole: int, note: str = "") -> Figure:
    """A share of independent cases, with Wilson's interval."""
    if not whole:
        return Figure(name, None, "share", note=note)
    z = 1.959964
    centre = (part + z * z / 2) / (whole + z * z)
    half = z / (whole + z * z) * math.sqrt(part * (whole - part) / whole + z * z / 4)
    return Figure(name, part / whole, "share", max(0.0, centre - half), min(1.0, centre + half), note)


def phase(runs: Sequence[Run], name: str) -> list[Run]:
    """The runs of one phase."""
    return [each for each in runs if each.phase == name]


def between(run: Run, begin_s: float, end_s: float) -> Run:
    """The part of a run whose slices end between two moments; the warm-up stays out."""
    inside = tuple(each for each in run.measured if begin_s < each.end_s <= end_s)
    return msgspec.structs.replace(run, slices=inside)
