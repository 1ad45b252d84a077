"""How long two models take for a row, measured fairly: turn by turn, so that what slows the machine slows both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import numpy as np

from adapters.export.certificate import Latency
from adapters.export.measuring import Measured

_NS_PER_MS = 1e6
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Timing:
    """How much is measured of each side: `runs` at most, in `rounds` turns, for about `seconds` in all.

    Models so slow that a turn is one run take longer; after three times as long there is no further turn.
    """

    runs: int = 1000
    rounds: int = 20
    seconds: float = 2.0
    warm_up_runs: int = 20


@dataclass(frozen=True, slots=True)
class Timed:
    """A side and its rows: as files, so many in all, `step` of them in each run."""

    model: Measured
    files: Mapping[str, Path]
    rows: int
    step: int

    async def times_ns(self, first: int, budget_s: float, most: int) -> list[int]:
        """See Measured.times_ns."""
        budget_ns = int(budget_s * _NS_PER_S)
        return await self.model.times_ns(
            self.files, rows=self.rows, step=self.step, first=first, budget_ns=budget_ns, most=most
        )


async def latencies(
    source: Timed, export: Timed, timing: Timing, on_round: Callable[[float], None]
) -> tuple[Latency, Latency]:
    """Both sides' latencies; each process waits while the other runs. Raises InferenceFailed."""
    a_turn_s, runs = timing.seconds / timing.rounds, max(1, timing.runs // timing.rounds)
    for side in (source, export):
        await side.times_ns(0, timing.seconds / 4, timing.warm_up_runs)
    taken: tuple[list[int], list[int]] = [], []
    begun = monotonic()
    for turn in range(timing.rounds):
        sides = [(source, taken[0]), (export, taken[1])]
        for side, times in sides if turn % 2 == 0 else sides[::-1]:
            times.extend(await side.times_ns(turn * runs, a_turn_s, runs))
        on_round((turn + 1) / timing.rounds)
        if monotonic() - begun > 6 * timing.seconds:
            break
    return _latency(taken[0], source.step), _latency(taken[1], export.step)


def _latency(times_ns: list[int], rows: int) -> Latency:
    p50, p99 = np.percentile(times_ns, [50, 99]) / _NS_PER_MS
    return Latency(float(p50), float(p99), len(times_ns), rows)
