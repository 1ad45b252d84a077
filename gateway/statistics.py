"""What one deployment has done since it was found: requests, rows, executions, and where their time went."""

from __future__ import annotations

import time
from asyncio import CancelledError
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, TypeAlias
from weakref import WeakSet

from adapters.base import Servable
from adapters.errors import DeadlineExceeded, ServingError
from adapters.executions import Costs, Execution, Executions, TellsExecutions
from adapters.histograms import Distribution, Histogram
from adapters.histograms import merged as merged_distributions
from gateway.errors import Overloaded

_NS_PER_MS = 1_000_000
_NAMED_ENDS: Mapping[type[BaseException], str] = {
    Overloaded: "refused",
    DeadlineExceeded: "expired",
    TimeoutError: "expired",
    CancelledError: "left",
}

_NOTHING = Distribution()


@dataclass(frozen=True, slots=True)
class Duration:
    """How often, and for how long in all."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True)
class InferenceStatistics:
    """By request: each has all the time that its batch took. `queue` and `compute_*` are of those that succeeded.

    `cache_hit` is for answers that were kept and how long it took to find them, `cache_miss` for looking in vain.
    """

    success: Duration = Duration()
    fail: Duration = Duration()
    queue: Duration = Duration()
    compute_input: Duration = Duration()
    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()
    cache_hit: Duration = Duration()
    cache_miss: Duration = Duration()


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """By execution, of all batches of one size in rows; sizes above 1024 count as the next power of two."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


@dataclass(frozen=True, slots=True)
class StageStatistics:
    """Nanoseconds, and how they are spread: of answered requests, of their waits, and of the stages of batches."""

    request: Distribution = _NOTHING
    queue: Distribution = _NOTHING
    input: Distribution = _NOTHING
    run: Distribution = _NOTHING
    output: Distribution = _NOTHING


@dataclass(frozen=True, slots=True)
class Load:
    """What a deployment holds at a moment: requests that run, requests that wait, and bytes of kept answers."""

    in_flight: int = 0
    waiting: int = 0
    kept_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StatisticsSnapshot:
    """A deployment's statistics at one moment, as plain data; the names are those of V2's statistics extension.

    `inference_count` are rows that were answered, `execution_count` batches that ran, `last_inference` is when the
    last answer came, in milliseconds since 1970 (0: never). The rest is Torii's own: `ends` counts the requests that
    were not answered by what became of them, `joined` those that shared the run of an equal one.
    """

    inference_count: int = 0
    execution_count: int = 0
    last_inference: int = 0
    inference_stats: InferenceStatistics = InferenceStatistics()
    batch_stats: tuple[BatchStatistics, ...] = ()
    stages: StageStatistics = StageStatistics()
    ends: dict[str, int] = field(default_factory=dict)
    joined: int = 0
    load: Load = Load()


def merged(snapshots: Iterable[StatisticsSnapshot]) -> StatisticsSnapshot:
    """One of all: counts, times and loads add up, the last inference is the latest one."""
    found = list(snapshots) or [StatisticsSnapshot()]
    batches: dict[int, list[BatchStatistics]] = {}
    for batch in (each for snapshot in found for each in snapshot.batch_stats):
        batches.setdefault(batch.batch_size, []).append(batch)
    return StatisticsSnapshot(
        sum(each.inference_count for each in found),
        sum(each.execution_count for each in found),
        max(each.last_inference for each in found),
        _added([each.inference_stats for each in found]),
        tuple(replace(_added(batches[size]), batch_size=size) for size in sorted(batches)),
        _added([each.stages for each in found]),
        dict(sum((Counter(each.ends) for each in found), Counter())),
        sum(each.joined for each in found),
        _added([each.load for each in found]),
    )


def _added(parts: Sequence[Any]) -> Any:
    """Numbers, distributions, and dataclasses of these, field by field."""
    first = parts[0]
    if isinstance(first, int):
        return sum(parts)
    if isinstance(first, Distribution):
        return merged_distributions(parts)
    return type(first)(*(_added([getattr(each, one.name) for each in parts]) for one in fields(first)))


class Holds(Protocol):
    """What tells its load at any moment."""

    @property
    def load(self) -> Load:
        """What it holds now."""
        ...


