"""What a report is about: the rows of all results, each phase of each with its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from loadtests.comparison.matching import Side, Source
from loadtests.results.histograms import Floats
from loadtests.results.schema import Run
from loadtests.results.text import plain
from loadtests.statistics.estimates import Estimate, estimate
from loadtests.statistics.figures import ErrorRate, Percentile, Throughput
from loadtests.statistics.samples import Samples, pooled, rounds

SHARES = (0.5, 0.9, 0.99, 0.999)
_DIMENSIONS = ("dialect", "hardware", "payload")


@dataclass(frozen=True)
class Stretch:
    """All rounds of one phase of one row."""

    side: Side
    name: str
    """The row, by what tells it from others."""

    short: str
    """The same without the scenario's name, for pictures of one scenario."""

    phase: str
    runs: tuple[Run, ...]

    @cached_property
    def samples(self) -> list[Samples]:
        """One a round."""
        return rounds(self.runs)

    @cached_property
    def together(self) -> Samples:
        """All rounds as one."""
        return pooled(self.samples)

    @property
    def measured(self) -> bool:
        """Whether it is what the scenario measures; others search for something, or happen on the way."""
        return self.phase.startswith("measure")

    @property
    def level(self) -> str:
        """`8 connections`; empty where a row has one only."""
        return plain(self.phase.removeprefix("measure").strip())

    @cached_property
    def answered(self) -> int:
        """How many requests."""
        return int(self.together.counts.sum())

    @cached_property
    def percentiles(self) -> dict[float, Estimate]:
        """In ms, by share."""
        return {share: estimate(self.samples, Percentile(share)) for share in SHARES}

    @cached_property
    def throughput(self) -> Estimate:
        """Right answers a second."""
        return estimate(self.samples, Throughput())

    @cached_property
    def errors(self) -> Estimate:
        """Share of requests that failed."""
        return estimate(self.samples, ErrorRate())

    @cached_property
    def distribution(self) -> tuple[Floats, Floats]:
        """Shares of answers, 0…1, and the ms that they stay below, both [points], rising."""
        sums = np.cumsum(self.together.counts.sum(axis=0, dtype=np.float64))
        if not len(sums) or not sums[-1]:
            return np.zeros(0), np.zeros(0)
        return sums / sums[-1], (self.together.lower + self.together.widths) / 1e3

    @property
    def longest(self) -> float:
        """The slowest answer, in ms; NaN without any."""
        values = self.distribution[1]
        return float(values[-1]) if len(values) else math.nan


@dataclass(frozen=True, slots=True)
class Group:
    """Measured stretches that can stand side by side: of one scenario and one level; `at` says which, for titles."""

    at: str
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True)
class Content:
    """Results, and what tells their rows apart."""

    sources: tuple[Source, ...]

    @cached_property
    def sides(self) -> tuple[Side, ...]:
        """All rows."""
        return tuple(Side(source, row) for source in self.sources for row in source.result.rows)

    @cached_property
    def stretches(self) -> tuple[Stretch, ...]:
        """All phases of all rows, with slices."""
        return tuple(each for side in self.sides for each in _stretches(side, self.name(side), self.short(side)))

    @cached_property
    def measured(self) -> tuple[Stretch, ...]:
        """Those that the scenario measures."""
        return tuple(each for each in self.stretches if each.measured)

    @cached_property
    def scenarios(self) -> dict[str, tuple[Source, ...]]:
        """Results that measure the same, by the scenario's name."""
        found: dict[str, tuple[Source, ...]] = {}
        for source in self.sources:
            name = source.result.name
            found[name] = (*found.get(name, ()), source)
        return found

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Scenario by scenario, level by level, as they come; rows without answers are left out."""
        found: dict[tuple[str, str], list[Stretch]] = {}
        for each in self.measured:
            if each.answered:
                found.setdefault((each.side.source.result.name, each.level), []).append(each)
        return tuple(Group(self._at(*key), tuple(stretches)) for key, stretches in found.items())

    def name(self, side: Side) -> str:
        """A row by what tells it from all others: `short`, after its scenario where there are several."""
        before = f"{plain(side.source.result.name, 40)}: " if len(self.scenarios) > 1 else ""
        return before + self.short(side)

    def short(self, side: Side) -> str:
        """A row by those of its dimensions in which rows of its scenario differ; its deployment always."""
        varying = self._varying[side.source.result.name]
        parts = [side.row.deployment, *(getattr(side.row, each) for each in _DIMENSIONS if each in varying)]
        return plain(", ".join(filter(None, (*parts, self.place(side)))), 120)

    def place(self, side: Side) -> str:
        """The machine, where a scenario has several results; and the file's name where several are of one machine."""
        sources = self.scenarios[side.source.result.name]
        if len(sources) == 1:
            return ""
        name = side.source.result.machine.name
        machines = [source.result.machine.name for source in sources]
        return name if machines.count(name) == 1 else f"{name} ({side.source.name})"

    def parts(self, stretches: Sequence[Stretch], most: int) -> Iterator[tuple[str, Sequence[Stretch]]]:
        """At most so many rows at a time, each with what tells it from others; one result together."""
        if len({id(each.side.row) for each in stretches}) <= most:
            yield "", stretches
            return
        by_place: dict[str, list[Stretch]] = {}
        for each in stretches:
            by_place.setdefault(self.place(each.side), []).append(each)
        for place, of_place in by_place.items():
            rows = list(dict.fromkeys(id(each.side.row) for each in of_place))
            pieces = np.array_split(np.arange(len(rows)), -(-len(rows) // most))
            for index, piece in enumerate(pieces, 1):
                chosen = {rows[number] for number in piece}
                where = f", {plain(place, 60)}" if place else ""
                which = f", {index} of {len(pieces)}" if len(pieces) > 1 else ""
                yield where + which, [each for each in of_place if id(each.side.row) in chosen]

    @cached_property
    def _varying(self) -> dict[str, set[str]]:
        """Dimensions in which rows differ, by scenario."""
        return {
            name: {
                dimension
                for dimension in _DIMENSIONS
                if len({getattr(row, dimension) for source in sources for row in source.result.rows}) > 1
            }
            for name, sources in self.scenarios.items()
        }

    def _at(self, scenario: str, level: str) -> str:
        at = f" at {level}" if level else ""
        return f"{at}, {plain(scenario, 60)}" if len(self.scenarios) > 1 else at


def _stretches(side: Side, name: str, short: str) -> Iterator[Stretch]:
    phases: dict[str, list[Run]] = {}
    for run in side.row.runs:
        if run.slices:
            phases.setdefault(run.phase, []).append(run)
    for phase, runs in phases.items():
        yield Stretch(side, name, short, phase, tuple(runs))
