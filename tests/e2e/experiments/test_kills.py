"""kill -9 in the middle of traffic: units keep their variants, and what is missing came just before."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.e2e.experiments.callers import Caller, Told, Traffic, traffic, v2
from tests.e2e.experiments.control import Experiment, report
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish

BODY = v2("x", np.array([[1, 2]], np.float32))
UNITS = 400
VARIANTS = {"a": {"target": "add/1", "weight": 70}, "b": {"target": "add/2", "weight": 30}}
METRICS = {"good": {"kind": "mean", "better": "higher", "margin": 0.05}}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for version in (1, 2):
        publish(tmp_path / "repository", "add", version, {"model.onnx": add_model(version)})
    return tmp_path / "repository"


@contextmanager
def running(repository: Path, **settings: str) -> Iterator[RunningGateway]:
    store = {"STORE": f"sqlite:///{repository.parent}/store.db", "STORE_NAME": "one"}
    with RunningGateway.running(repository, POLL_S="0.1", SETTLE_S="0", **store, **settings) as gateway:
        gateway.wait_ready(within_s=60)
        yield gateway


def ask(caller: Caller, number: int) -> Told:
    return caller.infer("add", BODY, f"unit-{number % UNITS}")


def variants_of(gateway: RunningGateway) -> list[str]:
    with Caller(gateway.url) as caller:
        return [ask(caller, number).variant for number in range(UNITS)]


class Reported:
    """Outcomes that were taken, and when."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, dict[str, Any]]] = []

    def report(self, gateway: RunningGateway, seen: Traffic, since: int) -> int:
        now = len(seen.told)
        outcomes = [
            {"metric": "good", "value": 1.0, "request": each.request} for each in seen.told[since:now] if each.request
        ]
        receipt = report(gateway, outcomes)
        assert (receipt["refused"], receipt["accepted"]) == ([], len(outcomes))
        self.taken += [(time.monotonic(), each) for each in outcomes]
        return now


def counted(experiment: Experiment) -> tuple[int, int]:
    """Requests, and outcomes."""
    view = experiment.view()
    return sum(each["requests"] for each in view["variants"]), view["counters"].get("outcomes", 0)


def test_a_gateway_that_is_killed_loses_one_second_of_evidence_and_no_units_variant(repository: Path) -> None:
    reported = Reported()
    with running(repository) as gateway:
        Experiment(gateway, "add", "killed").begin(variants=VARIANTS, metrics=METRICS)
        before = variants_of(gateway)
        with traffic(gateway, ask, threads=2, pause_s=0.002) as seen:
            since, end_s = 0, time.monotonic() + 3.5
            while time.monotonic() < end_s:
                since = reported.report(gateway, seen, since)
                time.sleep(0.05)
            killed_s = time.monotonic()
            gateway.process.kill()
            gateway.process.wait()
    assert seen.failures == []
    with running(repository) as gateway:
        experiment = Experiment(gateway, "add", "killed")
        requests, outcomes = gateway.until(lambda: (found := counted(experiment))[0] and found)
        sent = UNITS + len(seen.told)
        sure = UNITS + sum(each.at_s < killed_s - 1 for each in seen.told)
        kept = [outcome for at_s, outcome in reported.taken if at_s < killed_s - 1]
        assert sure <= requests <= sent
        assert 0 < len(kept) <= outcomes <= len(reported.taken)
        assert variants_of(gateway) == before
        gateway.until(lambda: counted(experiment)[0] == requests + UNITS)
        with Caller(gateway.url) as caller:
            ids = [(caller.infer("add", BODY, "unit-1")).request, kept[-1]["request"]]
        receipt = report(gateway, [{"metric": "good", "value": 1.0, "request": each} for each in ids])
        assert receipt == {"accepted": 1, "duplicates": 1, "sampled_out": 0, "refused": []}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shares out connections among processes")
def test_a_frontend_that_is_killed_takes_a_quarter_of_a_second_of_its_evidence_along(repository: Path) -> None:
    with running(repository, FRONTENDS="2") as gateway:
        experiment = Experiment(gateway, "add", "killed").begin(variants=VARIANTS, metrics=METRICS)
        gateway.until(lambda: all(each["state"] == "serving" for each in frontends(gateway)), within_s=30)
        before = variants_of(gateway)
        with traffic(gateway, ask, threads=16, pause_s=0.02) as seen:  # connections; the kernel shares them out
            gateway.until(lambda: all(each["requests"] > 300 for each in frontends(gateway)), within_s=30)
            victim = frontends(gateway)[0]
            os.kill(victim["pid"], signal.SIGKILL)
            killed_s = time.monotonic()
            gateway.until(lambda: frontends(gateway)[0]["deaths"] == 1)
            gateway.until(lambda: all(each["state"] == "serving" for each in frontends(gateway)), within_s=30)
            again = len(seen.told)
            gateway.until(lambda: len(seen.told) > again + 200)
        assert seen.failures == []
        assert seen.lost
        answered = UNITS + len(seen.told)
        late = sum(killed_s - 0.5 < each.at_s < killed_s + 0.5 for each in seen.told)
        experiment.gateway.until(lambda: counted(experiment)[0] >= answered - late)
        requests = counted(experiment)[0]
        assert answered - late <= requests <= answered + seen.lost
        assert variants_of(gateway) == before


def frontends(gateway: RunningGateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.status()["frontends"]
    return found


def test_a_stop_keeps_everything(repository: Path) -> None:
    with running(repository) as gateway:
        Experiment(gateway, "add", "kept").begin(variants=VARIANTS, metrics=METRICS)
        with Caller(gateway.url) as caller:
            told = [ask(caller, number) for number in range(300)]
        report(gateway, [{"metric": "good", "value": 1.0, "request": each.request} for each in told])
        assert gateway.stop() == 0
    with running(repository) as gateway:
        experiment = Experiment(gateway, "add", "kept")
        gateway.until(lambda: counted(experiment) == (300, 300))  # it serves before the store has answered
        stopped = gateway.client.post(f"{experiment.url}/stop", json={"reason": "enough"})
        assert stopped.status_code == 200, stopped.text
        assert counted(experiment) == (300, 300)
        assert httpx.get(f"{experiment.url}/looks", timeout=30).status_code == 200
