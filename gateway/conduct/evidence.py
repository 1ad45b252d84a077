"""What was seen of one run: cells and counters in memory, added to as it comes in, saved as a whole."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any

import msgspec
import numpy as np

from gateway.conduct.effective import awaits_units, histograms, in_force
from gateway.conduct.units import DistinctUnits, Numbers, RecentExposures, cluster_counts
from gateway.experiments.definition import ERRORS, LATENCY, Definition, Kind
from gateway.experiments.evidence import (
    BINS,
    CLUSTERS,
    HISTOGRAM_CLUSTERS,
    Cell,
    Counts,
    Floats,
    Observations,
    Split,
    Stratum,
)
from gateway.experiments.recording import ArmIncrement, Increment, OutputIncrement, ShadowIncrement
from gateway.experiments.store.records import CellKey, Kept, Run, StoredRun
from gateway.types import BY_CHANCE

_FRESH_S = 30.0


class Extras(msgspec.Struct):
    """What is kept of a run besides cells and counts: outputs by variant and name, the shadow's, the bandit's state."""

    outputs: dict[str, dict[str, OutputIncrement]] = {}
    shadow: ShadowIncrement = msgspec.field(default_factory=ShadowIncrement)
    bandit: dict[str, float] = {}

    def absorb(self, before: Extras) -> None:
        """Add what was seen before."""
        for variant, outputs in before.outputs.items():
            for name, found in outputs.items():
                self.outputs.setdefault(variant, {}).setdefault(name, OutputIncrement(classes={})).add(found)
        self.shadow.add(before.shadow)
        self.bandit = {**before.bandit, **self.bandit}


class RunEvidence:
    """Of one run. Taken from the event loop, saved from the store's thread: `lock` is held while cells change."""

    def __init__(self, definition: Definition) -> None:
        self.key = Run(definition.model, definition.name, definition.run)
        self.lock = Lock()
        self.exposures = RecentExposures(_FRESH_S)
        self.extras = Extras(outputs={}, bandit={})
        self.version = 0
        self._saved = 0
        self.loaded = False
        self.counters: Counter[str] = Counter()
        self._own = Kept()
        self._others = Kept()
        self._dirty: set[CellKey] = set()
        self._units = DistinctUnits() if definition.units else None
        self._weights: dict[int, Mapping[str, float]] = {}
        self._started_s = definition.started.timestamp() if definition.started else time.time()
        self.follow(definition)

    def absorb(self, stored: StoredRun | None) -> None:
        """Go on from what was kept of the run, before which nothing may be saved: None where nothing was."""
        with self.lock:
            self.loaded = True
            if stored is None:
                return
            self._others = stored.others
            for key, cell in stored.own.cells.items():
                self._cell(key).merge(cell)
            self.counters.update(stored.own.counters)
            if self._units is None:  # units that come again after a restart would be counted twice
                for epoch, split in stored.own.splits.items():
                    self._weights.setdefault(epoch, split.weights)
                    assigned = Counter(self._split(epoch).assigned)
                    assigned.update(split.assigned)
                    self._split(epoch).assigned = dict(assigned)
            if stored.policy:
                self.extras.absorb(msgspec.convert(stored.policy, Extras, strict=False, str_keys=True))

    def follow(self, definition: Definition) -> None:
        """The experiment has changed: other metrics, or other weights."""
        current = in_force(definition)
        self._weights.setdefault(current.epoch, current.weights)
        self._histograms = histograms(definition)
        self._conversions = tuple(each.name for each in definition.metrics if each.kind is Kind.CONVERSION)
        self._adaptive = definition.policy.kind != "fixed"  # its weights at any moment are no one's promise
        self._awaits_units = awaits_units(definition)
        self._names = tuple(each.name for each in definition.metrics)

    def add(self, increment: Increment, now_s: float) -> None:
        """Add what a frontend has noted."""
        with self.lock:
            for variant, arm in increment.arms.items():
                self._add_arm(increment.epoch, variant, arm, now_s)
            if increment.shadow is not None:
                self.extras.shadow.add(increment.shadow)
            self.version += 1

    def _add_arm(self, epoch: int, variant: str, arm: ArmIncrement, now_s: float) -> None:
        units = np.frombuffer(arm.units, np.uint64)
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
        outputs = self.extras.outputs.setdefault(variant, {})
        for name, found in arm.outputs.items():
            outputs.setdefault(name, OutputIncrement(classes={})).add(found)
        self._count_units(units, epoch, variant, now_s)

    def _count_units(self, units: Numbers, epoch: int, variant: str, now_s: float) -> None:
        self.counters[f"assigned:{variant}"] += len(units)
        if self._units is not None:
            self._units.add(units, epoch, variant)
        else:
            assigned = self._split(epoch).assigned
            assert isinstance(assigned, dict)
            assigned[variant] = assigned.get(variant, 0) + len(units)
        if not self._awaits_units:
            return
        self.exposures.add(units, variant, epoch, now_s)
        alone = units[units >= np.uint64(BY_CHANCE)]
        for metric in self._conversions:
            self._cell(CellKey(epoch, metric, variant)).count += cluster_counts(alone, CLUSTERS)

    def _split(self, epoch: int) -> Split:
        if epoch not in self._own.splits:
            self._own.splits[epoch] = Split(self._weights.get(epoch, {}), {})
        return self._own.splits[epoch]

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

    def totals(self, metric: str) -> dict[str, Cell]:
        """A metric's cells by variant, over all epochs: what bandits go by."""
        found: dict[str, Cell] = {}
        with self.lock:
            for kept in (self._own, self._others):
                for key, cell in kept.cells.items():
                    if key.metric == metric:
                        found.setdefault(key.variant, Cell.empty(cell.histogram is not None)).merge(cell)
        return found

    def requests(self, epoch: int | None = None) -> dict[str, int]:
        """How many requests each variant has had, in an epoch or in all."""
        found: Counter[str] = Counter()
        with self.lock:
            for kept in (self._own, self._others):
                for key, cell in kept.cells.items():
                    if key.metric == ERRORS and epoch in (None, key.epoch):
                        found[key.variant] += cell.values
        return found

    def observations(self) -> Observations:
        """A copy of everything, of all gateways, for the statistics."""
        strata: dict[str, dict[int, dict[str, Cell]]] = {name: {} for name in self._names}
        with self.lock:
            for kept in (self._own, self._others):
                for key, cell in kept.cells.items():
                    if key.metric in strata:
                        stratum = strata[key.metric].setdefault(key.epoch, {})
                        stratum.setdefault(key.variant, Cell.empty(cell.histogram is not None)).merge(cell)
            splits = [] if self._adaptive else self._splits()
        metrics: dict[str, list[Stratum]] = {
            name: [by_epoch[epoch] for epoch in sorted(by_epoch)] for name, by_epoch in strata.items()
        }
        return Observations(metrics, splits, max(time.time() - self._started_s, 1e-3))

    def _splits(self) -> list[Split]:
        found: dict[int, Counter[str]] = {}
        for kept in (self._own, self._others):
            for epoch, split in kept.splits.items():
                self._weights.setdefault(epoch, split.weights)
                found.setdefault(epoch, Counter()).update(split.assigned)
        if self._units is not None:
            for epoch, counts in self._units.counts().items():
                found.setdefault(epoch, Counter()).update(counts)
        return [Split(self._weights[epoch], dict(found[epoch])) for epoch in sorted(found) if self._weights.get(epoch)]

    def units(self) -> dict[str, int] | None:
        """How many units each variant has had, about; None where requests are assigned by themselves."""
        if self._units is None:
            return None
        found: Counter[str] = Counter()
        with self.lock:
            for counts in self._units.counts().values():
                found.update(counts)
        return {variant: round(count / self._units.part) for variant, count in found.items()}

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to counters."""
        with self.lock:
            self.counters.update(counts)
            self.version += 1

    def counted(self, name: str) -> int:
        """A counter, of all gateways."""
        return self.counters[name] + self._others.counters.get(name, 0)

    def to_save(self) -> tuple[dict[CellKey, Cell], dict[int, Split], dict[str, int], Mapping[str, Any]] | None:
        """Copies of what is to be saved: the cells that have changed, and all else; None where nothing has."""
        with self.lock:
            if self.version == self._saved and not self._dirty:
                return None
            cells = {key: _copy(self._own.cells[key]) for key in self._dirty}
            self._dirty.clear()
            self._saved = self.version
            splits = {epoch: Split(dict(each.weights), dict(each.assigned)) for epoch, each in self._own.splits.items()}
            return cells, splits, dict(self.counters), msgspec.to_builtins(self.extras, str_keys=True)

    def not_saved(self, keys: Iterable[CellKey]) -> None:
        """What `to_save` gave is still to be saved."""
        with self.lock:
            self._dirty.update(keys)
            self.version += 1


def _copy(cell: Cell) -> Cell:
    histogram = None if cell.histogram is None else cell.histogram.copy()
    return Cell(cell.count.copy(), cell.total.copy(), cell.squares, histogram)


assert BINS * HISTOGRAM_CLUSTERS < 2**32  # keys of increments are uint32
