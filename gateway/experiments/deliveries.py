"""What is counted of deliveries to devices: nouns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from adapters.histograms import Distribution


class Subject(NamedTuple):
    """What a report is about; `started` is when its rollout began, in seconds since 1970, 0 where there was none."""

    model: str
    channel: str
    version: int
    started: float


class Counted(NamedTuple):
    """Which count a report adds to."""

    subject: Subject
    kind: str
    passed: bool


class Claim(NamedTuple):
    """One more of a count, if nobody has claimed its `key` (16 bytes) before; `steps` are latencies, by histogram step.

    A step is one of adapters.histograms, of microseconds.
    """

    key: bytes
    counted: Counted
    steps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Deliveries:
    """All that was counted, by all servers that share the store; latencies in microseconds, their sum not kept."""

    counts: Mapping[Counted, int] = field(default_factory=dict)
    latencies: Mapping[Subject, Distribution] = field(default_factory=dict)
