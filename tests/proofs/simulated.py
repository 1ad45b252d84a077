"""Simulated experiments whose truth is known, looked at again and again by the statistics that production uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from gateway.experiments.definition import Better, Definition, Kind, Metric, Variant
from gateway.experiments.evidence import CLUSTERS, Cell, Counts, Floats, Observations, Split
from gateway.experiments.report import Analysis, Estimate
from gateway.experiments.statistics import Latencies, Mean, Plan, Rate, analyse, plan
from gateway.types import Target

LATENCY = Metric("latency_ms", Kind.QUANTILE, Better.LOWER, 0.05)
ERRORS = Metric("errors", Kind.BINARY, Better.LOWER, 0.01)
REVENUE = Metric("revenue", Kind.MEAN, Better.HIGHER, 0.05)
_NAMES = ("a", "b")
_UNITS = 300
_P95 = NormalDist().inv_cdf(0.95)


@dataclass(frozen=True)
class Requests:
    """What came in, in order of time, each [requests]: which variant (0 or 1), cluster, value and stratum."""

    variants: Counts
    clusters: Counts
    values: Floats
    strata: Counts


@dataclass(frozen=True)
class World:
    """Requests of a kind: `draw` makes so many; `truths` are control's and the variant's; None: they change."""

    metric: Metric
    draw: Callable[[np.random.Generator, int], Requests]
    truths: tuple[float, float]
    steady: bool = True
    size: Plan | None = None


@dataclass(frozen=True)
class Course:
    """What one simulated experiment went through: when it first called a difference, and whether it was right.

    `contained`: whether the intervals of difference and ratio held the truth at every look; `estimated`: whether
    control's and the variant's estimates did, each for itself.
    """

    called: int | None
    contained: bool
    estimated: tuple[bool, ...]


def follow(world: World, seed: int, looks: Sequence[int]) -> Course:
    """Look at one experiment after so many requests each."""
    requests = world.draw(np.random.default_rng([20261123, seed]), looks[-1])
    definition = Definition(
        "m", "e", tuple(Variant(name, Target("m"), 50.0) for name in _NAMES), "a", metrics=(world.metric,)
    )
    times = int(requests.strata.max()) + 1
    strata = [{name: Cell.empty(world.metric.kind is Kind.QUANTILE) for name in _NAMES} for _ in range(times)]
    observations = Observations({world.metric.name: list(strata)}, [Split({"a": 50, "b": 50}, {})], 1.0)
    called, contained, estimated, begin = None, True, np.ones(2, bool), 0
    for end in looks:
        _add(strata, requests, slice(begin, end))
        begin = end
        analysis = analyse(definition, observations)
        if called is None and analysis.comparisons[0].p_adjusted <= 0.05:
            called = end
        contained = contained and _contained(world, analysis)
        estimated &= not world.steady or _estimated(world, analysis)
    return Course(called, contained, tuple(map(bool, estimated)))


def _add(strata: Sequence[Mapping[str, Cell]], requests: Requests, part: slice) -> None:
    variants, times = requests.variants[part], requests.strata[part]
    for time in np.unique(times):
        for index, name in enumerate(_NAMES):
            chosen = (variants == index) & (times == time)
            strata[time][name].add(requests.clusters[part][chosen], requests.values[part][chosen])


def _contained(world: World, analysis: Analysis) -> bool:
    control, variant = world.truths
    comparison = analysis.comparisons[0]
    return _holds(comparison.difference, variant - control) and _holds(comparison.ratio, variant / control)


def _estimated(world: World, analysis: Analysis) -> npt.NDArray[np.bool_]:
    return np.array([_holds(each.estimate, truth) for each, truth in zip(analysis.metrics, world.truths, strict=True)])


def _holds(estimate: Estimate, truth: float) -> bool:
    """A share at the very edge of what is possible (0 of n) is inside."""
    tolerance = 1e-12
    above = estimate.low is None or estimate.low <= truth + tolerance
    return above and (estimate.high is None or truth <= estimate.high + tolerance)


def errors(rate: float, effect: float = 0.0) -> World:
    """Requests that are independent of each other and fail at these rates."""

    def draw(generator: np.random.Generator, count: int) -> Requests:
        variants = generator.integers(0, 2, count)
        values = (generator.random(count) < rate + effect * variants).astype(np.float64)
        return Requests(variants, generator.integers(0, CLUSTERS, count), values, np.zeros(count, np.int64))

    return World(ERRORS, draw, (rate, rate + effect), size=plan(Rate(rate), effect) if effect else None)


def latency(effect: float = 0.0, deviation: float = 0.5) -> World:
    """Independent requests with lognormal latencies, which the variant stretches."""

    def draw(generator: np.random.Generator, count: int) -> Requests:
        variants = generator.integers(0, 2, count)
        values = generator.lognormal(2, deviation, count) * (1 + effect * variants)
        return Requests(variants, generator.integers(0, CLUSTERS, count), values, np.zeros(count, np.int64))

    truth = float(np.exp(2 + _P95 * deviation))
    baseline = Latencies.lognormal(float(np.exp(2)), truth)
    return World(LATENCY, draw, (truth, truth * (1 + effect)), size=plan(baseline, effect) if effect else None)


def revenue(effect: float = 0.0) -> World:
    """Independent values with a long tail, whose mean the variant stretches."""

    def draw(generator: np.random.Generator, count: int) -> Requests:
        variants = generator.integers(0, 2, count)
        values = generator.lognormal(0, 1, count) * (1 + effect * variants)
        return Requests(variants, generator.integers(0, CLUSTERS, count), values, np.zeros(count, np.int64))

    truth = float(np.exp(0.5))
    baseline = Mean(truth, truth * float(np.sqrt(np.e - 1)))
    return World(REVENUE, draw, (truth, truth * (1 + effect)), size=plan(baseline, effect) if effect else None)


def rare_revenue() -> World:
    """One value in fifty is not 0, and the variant gets one request in twenty."""

    def draw(generator: np.random.Generator, count: int) -> Requests:
        variants = (generator.random(count) < 0.05).astype(np.int64)
        values = generator.exponential(1, count) * (generator.random(count) < 0.02)
        return Requests(variants, generator.integers(0, CLUSTERS, count), values, np.zeros(count, np.int64))

    return World(REVENUE, draw, (0.02, 0.02))


def clustered_latency() -> World:
    """Units that are slow or fast as a whole: half of the variance is theirs; some of them come more often."""

    def draw(generator: np.random.Generator, count: int) -> Requests:
        units, variants, clusters = _units(generator, count)
        theirs = generator.normal(0, 0.35, _UNITS)
        values = np.exp(2 + theirs[units] + generator.normal(0, 0.35, count))
        return Requests(variants[units], clusters[units], values, np.zeros(count, np.int64))

    truth = float(np.exp(2 + _P95 * 0.35 * np.sqrt(2)))
    return World(LATENCY, draw, (truth, truth))


def clustered_errors() -> World:
    """Units that fail often or hardly ever, 5 % on average; some of them come more often."""

    def draw(generator: np.random.Generator, count: int) -> Requests:
        units, variants, clusters = _units(generator, count)
        rates = generator.beta(0.5, 9.5, _UNITS)
        values = (generator.random(count) < rates[units]).astype(np.float64)
        return Requests(variants[units], clusters[units], values, np.zeros(count, np.int64))

    return World(ERRORS, draw, (0.05, 0.05))


def ramp() -> World:
    """The variant's share grows from 5 to 20 to 50 % while everything becomes slower: Simpson's paradox in waiting."""

    def draw(generator: np.random.Generator, count: int) -> Requests:
        strata = np.arange(count) * 3 // count
        variants = (generator.random(count) < np.array([0.05, 0.2, 0.5])[strata]).astype(np.int64)
        values = generator.lognormal(2, 0.5, count) * np.array([1.0, 1.3, 1.6])[strata]
        return Requests(variants, generator.integers(0, CLUSTERS, count), values, strata)

    return World(LATENCY, draw, (1.0, 1.0), steady=False)


def _units(generator: np.random.Generator, count: int) -> tuple[Counts, Counts, Counts]:
    """Each request's unit, and each unit's variant and cluster."""
    popularity = generator.gamma(2, 1, _UNITS)
    units = generator.choice(_UNITS, count, p=popularity / popularity.sum())
    return units, generator.integers(0, 2, _UNITS), generator.integers(0, CLUSTERS, _UNITS)


NULLS: Mapping[str, World] = MappingProxyType(
    {
        "errors 2 %": errors(0.02),
        "latency p95": latency(),
        "latency p95, 300 units": clustered_latency(),
        "errors 5 %, 300 units": clustered_errors(),
        "latency p95, ramp 5/20/50 % while it drifts": ramp(),
        "revenue, long tail": revenue(),
        "revenue of 1 in 50, 5 % of the traffic": rare_revenue(),
        "errors 0.2 %": errors(0.002),
    }
)
"""Experiments without any difference."""

EFFECTS: Mapping[str, World] = MappingProxyType(
    {
        "latency p95 -5 %": latency(-0.05),
        "latency p95 +5 %": latency(0.05),
        "errors 2 % + 1 point": errors(0.02, 0.01),
        "errors 2 % - 1 point": errors(0.02, -0.01),
        "revenue +5 %, long tail": revenue(0.05),
    }
)
"""Experiments with a difference, and the planner's size for it."""
