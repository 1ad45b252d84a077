"""Outcomes over HTTP: what is refused, said and counted; and shadows, whose answers are compared and dropped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from tests.e2e.experiments.callers import Caller, Told, traffic, v2
from tests.e2e.experiments.control import Experiment, report
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish

BODY = v2("x", np.array([[1, 2]], np.float32))
METRICS = {
    "good": {"kind": "binary", "better": "higher"},
    "bought": {"kind": "conversion", "better": "higher"},
    "spent": {"kind": "mean", "better": "higher", "low": 0, "high": 100},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    repository = tmp_path_factory.mktemp("outcomes") / "repository"
    for model in ("add", "shadowed"):
        for version, constant in ((1, 1), (2, 2), (3, 1.0001)):
            publish(repository, model, version, {"model.onnx": add_model(constant)})
    with RunningGateway.running(repository, POLL_S="0.1", SETTLE_S="0") as running:
        running.wait_ready(within_s=60)
        Experiment(running, "add", "told").begin(variants=halves("add"), metrics=METRICS)
        yield running


def halves(model: str) -> dict[str, object]:
    return {name: {"target": f"{model}/{version}", "weight": 50} for version, name in enumerate("ab", start=1)}


def post(gateway: RunningGateway, body: bytes) -> httpx.Response:
    return gateway.client.post(f"{gateway.control}/v1/outcomes", content=body)


def asked(gateway: RunningGateway, unit: str) -> Told:
    with Caller(gateway.url) as caller:
        return caller.infer("add", BODY, unit)


def outcome(metric: str = "good", value: object = 1, **of: object) -> dict[str, Any]:
    return {"metric": metric, "value": value, **of}


def by_unit(unit: str, metric: str = "good", value: object = 1, **more: object) -> dict[str, Any]:
    return outcome(metric, value, experiment="add/told", unit=unit, **more)


@pytest.mark.parametrize("count", [10_001, 100_000])
def test_too_many_outcomes_in_one_body_are_refused_before_they_are_parsed(gateway: RunningGateway, count: int) -> None:
    body = json.dumps([by_unit(f"unit-{number}") for number in range(count)]).encode()
    response = post(gateway, body)
    assert response.status_code == 413
    assert "error" in response.json()


GARBAGE = {
    "empty": b"",
    "no JSON": b"{outcomes",
    "no UTF-8": b"\xff\xfe{}",
    "null": b"null",
    "number": b"17",
    "deep": b"[" * 100_000,
    "deeper object": b'{"outcomes":' * 5_000,
    "another key": b'{"outcomes": [], "model": "add"}',
    "not a list": b'{"outcomes": {"metric": "good"}}',
    "no fields": b"{}",
    "huge number": b'{"metric": "good", "value": 1' + b"0" * 5000 + b', "request": "x"}',
    "surrogate": b'{"metric": "good", "value": 1, "experiment": "add/told", "unit": "\\ud800"}',
    "nan": b'{"metric": "good", "value": NaN, "experiment": "add/told", "unit": "u"}',
    "both": b'{"metric": "good", "value": 1, "experiment": "add/told", "unit": "u", "request": "r"}',
    "unknown field": b'{"metric": "good", "value": 1, "request": "r", "variant": "a"}',
}


@pytest.mark.parametrize("what", GARBAGE)
def test_what_is_no_outcome_is_a_400_that_says_why(gateway: RunningGateway, what: str) -> None:
    response = post(gateway, GARBAGE[what])
    assert response.status_code == 400, response.text
    assert response.json()["error"]


def test_in_a_list_each_outcome_is_judged_by_itself(gateway: RunningGateway) -> None:
    told = asked(gateway, "known")
    wrong = {
        "no metric of it": by_unit("known", "clicks"),
        "automatic": by_unit("known", "latency_ms", 3),
        "neither 0 nor 1": by_unit("known", "good", 0.5),
        "out of bounds": by_unit("known", "spent", 101),
        "unit that never came": by_unit("stranger"),
        "experiment that there is not": outcome(experiment="add/nothing", unit="known"),
        "model that there is not": outcome(experiment="nothing/told", unit="known"),
        "forged id": outcome(request="A" * 48),
        "half an id": outcome(request=told.request[:-1]),
        "another's id": outcome(request=told.request[::-1]),
        "future": by_unit("known", at="2999-01-01T00:00:00Z"),
        "text": by_unit("known", value="1"),
        "list": ["good", 1],
    }
    right = [outcome(request=told.request), by_unit("known", key="k-1"), by_unit("known", value=True, key="k-2")]
    body = [*wrong.values(), *right]  # type: ignore[list-item]
    receipt = post(gateway, json.dumps(body).encode()).json()
    assert (receipt["accepted"], receipt["duplicates"], receipt["sampled_out"]) == (3, 0, 0)
    assert [each["index"] for each in receipt["refused"]] == list(range(len(wrong)))
    reasons = dict(zip(wrong, [each["error"] for each in receipt["refused"]], strict=True))
    assert "expected one of the outcomes of add/told: good, bought, spent" in reasons["no metric of it"]
    assert "unit 'stranger': no request of it took part" in reasons["unit that never came"]
    assert "none of this gateway's" in reasons["forged id"]
    assert "0..100" in reasons["out of bounds"]


def test_an_outcome_counts_once_however_often_it_is_sent(gateway: RunningGateway) -> None:
    told = asked(gateway, "again")
    outcomes = [
        outcome("spent", 5, request=told.request),
        by_unit("again", "spent", 7, key="order-1"),
        by_unit("again", "bought"),
    ]
    first, second = report(gateway, [*outcomes, *outcomes]), report(gateway, outcomes)
    assert (first["accepted"], first["duplicates"]) == (3, 3)
    assert (second["accepted"], second["duplicates"]) == (0, 3)
    experiment = Experiment(gateway, "add", "told")

    def spent() -> int:
        metrics = experiment.view()["analysis"]["metrics"]
        return sum(each["count"] for each in metrics if each["metric"] == "spent")

    gateway.until(lambda: spent() == 2)


def test_outcomes_of_a_run_that_has_ended_count_still(gateway: RunningGateway) -> None:
    experiment = Experiment(gateway, "shadowed", "ended")
    experiment.begin(variants=halves("shadowed"), metrics={"good": {"kind": "binary", "better": "higher"}})
    with Caller(gateway.url) as caller:
        told = caller.infer("shadowed", BODY, "unit-1")
    experiment.right("POST", "/stop")
    assert report(gateway, [outcome(request=told.request)])["accepted"] == 1
    experiment.right("POST", "/start")
    late = report(gateway, [outcome(value=0, request=told.request, key="late")])
    assert late["accepted"] + len(late["refused"]) == 1
    experiment.right("POST", "/stop")


@pytest.mark.parametrize(("version", "agree"), [(2, False), (3, True)])
def test_a_shadows_answers_are_compared_and_no_caller_gets_one(
    gateway: RunningGateway, version: int, agree: bool
) -> None:
    experiment = Experiment(gateway, "shadowed", f"shadow-{version}")
    experiment.begin(
        variants={
            "a": {"target": "shadowed/1", "weight": 50},
            "b": {"target": "shadowed/1@onnxruntime", "weight": 50},
        },
        shadow={"target": f"shadowed/{version}", "percent": 100, "tolerance": 0.01, "busy_percent": 100},
        guardrails={"disagreement": 0.05},
    )
    with traffic(
        gateway, lambda caller, number: caller.infer("shadowed", BODY, f"unit-{number}"), pause_s=0.005
    ) as seen:
        shadow = gateway.until(lambda: (found := experiment.view()["shadow"]) and found["compared"] > 100 and found, 30)
        warned = [each["reason"] for each in experiment.events() if each["action"] == "guardrail"]
    assert {tuple(each.output().ravel()) for each in seen.told} == {(2.0, 3.0)}
    assert {each.served_by for each in seen.told} == {"shadowed/1@onnxruntime"}
    assert shadow["failed"] == 0
    if agree:
        assert (shadow["disagreed"], warned) == (0, [])
        assert shadow["largest_difference"] == pytest.approx(1e-4, rel=0.1)
    else:
        assert shadow["disagreed"] == shadow["compared"]
        assert shadow["largest_difference"] == pytest.approx(1)
        assert 0.9 < shadow["least_cosine"] < 1
        assert ["disagreement" in each for each in warned] == [True]
    assert experiment.weights() == {"a": 50, "b": 50}
    experiment.right("POST", "/stop")
