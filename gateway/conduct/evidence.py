"""What was seen of one run: cells and counters in memory, added to as it comes in, saved as a whole."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from threading import Lock
from typing import Any, Final, NamedTuple

import numpy as np

from gateway.conduct.effective import awaits_units, histograms, units
from gateway.conduct.extras import Extras
from gateway.conduct.units import DistinctUnits, Numbers, RecentExposures, cluster_counts
from gateway.conduct.weights import in_force
from gateway.experiments.definition import ERRORS, LATENCY, Definition, Kind
from gateway.experiments.evidence import CLUSTERS, Cell, Counts, Floats, Observations, Split, Stratum
from gateway.experiments.recording import ArmIncrement, Increment
from gateway.experiments.store.records import CellKey, Kept, Run, StoredRun
from gateway.types import BY_CHANCE

_FRESH_S: Final = 30.0


class Unsaved(NamedTuple):
    """Copies of what is to be saved: the cells that have changed, and all else."""

    cells: dict[CellKey, Cell]
    splits: dict[int, Split]
    counters: dict[str, int]
    extras: dict[str, Any]


class RunEvidence:
    """Of one run. Taken from the event loop, saved from the store's thread: `lock` is held while cells change.

    `loaded`: what was stored of the run is in it. `foreign`: that is of an earlier file with the same name.
    """

    def __init__(self, definition: Definition) -> None:
        self.key = Run(definition.model, definition.name, definition.run)
        self.lock = Lock()
        self.exposures = RecentExposures(_FRESH_S)
        self.extras = Extras()
        self.version = 0
        self.loaded = False
        self.foreign = False
        self.counters: Counter[str] = Counter()
        self._saved = 0
        self._own = Kept()
        self._others = Kept()
        self._dirty: set[CellKey] = set()
        self._units = DistinctUnits() if units(definition) else None
        self._weights: dict[int, Mapping[str, float]] = {}
        self._started = definition.started
        self.follow(definition)

    def follow(self, definition: Definition) -> None:
        """The experiment has changed: other metrics, or other weights."""
        current = in_force(definition)
        self._weights.setdefault(current.epoch, current.weights)
        self._histograms = histograms(definition)
        self._conversions = tuple(each.name for each in definition.metrics if each.kind is Kind.CONVERSION)
        self._adaptive = definition.policy.kind != "fixed"  # its weights at any moment are no one's promise
        self._awaits_units = awaits_units(definition)
        self._names = tuple(each.name for each in definition.metrics)

    def absorb(self, stored: StoredRun | None) -> None:
        """Go on from what was kept of the run, before which nothing may be saved: None where nothing was.

        Counts of units are never stored: those that come again after a restart would be counted twice.
        """
        with self.lock:
            self.loaded = True
            self.version += 1
            if stored is None:
                return
            self._others = stored.others
            for key, cell in stored.own.cells.items():
                self._cell(key).merge(cell)
            self.counters.update(stored.own.counters)
            for epoch, split in stored.own.splits.items():
                self._weights[epoch] = split.weights
                self._assign(epoch, split.assigned)
            if stored.policy:
                self.extras.absorb(Extras.load(stored.policy))

    def others(self, stored: StoredRun | None) -> None:
        """Take what other gateways have seen by now."""
        if stored is not None:
            with self.lock:
                self._others = stored.others
                self.version += 1

    def add(self, increment: Increment, now_s: float) -> None:
        """Add what a frontend has noted."""
        with self.lock:
            for variant, arm in increment.arms.items():
                self._add_arm(increment.epoch, variant, arm)
                self._add_units(increment.epoch, variant, np.frombuffer(arm.units, np.uint64), now_s)
            if increment.shadow is not None:
                self.extras.shadow.add(increment.shadow)
            self.version += 1

    def _add_arm(self, epoch: int, variant: str, arm: ArmIncrement) -> None:
        answered = np.frombuffer(arm.answered, np.int64)
        failed = np.frombuffer(arm.failed, np.int64)
        errors = self._cell(CellKey(epoch, ERRORS, variant))
        errors.count += answered + failed
        errors.total += failed
        errors.squares += float(failed.sum())
        latency = self._cell(CellKey(epoch, LATENCY, variant))
        latency.count += answered
        latency.total += np.frombuffer(arm.total_ms, np.float64)
        latency.squares += arm.squares_ms2
        if latency.histogram is not None:
            flat = latency.histogram.reshape(-1)
            flat[np.frombuffer(arm.keys, np.uint32)] += np.frombuffer(arm.counts, np.uint32)
        self.counters[f"requests:{variant}"] += int(answered.sum() + failed.sum())
        self.counters[f"errors:{variant}"] += int(failed.sum())
        self.counters[f"examined:{variant}"] += arm.examined
        self.counters[f"not_finite:{variant}"] += arm.not_finite
        self.extras.add_outputs(variant, arm.outputs)

    def _add_units(self, epoch: int, variant: str, numbers: Numbers, now_s: float) -> None:
        self.counters[f"assigned:{variant}"] += len(numbers)
        if self._units is not None:
            self._units.add(numbers, epoch, variant)
        else:
            self._assign(epoch, {variant: len(numbers)})
        if not self._awaits_units:
            alone = numbers
        else:
            self.exposures.add(numbers, variant, epoch, now_s)
            alone = numbers[numbers >= np.uint64(BY_CHANCE)]
        for metric in self._conversions:
            self._cell(CellKey(epoch, metric, variant)).count += cluster_counts(alone, CLUSTERS)

    def _assign(self, epoch: int, assigned: Mapping[str, int]) -> None:
        before = self._own.splits.get(epoch)
        counts = Counter(before.assigned if before else {})
        counts.update(assigned)
        self._own.splits[epoch] = Split(self._weights.get(epoch, {}), dict(counts))

    def _cell(self, key: CellKey) -> Cell:
        self._dirty.add(key)
        self.version += 1
        cell = self._own.cells.get(key)
        if cell is None:
            cell = self._own.cells[key] = Cell.empty(key.metric in self._histograms)
        return cell

    def expose(self, epoch: int, variant: str, clusters: Counts, sign: int = 1) -> None:
        """Units that were exposed for the first time: [n], each its cluster; with `sign` -1 they were not."""
        with self.lock:
            for metric in self._conversions:
                self._cell(CellKey(epoch, metric, variant)).count += sign * np.bincount(clusters, minlength=CLUSTERS)

    def convert(self, key: CellKey, clusters: Counts) -> None:
        """Units that converted for the first time: [n], each its cluster."""
        with self.lock:
            cell = self._cell(key)
            cell.total += np.bincount(clusters, minlength=CLUSTERS)
            cell.squares += float(len(clusters))

    def observe(self, key: CellKey, clusters: Counts, values: Floats) -> None:
        """Values that were reported: [n], with each one's cluster."""
        with self.lock:
            self._cell(key).add(clusters, values)

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to counters."""
        with self.lock:
            self.counters.update(counts)
            self.version += 1

    def learned(self, bandit: Mapping[str, float]) -> None:
        """What a bandit knows by now."""
        with self.lock:
            self.extras.bandit = dict(bandit)
            self.version += 1

    def totals(self, metric: str) -> dict[str, Cell]:
        """A metric's cells by variant, over all epochs: what bandits go by."""
        found: dict[str, Cell] = {}
        for stratum in self._strata(metric):
            for variant, cell in stratum.items():
                found.setdefault(variant, Cell.empty(cell.histogram is not None)).merge(cell)
        return found

    def requests(self, epoch: int) -> dict[str, int]:
        """How many requests each variant has had in an epoch."""
        found: Counter[str] = Counter()
        with self.lock:
            for kept in (self._own, self._others):
                for key, cell in kept.cells.items():
                    if key.metric == ERRORS and key.epoch == epoch:
                        found[key.variant] += cell.values
        return found

    def observations(self) -> Observations:
        """A copy of everything, of all gateways, for the statistics."""
        metrics = {name: self._strata(name) for name in self._names}
        with self.lock:
            splits = [] if self._adaptive else self._splits()
        started_s = self._started.timestamp() if self._started else time.time()
        return Observations(metrics, splits, max(time.time() - started_s, 1e-3))

    def _strata(self, metric: str) -> list[Stratum]:
        """Copies of a metric's cells by epoch, in their order."""
        found: dict[int, dict[str, Cell]] = {}
        with self.lock:
            cells = [(key, cell) for kept in (self._own, self._others) for key, cell in kept.cells.items()]
        for key, cell in cells:
            if key.metric == metric:
                with self.lock:  # for a cell at a time: the event loop waits for it
                    stratum = found.setdefault(key.epoch, {})
                    stratum.setdefault(key.variant, Cell.empty()).merge(cell)
        return [found[epoch] for epoch in sorted(found)]

    def _splits(self) -> list[Split]:
        found: dict[int, Counter[str]] = {}
        weights = {**{epoch: each.weights for epoch, each in self._others.splits.items()}, **self._weights}
        for kept in (self._own, self._others):
            for epoch, split in kept.splits.items():
                found.setdefault(epoch, Counter()).update(split.assigned)
        if self._units is not None:
            for epoch, counts in self._units.counts().items():
                found.setdefault(epoch, Counter()).update(counts)
        return [Split(weights[epoch], dict(found[epoch])) for epoch in sorted(found) if weights.get(epoch)]

    def units(self) -> dict[str, int] | None:
        """How many units each variant has had since this process began, about; None: requests are assigned alone."""
        if self._units is None:
            return None
        found: Counter[str] = Counter()
        with self.lock:
            for counts in self._units.counts().values():
                found.update(counts)
        return {variant: round(count / self._units.part) for variant, count in found.items()}

    def counted(self, name: str) -> int:
        """A counter, of all gateways."""
        return self.counters[name] + self._others.counters.get(name, 0)

    def is_of(self, started: datetime) -> bool:
        """Whether a run of this number that began then is this one, and not that of an earlier file of the name."""
        return self._started is None or abs((self._started - started).total_seconds()) < _SAME_S

    @property
    def unsaved(self) -> bool:
        """Whether anything is to be saved."""
        return self.version != self._saved

    def to_save(self) -> Unsaved | None:
        """What is to be saved now; None where nothing is."""
        with self.lock:
            if not self.unsaved:
                return None
            cells = {key: _copy(self._own.cells[key]) for key in self._dirty}
            self._dirty.clear()
            self._saved = self.version
            splits = {epoch: Split(dict(each.weights), dict(each.assigned)) for epoch, each in self._own.splits.items()}
            return Unsaved(cells, splits, dict(self.counters), self.extras.dump())

    def not_saved(self) -> None:
        """All of it is to be saved again: what was saved may be gone."""
        with self.lock:
            self._dirty.update(self._own.cells)
            self.version += 1


_SAME_S: Final = 5.0
"""Gateways that see a start by hand at the same look write slightly different times of it."""


def _copy(cell: Cell) -> Cell:
    histogram = None if cell.histogram is None else cell.histogram.copy()
    return Cell(cell.count.copy(), cell.total.copy(), cell.squares, histogram)