class Statistics:
    """Counts for one deployment, over all the connections that it has in its life."""

    __slots__ = (
        "_ends", "_executions", "_fail_count", "_fail_ns", "_hit_count", "_hit_ns", "_holders", "_joined", "_last_ns",
        "_miss_count", "_miss_ns", "_request", "_rows", "_success_count", "_success_ns", "_told", "_without_run",
    )  # fmt: skip

    def __init__(self) -> None:
        self._executions = Executions()
        self._request = Histogram()
        self._told = False
        self._rows = self._last_ns = 0
        self._success_count = self._success_ns = 0
        self._fail_count = self._fail_ns = 0
        self._hit_count = self._hit_ns = self._miss_count = self._miss_ns = self._joined = self._without_run = 0
        self._ends: Counter[str] = Counter()
        self._holders: WeakSet[Holds] = WeakSet()

    def follow(self, servable: Servable) -> None:
        """Count another connection's executions; where it does not tell them, each request counts as one of its own."""
        self._told = isinstance(servable, TellsExecutions)
        if isinstance(servable, TellsExecutions):
            servable.executions = self._executions

    def watch(self, holder: Holds) -> None:
        """Tell what it holds, too, for as long as it is there."""
        self._holders.add(holder)

    def succeeded(self, rows: int, ns: int) -> None:
        """Count a request that was answered, and for how long it ran."""
        self._success_count += 1
        self._success_ns += ns
        self._rows += rows
        self._last_ns = time.time_ns()
        self._request.add(ns)
        if self._without_run:
            self._without_run -= 1
        elif not self._told:
            self._executions.add(Execution(run_ns=ns, batch_rows=rows, first=True))

    def failed(self, ns: int, error: BaseException | None = None) -> None:
        """Count a request that was not answered, for how long it ran, and what became of it."""
        self._fail_count += 1
        self._fail_ns += ns
        self._ends[_end(error)] += 1

    def hit(self, ns: int) -> None:
        """Count an answer that was kept from an earlier request, and how long it took to find it.

        To be followed by `succeeded` at once, as is `joined`.
        """
        self._hit_count += 1
        self._hit_ns += ns
        self._without_run += 1

    def missed(self, ns: int) -> None:
        """Count a request whose answer is not kept, and how long it took to find that out."""
        self._miss_count += 1
        self._miss_ns += ns

    def joined(self) -> None:
        """Count a request that got the answer of another one's run."""
        self._joined += 1
        self._without_run += 1

    def snapshot(self) -> StatisticsSnapshot:
        """All of it as plain data."""
        executions = self._executions
        calls, batches = executions.calls, executions.batches
        loads = [each.load for each in self._holders]
        return StatisticsSnapshot(
            self._rows,
            sum(each.count for each in batches.values()),
            self._last_ns // _NS_PER_MS,
            InferenceStatistics(
                Duration(self._success_count, self._success_ns),
                Duration(self._fail_count, self._fail_ns),
                Duration(calls.count, calls.queue_ns),
                *_compute(calls),
                Duration(self._hit_count, self._hit_ns),
                Duration(self._miss_count, self._miss_ns),
            ),
            tuple(BatchStatistics(rows, *_compute(batches[rows])) for rows in sorted(batches)),
            StageStatistics(
                self._request.distribution(self._success_ns),
                executions.queue.distribution(calls.queue_ns),
                executions.input.distribution(sum(each.input_ns for each in batches.values())),
                executions.run.distribution(sum(each.run_ns for each in batches.values())),
                executions.output.distribution(sum(each.output_ns for each in batches.values())),
            ),
            dict(self._ends),
            self._joined,
            Load(*(sum(getattr(each, name) for each in loads) for name in Load.__dataclass_fields__)),
        )


def _end(error: BaseException | None) -> str:
    """What became of a request, by a name that no caller can choose."""
    if error is None:
        return "internal"
    if named := _NAMED_ENDS.get(type(error)):
        return named
    return type(error).__name__ if isinstance(error, ServingError) else "internal"


_Compute: TypeAlias = tuple[Duration, Duration, Duration]


def _compute(costs: Costs) -> _Compute:
    return (
        Duration(costs.count, costs.input_ns),
        Duration(costs.count, costs.run_ns),
        Duration(costs.count, costs.output_ns),
    )
