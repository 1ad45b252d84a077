"""A benchmark as data: who takes part, how they are set beside each other, and what is hoped for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from loadtests.bench.contenders import IN_PROCESS, Entrant, Figures, Row
from loadtests.bench.processes import Place

DISTURBED = 0.1
"""The share of their core that servers can lose to others before figures are doubtful."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of two contenders, the second being the one compared with."""

    heading: str
    unit: str
    of: Callable[[Figures, Figures], float]


THROUGHPUT = Comparison("ratio", "× the requests/s", lambda one, other: one.requests_per_s / other.requests_per_s)
LATENCY = Comparison("ratio", "× the p50", lambda one, other: one.p50_ms / other.p50_ms)
ADDED = Comparison("added ms", "ms added to the p50", lambda one, other: one.p50_ms - other.p50_ms)


@dataclass(frozen=True, slots=True)
class Goal:
    """What a comparison should come to: at least `bound`, or at most; no bound is for information."""

    contender: str
    beside: str
    connections: int
    comparison: Comparison
    at_least: bool
    bound: float | None
    curve: tuple[str, ...] = ()
    """No more is asked than the best of these has of the first one's throughput."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A goal, and what came of it; `value` is None where one of the two was not measured."""

    contender: str
    beside: str
    connections: int
    goal: str
    value: float | None
    holds: bool | None
    disturbed: bool
    """Whether others had so much of the servers' core meanwhile that this may be wrong."""


@dataclass(frozen=True, slots=True)
class Part:
    """A server and its contenders, which can be left out by its name."""

    name: str
    start: Callable[[], AbstractContextManager[Sequence[Entrant]]]
    missing: Callable[[], str | None] = lambda: None
    """Why it cannot run here, or None."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What `python -m loadtests.bench NAME` runs."""

    title: str
    connections: tuple[int, ...]
    comparison: Comparison
    goals: tuple[Goal, ...]
    parts: Callable[[Place], Sequence[Part]]
    """Makes the models, and says who can take part."""


def goals(
    contender: str, beside: str, connections: Sequence[int], bound: float | None, comparison: Comparison = THROUGHPUT
) -> Iterator[Goal]:
    """The same goal, at least `bound`, at several numbers of connections."""
    for count in connections:
        yield Goal(contender, beside, count, comparison, True, bound)


def figures_of(name: str, connections: int, rows: Sequence[Row]) -> Figures | None:
    """A contender's medians; what is in process has the same ones whatever the number of connections."""
    found = (row.medians for row in rows if row.contender == name and row.connections in {connections, IN_PROCESS})
    return next(found, None)


def judge(goal: Goal, rows: Sequence[Row]) -> Judged:
    """Whether a goal holds, by the medians."""
    one, other = (figures_of(name, goal.connections, rows) for name in (goal.contender, goal.beside))
    value = None if one is None or other is None else goal.comparison.of(one, other)
    bound = _bound(goal, rows)
    text = "" if bound is None else f"{'≥' if goal.at_least else '≤'} {bound:.3g} {goal.comparison.unit}"
    holds = None
    if value is not None and bound is not None:
        holds = value >= bound if goal.at_least else value <= bound
    disturbed = any(each.others_cpu > DISTURBED for each in (one, other) if each is not None)
    return Judged(goal.contender, goal.beside, goal.connections, text or goal.comparison.unit, value, holds, disturbed)


def _bound(goal: Goal, rows: Sequence[Row]) -> float | None:
    curve = [figures.requests_per_s for name in goal.curve if (figures := figures_of(name, goal.connections, rows))]
    return goal.bound if goal.bound is None or not curve else min(goal.bound, max(curve) / curve[0])
