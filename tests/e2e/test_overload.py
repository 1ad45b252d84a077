"""More than a model can carry, over HTTP: refusals at once, with when to come back, and the rest answered in time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish, slow_model
from tests.e2e.open_loop import Flood

ROUNDS = 20


@pytest.fixture
def slow(tmp_path: Path, serve: Callable[..., RunningGateway]) -> RunningGateway:
    repository = tmp_path / "repository"
    publish(repository, "slow", 1, {"model.onnx": slow_model()})
    (repository / "slow" / "model.toml").write_text("[limits]\ntimeout_ms = 600\n[batching]\nmax_rows = 1\n")
    return serve(repository)


def test_under_three_times_the_load_those_let_in_are_answered_in_time_and_the_others_told_when_to_come_back(
    slow: RunningGateway,
) -> None:
    begin_s = time.perf_counter()
    for _ in range(30):
        slow.outputs("slow", n=np.array([ROUNDS], np.int64))
    each_s = (time.perf_counter() - begin_s) / 30
    body = {"inputs": [{"name": "n", "shape": [1], "datatype": "INT64", "data": [ROUNDS]}]}
    asked = Flood(f"{slow.url}/v2/models/slow/infer", body).run(3 / each_s, for_s=4)
    counts = Counter(each.status for each in asked)
    assert counts.keys() <= {200, 429, 504}, counts
    # A plain queue of 1024 would be full of requests whose time is up, and hardly any would be answered.
    assert counts[200] > counts[504], counts
    refused = [each for each in asked if each.status == 429]
    assert refused, counts
    assert all(int(each.headers["retry-after"]) >= 1 for each in refused)
    assert all(b"running" in each.body and b"would be late by" in each.body for each in refused), refused[0]
    slow.outputs("slow", n=np.array([1], np.int64))


def test_the_control_port_has_metrics_of_what_was_asked(serve: Callable[..., RunningGateway], tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    publish(repository, "add", 1, {"model.onnx": add_model(1)})
    (repository / "add" / "model.toml").write_text("[cache]\nmax_bytes = 1000000\njoin = true\n")
    gateway = serve(repository)
    for x in (1, 1, 2):
        assert gateway.outputs("add", x=np.full((1, 2), x, np.float32))["y"].tolist() == [[x + 1, x + 1]]
    response = gateway.client.get(f"{gateway.control}/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    of_add = {"model": "add", "version": "1", "backend": "onnxruntime"}
    values = {
        (each.name, *(value for key, value in each.labels.items() if key not in of_add)): each.value
        for family in text_string_to_metric_families(response.text)
        for each in family.samples
        if of_add.items() <= each.labels.items()
    }
    assert values["torii_requests_total", "succeeded"] == 3
    assert (values["torii_cache_requests_total", "hit"], values["torii_cache_requests_total", "miss"]) == (1, 2)
    assert values["torii_request_duration_seconds_count",] == 3
    for stage in ("queue", "input", "run", "output"):
        assert values["torii_stage_duration_seconds_count", stage] == 2
        assert 0 < values["torii_stage_duration_seconds_sum", stage] < 60
    assert values["torii_batch_rows_sum",] == 2
    assert values["torii_requests_in_flight",] == 0
    open_metrics = gateway.client.get(f"{gateway.control}/metrics", headers={"Accept": "application/openmetrics-text"})
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.text.endswith("# EOF\n")


def test_a_new_version_of_a_model_never_gives_the_earlier_one_s_kept_answers(
    serve: Callable[..., RunningGateway], tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    publish(repository, "add", 1, {"model.onnx": add_model(1)})
    (repository / "add" / "model.toml").write_text("[cache]\nmax_bytes = 1000000\njoin = true\n")
    gateway = serve(repository, SETTLE_S="0")
    x = np.ones((1, 2), np.float32)

    def answer() -> float:
        return float(gateway.outputs("add/versions/1", x=x)["y"][0, 0])

    assert [answer(), answer()] == [2, 2]
    digest = gateway.deployments()["add/1@onnxruntime"]["digest"]
    staged = tmp_path / "staged.onnx"
    staged.write_bytes(add_model(100))
    staged.replace(repository / "add" / "1" / "model.onnx")
    gateway.until(lambda: gateway.deployments()["add/1@onnxruntime"]["digest"] != digest, within_s=30)
    assert [answer(), answer()] == [101, 101]
