"""What the store takes and gives, besides evidence and reports themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from gateway.experiments.evidence import Cell, Split


class Run(NamedTuple):
    """One run of an experiment: its `number` counts the starts."""

    model: str
    experiment: str
    number: int


class CellKey(NamedTuple):
    """Which cell of a run; `epoch` is the time of constant weights."""

    epoch: int
    metric: str
    variant: str


class Exposure(NamedTuple):
    """What a unit (its keyed hash, 8 bytes) got; times in seconds since 1970, `cluster` in 0..CLUSTERS-1."""

    unit: bytes
    variant: str
    epoch: int
    cluster: int
    first_at: float
    last_at: float


class Conversion(NamedTuple):
    """That a unit (8 bytes) converted in a metric."""

    metric: str
    unit: bytes


@dataclass(slots=True)
class Kept:
    """What gateways saw of a run: absolute state, which adds up over gateways."""

    cells: dict[CellKey, Cell] = field(default_factory=dict)
    splits: dict[int, Split] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredRun:
    """All that is kept of a run, apart from units: this gateway's own, and what all others together saw.

    `policy` is what this gateway kept of its bandit, None where it kept nothing.
    """

    run: Run
    started: datetime
    ended: datetime | None
    own: Kept
    others: Kept
    policy: Mapping[str, Any] | None
