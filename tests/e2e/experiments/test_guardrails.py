"""Guardrails: a variant that fails, slows down or answers NaN loses its traffic to control, at once and with a word."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.e2e.experiments.callers import Caller, Told, Traffic, traffic, v2
from tests.e2e.experiments.control import Experiment
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, divide_model, lookup_model, publish, slow_model

ONE_THREAD = "[backend.onnxruntime]\nintra_op_threads = 1\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Models whose version 2 fails, is slow, or answers NaN."""
    repository = tmp_path_factory.mktemp("guardrails") / "repository"
    versions = {
        "lookup": (lookup_model(100), lookup_model(10)),
        "slow": (slow_model(), slow_model(6)),
        "divide": (add_model(1), divide_model()),
    }
    for model, contents in versions.items():
        for version, content in enumerate(contents, start=1):
            publish(repository, model, version, {"model.onnx": content})
        (repository / model / "model.toml").write_text(ONE_THREAD)
    with RunningGateway.running(repository, SETTLE_S="0") as running:  # it looks at files seldom: none of them is news
        running.wait_ready(within_s=60)
        yield running


def halved(model: str) -> dict[str, object]:
    """Variants a (version 1, control) and b (version 2)."""
    return {name: {"target": f"{model}/{version}", "weight": 50} for version, name in enumerate("ab", start=1)}


def broken(experiment: Experiment) -> dict[str, object] | None:
    """The event of a guardrail that was broken."""
    return next((each for each in experiment.events() if each["action"] == "guardrail"), None)


def control_has_it_all(experiment: Experiment, seen: Traffic) -> None:
    """From now on: its weights, and the requests that come."""
    assert experiment.weights() == {"a": 100, "b": 0}
    count = len(seen.told)
    experiment.gateway.until(lambda: len(seen.told) > count + 30)
    assert set(seen.variants(seen.told[count + 2].at_s)) == {"a"}


def test_a_variant_that_begins_to_fail_is_out_of_traffic_within_about_a_second(gateway: RunningGateway) -> None:
    experiment = Experiment(gateway, "lookup", "fails").begin(variants=halved("lookup"))
    number = [5]

    def ask(caller: Caller, n: int) -> Told:
        return caller.infer("lookup", v2("n", np.array(number, np.int64)), f"unit-{n % 500}")

    with traffic(gateway, ask, pause_s=0.002) as seen:
        gateway.until(lambda: min(seen.variants()[each] for each in "ab") > 100)
        assert seen.failures == []
        number[0] = 50  # from now on version 2 fails, whatever is asked
        event = gateway.until(lambda: broken(experiment))
        control_has_it_all(experiment, seen)
    assert {each.status for each in seen.failures} == {500}
    assert all("Gather" in each.document["error"] for each in seen.failures)
    took_s = seen.failures[-1].at_s - seen.failures[0].at_s
    assert took_s < 5  # a second, where the machine has time
    assert (event["who"], event["after"]["current"]["weights"]) == ("torii", {"a": 100.0, "b": 0.0})
    assert "b: error_rate: " in event["after"]["current"]["reason"]
    assert "requests failed" in str(event["reason"])
    assert [each["action"] for each in experiment.events()] == ["guardrail", "started", "created"]
    written = (gateway.repository / "lookup" / "experiments" / "fails.toml").read_text()
    assert "error_rate" in written


def test_a_variant_that_is_much_slower_is_caught_by_its_p99(gateway: RunningGateway) -> None:
    experiment = Experiment(gateway, "slow", "slower")
    experiment.begin(variants=halved("slow"), guardrails={"p99_ratio": 2.0})
    body = v2("n", np.array([4], np.int64))
    with traffic(gateway, lambda caller, n: caller.infer("slow", body, f"unit-{n}")) as seen:
        event = gateway.until(lambda: broken(experiment), within_s=40)
        control_has_it_all(experiment, seen)
    assert seen.failures == []
    assert "p99_ratio: more than 1 % of" in str(event["reason"])
    assert "2 times control's p99" in str(event["reason"])


def test_a_variant_that_answers_nan_is_caught(gateway: RunningGateway) -> None:
    experiment = Experiment(gateway, "divide", "nan").begin(variants=halved("divide"))
    body = v2("x", np.array([[0, 1]], np.float32))

    def ask(caller: Caller, n: int) -> Told:
        return caller.post("/v2/models/divide/infer", body, {"torii-unit": f"unit-{n}"})

    with traffic(gateway, ask, pause_s=0.002) as seen:
        event = gateway.until(lambda: broken(experiment))
        control_has_it_all(experiment, seen)
    assert "nan_rate: " in str(event["reason"])
    assert experiment.variants()["b"]["not_finite"] > 0


def test_weights_set_anew_give_a_variant_its_traffic_back(gateway: RunningGateway) -> None:
    experiment = Experiment(gateway, "lookup", "fails")
    assert experiment.weights() == {"a": 100, "b": 0}
    experiment.right("PATCH", body={"weights": {"a": 50, "b": 50}})
    assert experiment.weights() == {"a": 50, "b": 50}
    with Caller(gateway.url) as caller:
        told = [caller.infer("lookup", v2("n", np.array([5], np.int64)), f"unit-{n}") for n in range(60)]
    assert {each.variant for each in told} == {"a", "b"}
    assert {each.status for each in told} == {200}
