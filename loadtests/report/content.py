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


@dataclass(frozen=True)
class Stretch:
    """All rounds of one phase of one row."""

    side: Side
    name: str
    """The row, by what tells it from others."""

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
        return tuple(each for side in self.sides for each in _stretches(side, self.name(side)))

    @cached_property
    def measured(self) -> tuple[Stretch, ...]:
        """Those that the scenario measures."""
        return tuple(each for each in self.stretches if each.measured)

    @cached_property
    def levels(self) -> list[str]:
        """Of measured phases, in the order that they come."""
        return list(dict.fromkeys(each.level for each in self.measured))

    def name(self, side: Side) -> str:
        """A row by those of its dimensions in which rows differ; its deployment always."""
        parts = [side.row.deployment]
        parts += [getattr(side.row, each) for each in ("dialect", "hardware", "payload") if self._varies(each)]
        parts += [self.place(side)] if len(self.sources) > 1 else []
        return plain(", ".join(parts), 120)

    def place(self, side: Side) -> str:
        """The machine, and the file's name where several are of one machine."""
        machines = [source.result.machine.name for source in self.sources]
        name = side.source.result.machine.name
        return name if machines.count(name) == 1 else f"{name} ({side.source.name})"

    def _varies(self, dimension: str) -> bool:
        return len({getattr(side.row, dimension) for side in self.sides}) > 1


def _stretches(side: Side, name: str) -> Iterator[Stretch]:
    phases: dict[str, list[Run]] = {}
    for run in side.row.runs:
        if run.slices:
            phases.setdefault(run.phase, []).append(run)
    for phase, runs in phases.items():
        yield Stretch(side, name, phase, tuple(runs))


def by_level(content: Content) -> Iterator[tuple[str, Sequence[Stretch]]]:
    """Measured stretches that can stand side by side: of one level each."""
    for level in content.levels:
        yield level, [each for each in content.measured if each.level == level and each.answered]
