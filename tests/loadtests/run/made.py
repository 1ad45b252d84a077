"""Runs and slices for tests, with histograms as a generator makes them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import numpy as np

from loadtests.engine.histograms import encode
from loadtests.results.schema import Distribution, Noise, Run, Slice

QUIET = Noise(0.0, 0.0, 0.5)


def distribution(latencies_ms: Sequence[float]) -> Distribution:
    text = base64.b64encode(encode(np.array(latencies_ms) / 1000)).decode()
    return Distribution(len(latencies_ms), text, text)


def part(
    end_s: float,
    answers: Mapping[str, Sequence[float]] | None = None,
    failures: Mapping[str, int] | None = None,
    *,
    level: float = 1.0,
    cpu: float = 0.1,
    late_us: int = 10,
    waiting: int = 0,
    begin_s: float | None = None,
) -> Slice:
    found = {name: distribution(each) for name, each in (answers or {}).items()}
    return Slice(
        begin_s=end_s - 0.25 if begin_s is None else begin_s,
        end_s=end_s,
        level=level,
        sent=sum(each.succeeded for each in found.values()) + sum((failures or {}).values()),
        answers=found,
        failures=dict(failures or {}),
        first_failure="",
        waiting=waiting,
        under_way=0,
        late_us=late_us,
        cpu=cpu,
    )


def run(
    *slices: Slice,
    phase: str = "measure",
    number: int = 1,
    warm_up_s: float = 0.0,
    events: tuple[tuple[float, str], ...] = (),
    marks: tuple[str, ...] = (),
) -> Run:
    return Run("2026-01-01T00:00:00Z", phase, number, "poisson", 8, warm_up_s, slices, QUIET, events, marks)
