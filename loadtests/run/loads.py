"""Loads of a given shape, and frameworks side by side at several levels."""

from __future__ import annotations

from typing import Final

from loadtests.engine.plan import Arrival
from loadtests.results.schema import Figure, Run, Slice
from loadtests.run import figures
from loadtests.run.latencies import failures, latencies, measured, succeeded
from loadtests.run.measuring import Shape
from loadtests.run.session import Plain, Turn
from loadtests.run.subjects import Subject
from loadtests.scenario import Frameworks, Load, ShapeTable

_SPIKE_BEGINS: Final = 0.4
_SPIKE_ENDS: Final = 0.6
"""Shares of the stretch."""

_BROKEN: Final = 0.01


class LoadKind(Plain):
    """One shape; where it is constant, at each of the levels."""

    def __init__(self, scenario: Load) -> None:
        self._scenario = scenario

    def turn(self, turn: Turn) -> None:
        """The levels one after the other, or the shape once."""
        scenario = self._scenario
        if scenario.shape.kind in {"constant", "soak"}:
            for level in scenario.levels:
                turn.stretch(
                    level,
                    scenario.seconds,
                    phase=self._phase(level),
                    arrival=scenario.arrival,
                    connections=self._connections(level),
                )
            return
        highest = max(scenario.shape.low, scenario.shape.high)
        turn.stretch(
            highest,
            scenario.seconds,
            phase=f"measure {scenario.shape.kind}",
            arrival=scenario.arrival,
            connections=self._connections(highest),
            shape=shaped(scenario.shape, scenario.seconds, scenario.warm_up_s),
        )

    def figures(self, subject: Subject) -> list[Figure]:
        """Of each level, or of the parts of the shape."""
        scenario = self._scenario
        if scenario.shape.kind in {"constant", "soak"}:
            levels = [(level, figures.phase(subject.runs, self._phase(level))) for level in scenario.levels]
            return [
                each
                for level, runs in levels
                for each in figures.usual(runs, f" at {_level(scenario.arrival, level)}" if len(levels) > 1 else "")
            ]
        if scenario.shape.kind == "ramp":
            return [self._breaking(subject), *figures.usual(subject.runs)]
        if scenario.shape.kind == "spike":
            return [*self._spike(subject), *figures.usual(subject.runs)]
        return figures.usual(subject.runs)

    def _phase(self, level: float) -> str:
        return phase(self._scenario.arrival, level if len(self._scenario.levels) > 1 else None)

    def _connections(self, level: float) -> int:
        return max(1, round(level)) if self._scenario.arrival == "closed" else self._scenario.connections

    def _breaking(self, subject: Subject) -> Figure:
        """The highest level of a ramp that every round has kept."""
        kept = [each for run in subject.runs if (each := highest_kept(run, self._scenario.breaking_ms)) is not None]
        note = f"highest level with p99 under {self._scenario.breaking_ms:g} ms and less than 1 % of failures"
        if len(kept) < len(subject.runs):
            note += "; it broke at the first level" if not kept else "; in some rounds it broke at the first level"
        return figures.of_times("breaking", kept, _unit(self._scenario.arrival), note)

    def _spike(self, subject: Subject) -> list[Figure]:
        begin, end = (self._scenario.warm_up_s + part * self._scenario.seconds for part in (_SPIKE_BEGINS, _SPIKE_ENDS))
        parts = (("before", 0.0, begin), ("in the spike", begin, end), ("after", end, float("inf")))
        return [
            each
            for name, first, last in parts
            for each in figures.usual([figures.between(run, first, last) for run in subject.runs], f", {name}")
            if each.name.startswith(("p99", "errors"))
        ]


class FrameworksKind(Plain):
    """Closed at several levels, and open at one rate that is the same for all."""

    def __init__(self, scenario: Frameworks) -> None:
        self._scenario = scenario

    def _levels(self) -> list[tuple[Arrival, float]]:
        closed: list[tuple[Arrival, float]] = [("closed", level) for level in self._scenario.levels]
        return [*closed, ("poisson", self._scenario.rate)] if self._scenario.rate else closed

    def turn(self, turn: Turn) -> None:
        """All levels."""
        for arrival, level in self._levels():
            turn.stretch(
                level,
                self._scenario.seconds,
                phase=phase(arrival, level),
                arrival=arrival,
                connections=self._scenario.connections if arrival == "poisson" else round(level),
            )

    def figures(self, subject: Subject) -> list[Figure]:
        """Of each level."""
        return [
            each
            for arrival, level in self._levels()
            for each in figures.usual(
                figures.phase(subject.runs, phase(arrival, level)), f" at {_level(arrival, level)}"
            )
        ]


def phase(arrival: Arrival, level: float | None) -> str:
    """`measure 8 connections`, `measure 200/s`; `measure` where there is one level."""
    return "measure" if level is None else f"measure {_level(arrival, level)}"


def _level(arrival: Arrival, level: float) -> str:
    if arrival != "closed":
        return f"{level:g}/s"
    return f"{level:g} connection{'s' if level != 1 else ''}"


def _unit(arrival: Arrival) -> str:
    return "connections" if arrival == "closed" else "1/s"


def shaped(table: ShapeTable, seconds: float, warm_up_s: float) -> Shape:
    """Levels by the time since the stretch began; the warm-up is at the first of them."""

    def level(now_s: float) -> float | None:
        part = max(0.0, now_s - warm_up_s) / seconds
        if part >= 1:
            return None
        if table.kind == "spike":
            return table.high if _SPIKE_BEGINS <= part < _SPIKE_ENDS else table.low
        if table.steps == 1:
            return table.high
        return table.low + (table.high - table.low) * int(part * table.steps) / (table.steps - 1)

    return level


def highest_kept(run: Run, breaking_ms: float) -> float | None:
    """The highest level of a ramp before the first at which it broke; None where that was the first."""
    kept = None
    for level, slices in _by_level(run).items():
        failed = sum(failures(slices).values())
        all_of_it = succeeded(slices) + failed
        late = latencies(slices).above(breaking_ms)
        if all_of_it and (failed + late) / all_of_it > _BROKEN:
            break
        if all_of_it:
            kept = level
    return kept


def _by_level(run: Run) -> dict[float, list[Slice]]:
    """Slices by level, in the order in which a ramp goes up; what only awaits answers belongs to the level before."""
    found: dict[float, list[Slice]] = {}
    highest = 0.0
    for each in measured(run):
        highest = max(highest, each.level)
        found.setdefault(highest, []).append(each)
    return found
