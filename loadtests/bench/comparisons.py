"""A benchmark as data: its contenders, how they are set beside each other, and what is hoped for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from loadtests.bench.contenders import Contender, Figures, Row
from loadtests.bench.servers import Place


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
    """What a comparison should come to: at least `bound`, or at most."""

    contender: str
    beside: str
    connections: int
    comparison: Comparison
    at_least: bool
    bound: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A goal, and what came of it; `value` is None where one of the two was not measured."""

    compared: str
    goal: str
    value: float | None
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What `python -m loadtests.bench NAME` runs."""

    title: str
    connections: tuple[int, ...]
    comparison: Comparison
    goals: tuple[Goal, ...]
    start: Callable[[Place], AbstractContextManager[list[Contender]]]


def judge(goal: Goal, rows: Sequence[Row]) -> Judged:
    """Whether a goal holds, by the medians."""
    found = {row.contender: row.medians for row in rows if row.connections == goal.connections}
    compared = f"{goal.contender} beside {goal.beside}, connections: {goal.connections}"
    bound = f"{'at least' if goal.at_least else 'at most'} {goal.bound:g} {goal.comparison.unit}"
    if goal.contender not in found or goal.beside not in found:
        return Judged(compared, bound, None, None)
    value = goal.comparison.of(found[goal.contender], found[goal.beside])
    return Judged(compared, bound, value, value >= goal.bound if goal.at_least else value <= goal.bound)
