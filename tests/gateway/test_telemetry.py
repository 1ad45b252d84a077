"""Prometheus' metrics of a gateway, read as Prometheus reads them: in both formats, with the right sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from adapters.errors import InferenceFailed
from adapters.executions import Execution, Executions
from gateway.errors import Overloaded
from gateway.experiments.report import Tally
from gateway.statistics import Statistics, StatisticsSnapshot
from gateway.telemetry import Moment, Telemetry
from gateway.types import Deployment
from tests.gateway.fakes import HeldServable

ONE = Deployment("digits", 2, "tflite")
OF_ONE = {"model": "digits", "version": "2", "backend": "tflite"}


def statistics() -> StatisticsSnapshot:
    servable = HeldServable()
    servable.executions = Executions()  # type: ignore[attr-defined]
    told = Statistics()
    told.follow(servable)
    for rows, queue_ns in ((1, 1_000), (3, 1_000_000), (4, 20_000_000), (2000, 3_000_000_000)):
        told._executions.add(Execution(queue_ns, 10_000, 5_000_000, 90_000, rows, True))
        told.succeeded(rows, 6_000_000)
    told.failed(1, Overloaded("", 1))
    told.failed(1, InferenceFailed(""))
    told.failed(1, InferenceFailed(""))
    told.hit(1)
    told.succeeded(1, 1000)
    told.missed(1)
    told.missed(1)
    told.joined()
    return told.snapshot()


MOMENT = Moment({ONE: statistics()}, {ONE: 3}, {"READY": 1, "FAILED": 0}, {"serving": 2, "starting": 1}, 4, True)


def samples(read: Callable[[str], Any], text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in read(text.decode())
        for sample in family.samples
    }


@pytest.fixture(params=["Prometheus", "OpenMetrics"])
def value(request: pytest.FixtureRequest) -> Callable[..., float]:
    """Gives a sample by its name and labels, those of the deployment included unless labels are given."""
    if request.param == "Prometheus":
        found = samples(text_string_to_metric_families, generate_latest(Telemetry(MOMENT)))
    else:
        found = samples(openmetrics_families, openmetrics.generate_latest(Telemetry(MOMENT)))

    def get(name: str, whose: dict[str, str] = OF_ONE, **labels: str) -> float:
        return found[name, frozenset({**whose, **labels}.items())]

    return get


def test_requests_are_counted_by_outcome(value: Callable[..., float]) -> None:
    outcomes = {"succeeded": 5, "refused": 1, "InferenceFailed": 2}
    assert {each: value("torii_requests_total", outcome=each) for each in outcomes} == outcomes


def test_durations_are_in_seconds_and_their_buckets_add_up(value: Callable[..., float]) -> None:
    assert value("torii_request_duration_seconds_count") == 5
    assert value("torii_request_duration_seconds_sum") == pytest.approx(0.024001)
    assert value("torii_request_duration_seconds_bucket", le="0.004194304") == 1
    assert value("torii_request_duration_seconds_bucket", le="0.008388608") == 5
    assert value("torii_request_duration_seconds_bucket", le="+Inf") == 5


@pytest.mark.parametrize(("stage", "total"), [("queue", 3.021001), ("input", 4e-5), ("run", 0.02), ("output", 3.6e-4)])
def test_every_stage_has_its_times(value: Callable[..., float], stage: str, total: float) -> None:
    assert value("torii_stage_duration_seconds_count", stage=stage) == 4
    assert value("torii_stage_duration_seconds_sum", stage=stage) == pytest.approx(total)


def test_batches_are_told_by_their_rows(value: Callable[..., float]) -> None:
    buckets = {"1.0": 1, "2.0": 1, "4.0": 3, "1024.0": 3, "+Inf": 4}
    assert {le: value("torii_batch_rows_bucket", le=le) for le in buckets} == buckets
    assert value("torii_batch_rows_sum") == 1 + 3 + 4 + 2048  # above 1024, sizes count as the next power of two
    assert value("torii_rows_total") == 2009


def test_cached_and_joined_answers_are_counted(value: Callable[..., float]) -> None:
    results = {"hit": 1, "miss": 2, "joined": 1}
    assert {each: value("torii_cache_requests_total", result=each) for each in results} == results


def test_the_gateway_tells_of_itself(value: Callable[..., float]) -> None:
    assert value("torii_ready", {}) == 1
    assert value("torii_deployments", {}, state="READY") == 1
    assert value("torii_deployments", {}, state="FAILED") == 0
    assert value("torii_deployment_deaths_total") == 3
    assert value("torii_frontends", {}, state="serving") == 2
    assert value("torii_frontend_deaths_total", {}) == 4


def test_a_gateway_that_has_nothing_yet_has_metrics() -> None:
    assert b"torii_ready 0.0" in generate_latest(Telemetry(Moment()))


def test_variants_of_running_experiments_are_told_with_their_weights() -> None:
    told = generate_latest(Telemetry(Moment(variants={("m", "x", "b"): Tally(12, 3, 40.0)}))).decode()
    labels = '{experiment="x",model="m",variant="b"}'
    for line in ("requests_total{} 12.0", "errors_total{} 3.0", "weight{} 40.0"):
        assert f"torii_experiment_{line.replace('{}', labels)}\n" in told
