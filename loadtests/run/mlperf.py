"""SingleStream, MultiStream, Offline and Server, with the meaning that MLPerf Inference gives them."""

from __future__ import annotations

from typing import Final

from loadtests.results.schema import Figure
from loadtests.run import figures
from loadtests.run.bounds import Bounded
from loadtests.run.early_stopping import discarded, least_queries
from loadtests.run.latencies import Latencies, failures, latencies, measured, succeeded
from loadtests.run.session import Plain, Turn
from loadtests.run.subjects import Subject
from loadtests.scenario import MultiStream, Offline, Server, SingleStream
from loadtests.statistics import throughput

_OFFLINE_SAMPLES: Final = 24_576


class Streams(Plain):
    """One query after the other, of one sample or of several; a percentile of their latency."""

    def __init__(self, scenario: SingleStream | MultiStream) -> None:
        self._scenario = scenario
        self._samples = scenario.samples if isinstance(scenario, MultiStream) else 1

    def turn(self, turn: Turn) -> None:
        """One connection, closed."""
        turn.stretch(1, self._scenario.seconds, samples=self._samples)

    def figures(self, subject: Subject) -> list[Figure]:
        """The percentile, and the one that early stopping allows."""
        percent = self._scenario.percentile
        found = figures.usual(subject.runs, first=percent)
        slices = [each for run in subject.runs for each in measured(run)]
        return [found[0], surely(latencies(slices), sum(failures(slices).values()), percent), *found[1:]]


def surely(answered: Latencies, failed: int, percent: float) -> Figure:
    """What a percentile surely is not above, in ms; a query that failed is slower than any."""
    name, queries = f"p{percent:g} (99 % sure)", answered.queries + failed
    nth = discarded(queries, percent)
    if nth is None:
        more = least_queries(percent) - queries
        return Figure(name, None, "ms", note=f"early stopping: {more:,} queries more needed")
    if nth <= failed:
        return Figure(name, None, "ms", note=f"early stopping: too many of {queries:,} queries failed: {failed:,}")
    note = f"early stopping: {queries:,} queries, the {nth - 1:,} slowest left out"
    return Figure(name, answered.slowest(nth - failed), "ms", note=note)


class OfflineKind(Plain):
    """As many samples as the gateway takes: a queue that is always full, so that it batches as it likes."""

    def __init__(self, scenario: Offline) -> None:
        self._scenario = scenario

    def turn(self, turn: Turn) -> None:
        """Large requests on several connections, closed: a gateway's queue has an end, so it is kept full."""
        turn.stretch(self._scenario.connections, self._scenario.seconds, samples=self._scenario.samples_per_request)

    def figures(self, subject: Subject) -> list[Figure]:
        """Samples a second."""
        size = self._scenario.samples_per_request
        samples = size * succeeded(each for run in subject.runs for each in measured(run))
        note = f"{samples:,} samples" + (
            f"; early stopping does not apply: {_OFFLINE_SAMPLES - samples:,} samples more needed for MLPerf"
            if samples < _OFFLINE_SAMPLES
            else ""
        )
        rate = figures.figure("samples", throughput(subject.runs), "samples/s", note, times=size)
        price = figures.cost(rate, self._scenario.prices, subject.cores, "samples")
        return [rate, *price, *figures.usual(subject.runs)]


class ServerKind(Plain):
    """Poisson arrivals: the highest rate that keeps the bound, searched for in every round."""

    def __init__(self, scenario: Server) -> None:
        self._scenario = scenario
        self._bounded = Bounded(scenario.bound, scenario.bound.connections)

    def turn(self, turn: Turn) -> None:
        """Search from where the last round ended."""
        self._bounded.search(turn)

    def figures(self, subject: Subject) -> list[Figure]:
        """The rate, and how the gateway was at it."""
        rate = self._bounded.figure(subject, "server rate")
        confirmed = self._bounded.confirmed(subject)
        usual = figures.usual(confirmed, first=self._scenario.bound.percentile) if confirmed else []
        price = figures.cost(rate, self._scenario.prices, subject.cores, "requests")
        return [rate, *price, *usual]
