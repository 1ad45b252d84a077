"""What the gateway has counted, as Prometheus' metrics: from plain data, for any of its formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from adapters.histograms import Distribution
from gateway.experiments.report import Tally
from gateway.statistics import BatchStatistics, StatisticsSnapshot
from gateway.types import Deployment

_DURATION_BITS = range(14, 35)
"""Bounds of durations, as powers of two of nanoseconds: from 16 µs to 17 s."""

_ROWS = [1 << power for power in range(11)]
_LABELS = ("model", "version", "backend")


@dataclass(frozen=True, slots=True)
class Moment:
    """All that there is to tell at one moment: deployments' statistics and deaths, and how many are in which state."""

    statistics: Mapping[Deployment, StatisticsSnapshot] = field(default_factory=dict)
    deaths: Mapping[Deployment, int] = field(default_factory=dict)
    states: Mapping[str, int] = field(default_factory=dict)
    frontends: Mapping[str, int] = field(default_factory=dict)
    frontend_deaths: int = 0
    ready: bool = False
    variants: Mapping[tuple[str, str, str], Tally] = field(default_factory=dict)
    reports: Mapping[tuple[str, str, str, str, str], int] = field(default_factory=dict)


class Telemetry(Collector):
    """A moment, as prometheus_client collects it."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment
        self._told = [
            ((each.model, str(each.version), each.backend), moment.statistics[each])
            for each in sorted(moment.statistics)
        ]

    def collect(self) -> Iterator[Metric]:
        """Every metric; a deployment's labels are model, version and backend."""
        yield from self._gateway()
        yield self._requests()
        yield self._durations()
        yield self._stages()
        yield self._rows()
        yield from self._load()
        yield self._cache()
        yield from self._experiments()
        yield self._edge()

    def _gateway(self) -> Iterator[Metric]:
        moment = self._moment
        info = GaugeMetricFamily("torii_build_info", "The gateway's version", labels=("version",))
        info.add_metric((version("torii-gateway"),), 1)
        yield info
        yield GaugeMetricFamily("torii_ready", "1 once all models of the start were taken care of", int(moment.ready))
        states = GaugeMetricFamily("torii_deployments", "Deployments by state", labels=("state",))
        for state, count in moment.states.items():
            states.add_metric((state,), count)
        yield states
        deaths = CounterMetricFamily("torii_deployment_deaths", "Deaths of the process that ran it", labels=_LABELS)
        for each in sorted(moment.deaths):
            deaths.add_metric((each.model, str(each.version), each.backend), moment.deaths[each])
        yield deaths
        frontends = GaugeMetricFamily("torii_frontends", "Processes that answer requests, by state", labels=("state",))
        for state, count in moment.frontends.items():
            frontends.add_metric((state,), count)
        yield frontends
        yield CounterMetricFamily("torii_frontend_deaths", "Deaths of such processes", moment.frontend_deaths)

    def _requests(self) -> Metric:
        family = CounterMetricFamily(
            "torii_requests",
            "By outcome: succeeded, refused (too many), expired (time is up), left (by the caller), or a kind of error",
            labels=(*_LABELS, "outcome"),
        )
        for labels, each in self._told:
            family.add_metric((*labels, "succeeded"), each.inference_stats.success.count)
            for outcome, count in sorted(each.ends.items()):
                family.add_metric((*labels, outcome), count)
        return family

    def _durations(self) -> Metric:
        family = HistogramMetricFamily(
            "torii_request_duration_seconds", "Requests that succeeded, from decoded to answered", labels=_LABELS
        )
        for labels, each in self._told:
            _add_durations(family, labels, each.stages.request)
        return family

    def _stages(self) -> Metric:
        family = HistogramMetricFamily(
            "torii_stage_duration_seconds",
            "queue: of each request, from sent to taken into a batch; of each batch: input, run, output",
            labels=(*_LABELS, "stage"),
        )
        for labels, each in self._told:
            for stage in ("queue", "input", "run", "output"):
                _add_durations(family, (*labels, stage), getattr(each.stages, stage))
        return family

    def _rows(self) -> Metric:
        family = HistogramMetricFamily("torii_batch_rows", "Rows of each batch that ran", labels=_LABELS)
        for labels, each in self._told:
            _add_rows(family, labels, each.batch_stats)
        return family

    def _load(self) -> Iterator[Metric]:
        answered = CounterMetricFamily("torii_rows", "Rows that were answered", labels=_LABELS)
        running = GaugeMetricFamily("torii_requests_in_flight", "Requests that run", labels=_LABELS)
        waiting = GaugeMetricFamily("torii_requests_waiting", "Requests that wait for their turn", labels=_LABELS)
        kept = GaugeMetricFamily("torii_cache_bytes", "Bytes of answers that are kept", labels=_LABELS)
        for labels, each in self._told:
            answered.add_metric(labels, each.inference_count)
            running.add_metric(labels, each.load.in_flight)
            waiting.add_metric(labels, each.load.waiting)
            kept.add_metric(labels, each.load.kept_bytes)
        yield from (answered, running, waiting, kept)

    def _experiments(self) -> Iterator[Metric]:
        labels = ("model", "experiment", "variant")
        requests = CounterMetricFamily(
            "torii_experiment_requests", "Requests of running experiments, answered or failed", labels=labels
        )
        errors = CounterMetricFamily(
            "torii_experiment_errors", "Those that failed, and not for their callers' fault", labels=labels
        )
        weights = GaugeMetricFamily("torii_experiment_weight", "Percent of the traffic, in force now", labels=labels)
        for variant, each in sorted(self._moment.variants.items()):
            requests.add_metric(variant, each.requests)
            errors.add_metric(variant, each.errors)
            weights.add_metric(variant, each.weight)
        yield from (requests, errors, weights)

    def _edge(self) -> Metric:
        family = CounterMetricFamily(
            "torii_edge_reports",
            "What devices reported, by kind; judged: devices that said whether it works, faulted: those where it fails",
            labels=("model", "channel", "version", "kind", "passed"),
        )
        for labels, count in sorted(self._moment.reports.items()):
            family.add_metric(labels, count)
        return family

    def _cache(self) -> Metric:
        family = CounterMetricFamily(
            "torii_cache_requests",
            "hit: answered from what was kept; miss: not found there; joined: answered by an equal one's run",
            labels=(*_LABELS, "result"),
        )
        for labels, each in self._told:
            stats = each.inference_stats
            counts = {"hit": stats.cache_hit.count, "miss": stats.cache_miss.count, "joined": each.joined}
            for result, count in counts.items():
                family.add_metric((*labels, result), count)
        return family


def _add_durations(family: HistogramMetricFamily, labels: tuple[str, ...], told: Distribution) -> None:
    if not told.counts:
        return  # there may be many deployments that nobody asks, and each would have a hundred lines of zeros
    buckets = [(repr((1 << bits) / 1e9), told.below(bits)) for bits in _DURATION_BITS]
    family.add_metric(labels, [*buckets, ("+Inf", told.count)], told.total / 1e9)


def _add_rows(family: HistogramMetricFamily, labels: tuple[str, ...], batches: tuple[BatchStatistics, ...]) -> None:
    sizes = [(each.batch_size, each.compute_infer.count) for each in batches]
    buckets = [(str(float(rows)), sum(count for size, count in sizes if size <= rows)) for rows in _ROWS]
    total = sum(size * count for size, count in sizes)
    family.add_metric(labels, [*buckets, ("+Inf", sum(count for _, count in sizes))], total)
