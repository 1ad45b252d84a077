"""The load that deployments are compared under: alone, in search of the highest rate, and all at one rate; in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import psutil

from loadtests.engine.plan import Plan
from loadtests.gateways import Gateway
from loadtests.generator import GeneratorFailed
from loadtests.results.schema import Run
from loadtests.run.latencies import failures, latencies, measured, succeeded
from loadtests.run.measuring import Measure
from loadtests.run.search import Found, Phase, highest_rate
from loadtests.run.turns import turns
from loadtests.verdict.candidates import READY, Candidate, percentile_ms, trouble
from loadtests.verdict.words import backends, joined

_CONNECTIONS: Final = 64
_BEGIN: Final = 0.5
"""Share of what one connection gets, which the search begins with."""

_TRIED: Final = 200
"""Queries, at least, before a rate is thought to be kept or broken."""

_LONGEST: Final = 4.0
_LEAST: Final = 0.02
"""Share of what one connection gets, below which no rate is tried: that is hardly any load."""

_LOOKS: Final = 2
"""That find no rate before there is none: one may have met another process's busy moment."""

_IDLE_S: Final = 2.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long is measured: `seconds` a stretch, `search_s` a rate that is tried, up to `precision` (a share)."""

    rounds: int = 3
    seconds: float = 4.0
    warm_up_s: float = 0.5
    search_s: float = 2.0
    precision: float = 0.05

    def changed(self, rounds: int | None, seconds: float | None) -> Effort:
        """The same with so many rounds, and stretches so long; None: as it is."""
        longer = 1.0 if seconds is None else seconds / self.seconds
        return replace(
            self,
            rounds=self.rounds if rounds is None else rounds,
            seconds=self.seconds * longer,
            search_s=self.search_s * longer,
        )

    def lasting(self, phase: str, rate: float) -> float:
        """Seconds of a stretch, without its warm-up; for a low rate that is tried, until there is something to see."""
        if not phase.startswith(("search", "confirm")):
            return self.seconds
        wanted = self.search_s if phase.startswith("search") else 2 * self.search_s
        return min(max(wanted, _TRIED / rate), _LONGEST * wanted)


NORMAL: Final = Effort()
QUICK: Final = Effort(rounds=3, seconds=1.0, warm_up_s=0.25, search_s=0.75, precision=0.2)


class Bench:
    """Puts load on one gateway. A deployment that stops answering is left out from then on, and says why."""

    def __init__(
        self, gateway: Gateway, measure: Measure, protocol: Literal["http/1.1", "grpc"], effort: Effort, tell: Tell
    ) -> None:
        """`tell` is called with what is being done."""
        self._gateway = gateway
        self._measure = measure
        self._target = gateway.target(protocol)
        self._effort = effort
        self._tell = tell

    def alone(self, candidates: Sequence[Candidate]) -> None:
        """One connection, the next request when the last is answered."""
        for number, each in self._turns(candidates, "alone"):
            if run := self._run(each, 1.0, number, "closed", "measure alone"):
                each.alone.append(run)

    def search(self, candidates: Sequence[Candidate], target_ms: float) -> None:
        """The highest rate that keeps p99 under the target, once a round; later rounds begin where the first ended."""
        for number, each in self._turns(candidates, "highest rate"):
            alone = percentile_ms(each.alone, 0.5)
            if len(each.found) >= _LOOKS and not any(found.rate for found in each.found):
                continue  # going down to nothing takes long
            if alone is None or (slow := percentile_ms(each.alone, 0.99)) is None or slow.low > target_ms:
                each.found.append(Found(None, None))
                continue
            first = _BEGIN * 1000 / alone.value
            self._search(each, number, target_ms, first)

    def _search(self, candidate: Candidate, number: int, target_ms: float, first: float) -> None:
        def attempt(rate: float, phase: Phase) -> bool:
            if rate < first / _BEGIN * _LEAST:
                return False
            run = self._run(candidate, rate, number, "poisson", f"{phase} {rate:.6g}/s")
            if run is None:
                return False
            candidate.tried.append(run)
            return _keeps(run, target_ms, candidate)

        before = candidate.found[-1] if candidate.found else None
        found = highest_rate(attempt, first, self._effort.precision, before)
        if candidate.going:
            candidate.found.append(found)
            told = f"{found.rate:,.0f}/s" if found.rate else "no rate"
            self._tell(f"{candidate.name}: {told} keeps p99 within {target_ms:g} ms")

    def at(self, candidates: Sequence[Candidate], rate: float, target_ms: float) -> None:
        """Poisson arrivals, the same rate for all; with the CPU time that gateway and backend take for a request."""
        idle = self._idle()
        for number, each in self._turns(candidates, f"{rate:g}/s"):
            before, began_s = self._cpu_s(), time.monotonic()
            run = self._run(each, rate, number, "poisson", f"measure {rate:g}/s")
            if run is None:
                continue
            each.loaded.append(run)
            _keeps(run, target_ms, each)
            after, answered = self._cpu_s(), succeeded(run.slices)
            if before and after and answered:
                used_s = _used_s(before, after) - idle * (time.monotonic() - began_s)
                each.cpu_ms.append(max(0.0, used_s / answered * 1000))

    def _idle(self) -> float:
        """The share of a core that gateway and backends use while nobody asks: no request's cost."""
        before, began_s = self._cpu_s(), time.monotonic()
        time.sleep(min(_IDLE_S, self._effort.seconds))
        return _used_s(before, self._cpu_s()) / (time.monotonic() - began_s)

    def _turns(self, candidates: Sequence[Candidate], what: str) -> list[tuple[int, Candidate]]:
        going = [each for each in candidates if each.going]
        self._tell(f"{what}: {joined(backends([each.name for each in going]))}, {self._effort.rounds} rounds")
        return list(turns(going, self._effort.rounds))

    def _run(
        self, candidate: Candidate, level: float, number: int, arrival: Literal["closed", "poisson"], phase: str
    ) -> Run | None:
        """One stretch; None where the deployment has failed, before or in it."""
        if not candidate.going:
            return None
        plan = Plan(
            self._target,
            candidate.requests,
            arrival,
            connections=1 if arrival == "closed" else _CONNECTIONS,
            served_by=candidate.name,
            seed=number,
        )
        effort, trying = self._effort, phase.startswith(("search", "confirm"))
        seconds = effort.lasting(phase, level)
        try:
            run = self._measure(
                plan,
                level,
                seconds,
                warm_up_s=effort.warm_up_s,
                phase=phase,
                round=number,
                gateway=self._gateway,
            )
        except GeneratorFailed as error:
            candidate.failure = f"the load generator failed: {error}"
            return None
        if (why := trouble(run)) and (not trying or self._gone(candidate)):  # too high a rate is no deployment's end
            candidate.failure = why
            return None
        return run

    def _gone(self, candidate: Candidate) -> bool:
        status = {each["deployment"]: each["state"] for each in self._gateway.status()["deployments"]}
        return status.get(candidate.name) != READY

    def _cpu_s(self) -> dict[int, float]:
        """CPU seconds so far of the gateway and all below it, by process; nothing where it runs elsewhere."""
        used: dict[int, float] = {}
        for pid in self._gateway.pids() or ():
            try:
                times = psutil.Process(pid).cpu_times()
            except psutil.Error:
                continue
            used[pid] = times.user + times.system
        return used


def _used_s(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    return sum(used_s - before[pid] for pid, used_s in after.items() if pid in before)


def _keeps(run: Run, target_ms: float, candidate: Candidate) -> bool:
    """Whether 99 % of the queries were answered, well and in time, which is noted; what waits at the end was not."""
    slices = measured(run)
    if not slices:
        return False
    lost = sum(failures(slices).values()) + slices[-1].waiting + slices[-1].under_way
    queries = succeeded(slices) + lost
    kept = bool(queries) and latencies(slices).above(target_ms) + lost <= 0.01 * queries
    if kept:
        candidate.kept = max(candidate.kept, slices[-1].level)
    return kept
