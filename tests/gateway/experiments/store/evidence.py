"""Evidence to store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from gateway.experiments.evidence import CLUSTERS, Cell
from gateway.experiments.report import Estimate, Event, Look
from gateway.experiments.store.records import CellKey, Exposure, Run

RUN = Run("digits", "onnx-or-tf", 1)
KEY = CellKey(0, "latency_ms", "onnx")
NOON = datetime(2026, 12, 1, 12, 0, 0, 123456, tzinfo=UTC)


def cell(seed: int, values: int = 1000, histogram: bool = True) -> Cell:
    """Of latencies around 3 ms."""
    random = np.random.default_rng(seed)
    made = Cell.empty(histogram)
    made.add(random.integers(0, CLUSTERS, values), random.lognormal(1.0, 0.3, values))
    return made


def same(one: Cell, other: Cell) -> bool:
    arrays = np.array_equal(one.count, other.count) and np.array_equal(one.total, other.total)
    if one.histogram is None or other.histogram is None:
        return arrays and one.squares == other.squares and one.histogram is other.histogram
    return arrays and one.squares == other.squares and np.array_equal(one.histogram, other.histogram)


def exposure(unit: int, variant: str = "onnx", epoch: int = 0, first: float = 10.0, last: float = 10.0) -> Exposure:
    return Exposure(unit.to_bytes(8, "big"), variant, epoch, unit % CLUSTERS, first, last)


def event(action: str, experiment: str = RUN.experiment, model: str = RUN.model, reason: str = "") -> Event:
    return Event(0, NOON, "ann", action, model, experiment, {"weights": {"a": 50}}, {"at": "now"}, reason)


def look(seconds: float, count: int = 1, variant: str = "onnx") -> Look:
    estimate = Estimate(1.5, 1.0, None)
    return Look(NOON + timedelta(seconds=seconds), "latency_ms", variant, count, estimate, estimate, 0.25, 50.0)
