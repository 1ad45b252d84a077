"""Weights that move by themselves: ramps, and bandits that give the better variant its traffic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.e2e.experiments.callers import Caller, Told, traffic, v2
from tests.e2e.experiments.control import Experiment, report
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish

BODY = v2("x", np.array([[1, 2]], np.float32))
FLOOR = 10
UNITS = 1000
SUCCESS = {"a": 0.2, "b": 0.8}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    repository = tmp_path_factory.mktemp("steering") / "repository"
    for model in ("ramped", "fixed", "thompson", "exp3"):
        for version in (1, 2):
            publish(repository, model, version, {"model.onnx": add_model(version)})
    with RunningGateway.running(repository, POLL_S="0.1", SETTLE_S="0") as running:
        running.wait_ready(within_s=60)
        yield running


def halves(model: str) -> dict[str, object]:
    return {name: {"target": f"{model}/{version}", "weight": 50} for version, name in enumerate("ab", start=1)}


def test_a_ramp_goes_up_step_by_step_and_who_has_the_new_variant_keeps_it(gateway: RunningGateway) -> None:
    ramp = {"steps": [1, 5, 25, 50], "hold_s": 0.2, "requests": 5}
    experiment = Experiment(gateway, "ramped", "ramp").begin(variants=halves("ramped"), ramp=ramp)
    assert experiment.weights() == {"a": 99, "b": 1}

    had_b: set[int] = set()

    def ask(caller: Caller, number: int) -> Told:
        told = caller.infer("ramped", BODY, f"unit-{number % UNITS}")
        if told.variant == "b":
            had_b.add(number % UNITS)
        return told

    with traffic(gateway, ask, threads=2) as seen:
        gateway.until(lambda: experiment.weights() == {"a": 50, "b": 50}, within_s=30)
        last = seen.told[-1].at_s
        gateway.until(lambda: sum(seen.variants(last).values()) > UNITS)
    assert seen.failures == []
    assert seen.variants(last)["b"] / sum(seen.variants(last).values()) == pytest.approx(0.5, abs=0.1)
    steps = [each for each in reversed(experiment.events()) if each["action"] == "ramp"]
    assert [each["after"]["current"]["weights"]["b"] for each in steps] == [5, 25, 50]
    assert [each["reason"] for each in steps] == ["step 2", "step 3", "step 4"]
    with Caller(gateway.url) as caller:
        now = {number: ask(caller, number).variant for number in range(UNITS)}
    assert {now[number] for number in had_b} == {"b"}


@pytest.mark.parametrize("kind", ["thompson", "exp3"])
@pytest.mark.parametrize("sticky", [True, False], ids=["sticky", "not-sticky"])
def test_a_bandit_gives_the_better_variant_its_traffic_and_the_other_its_floor(
    gateway: RunningGateway, kind: str, sticky: bool
) -> None:
    experiment = Experiment(gateway, kind, "sticky" if sticky else "free")
    experiment.begin(
        variants=halves(kind),
        metrics={"good": {"kind": "binary", "better": "higher", "margin": 0.05}},
        policy={"kind": kind, "metric": "good", "floor": FLOOR, "interval_s": 1, "sticky": sticky},
    )
    dice = np.random.default_rng(3)
    told: list[Told] = []
    with Caller(gateway.url) as caller:

        def come() -> bool:
            new = [caller.infer(kind, BODY, f"unit-{number % 300}") for number in range(len(told), len(told) + 100)]
            told.extend(new)
            values = [int(dice.random() < SUCCESS[each.variant]) for each in new]
            report(
                gateway,
                [
                    {"metric": "good", "value": value, "request": each.request}
                    for value, each in zip(values, new, strict=True)
                ],
            )
            return experiment.weights()["b"] > 80

        gateway.until(come, within_s=40)
        weights = experiment.weights()
        assert min(weights.values()) >= FLOOR
        assert sum(weights.values()) == pytest.approx(100)
        last = [caller.infer(kind, BODY, f"unit-{number % 300}").variant for number in range(600)]
    assert last.count("b") / 600 == pytest.approx(weights["b"] / 100, abs=0.1)
    twice = list(zip(last[:300], last[300:], strict=True))
    changed = sum(one != other for one, other in twice)
    assert (changed == 0) == sticky or experiment.weights() != weights
    assert {each.status for each in told} == {200}
    assert not experiment.view()["analysis"]["sample_ratio"]["alarm"]
    experiment.right("POST", "/stop")
