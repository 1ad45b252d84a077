"""The store deleted, overwritten, locked, unwritable or full while requests come: they go on, and evidence is kept."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from gateway.experiments.store.records import Run
from gateway.experiments.store.store import Store
from tests.e2e.experiments.callers import Caller, Told, traffic, v2
from tests.e2e.experiments.control import Experiment, report
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish

BODY = v2("x", np.array([[1, 2]], np.float32))
DOCUMENT = {
    "variants": {"a": {"target": "add/1", "weight": 50}, "b": {"target": "add/2", "weight": 50}},
    "metrics": {"good": {"kind": "mean", "better": "higher", "margin": 0.05}},
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("trouble")
    for version in (1, 2):
        publish(folder / "repository", "add", version, {"model.onnx": add_model(version)})
    settings = {"STORE": f"sqlite:///{folder}/store/store.db", "STORE_NAME": "one", "LOG_LEVEL": "warning"}
    with RunningGateway.running(folder / "repository", POLL_S="0.1", SETTLE_S="0", **settings) as running:
        running.wait_ready(within_s=60)
        Experiment(running, "add", "troubled").begin(**DOCUMENT)
        yield running


@pytest.fixture
def store(gateway: RunningGateway) -> Path:
    return gateway.repository.parent / "store" / "store.db"


def ask(caller: Caller, number: int) -> Told:
    return caller.infer("add", BODY, f"unit-{number % 1000}")


def stored(store: Path) -> int:
    """How many requests are in the store."""
    reading = Store(f"sqlite:///{store}", "reader")
    try:
        kept = reading.load(Run("add", "troubled", 1))
    finally:
        reading.close()
    return sum(kept.others.counters.get(f"requests:{each}", 0) for each in "ab") if kept else 0


@contextmanager
def garbage(store: Path, gateway: RunningGateway) -> Iterator[None]:
    """What somebody has put in its place, until it is put away."""
    other = store.with_name("other")
    other.write_bytes(os.urandom(200_000))
    other.replace(store)
    yield
    shutil.rmtree(store.parent)


@contextmanager
def locked(store: Path, gateway: RunningGateway) -> Iterator[None]:
    with sqlite3.connect(store, isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    connection.close()


@contextmanager
def full(store: Path, gateway: RunningGateway) -> Iterator[None]:
    """No file may grow: so it is, to a database, where the disk is full."""
    soft, hard = resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (1 << 15, hard))
    yield
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def no_folder(store: Path, gateway: RunningGateway) -> Iterator[None]:
    """A file is where the store's folder was, as a wrong mount may be."""
    shutil.rmtree(store.parent)
    store.parent.write_text("in the way")
    yield
    store.parent.unlink()


TROUBLES: dict[str, tuple[Callable[[Path, RunningGateway], AbstractContextManager[None]], str]] = {
    "replaced": (garbage, "no SQLite database"),
    "locked": (locked, "another process has had it locked"),
    "full": (full, "disk"),
    "no folder": (no_folder, "store"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are set as Linux has it")
@pytest.mark.parametrize("trouble", TROUBLES)
def test_requests_go_on_while_the_store_fails_and_all_is_saved_once_it_is_mended(
    gateway: RunningGateway, store: Path, trouble: str
) -> None:
    make, said = TROUBLES[trouble]
    experiment = Experiment(gateway, "add", "troubled")
    gateway.until(lambda: store.exists() and not experiment.view()["problems"], within_s=20)
    with make(store, gateway):
        with traffic(gateway, ask, pause_s=0.004) as seen:
            problems = gateway.until(
                lambda: [each for each in experiment.view()["problems"] if said in each], within_s=20
            )
            assert "requests go on, and evidence is kept in memory meanwhile" in problems[0]
            page = gateway.client.get(f"{gateway.control}/models/add/experiments/troubled")
            assert (page.status_code, "evidence is kept in memory meanwhile" in page.text) == (200, True)
            counted = experiment.requests()
            gateway.until(lambda: experiment.requests() > counted + 50)
            changed = experiment.ask("PATCH", body={"description": f"while it was {trouble}"})
            assert changed.status_code == 200, changed.text
            outcomes = [{"metric": "good", "value": 1, "request": each.request} for each in seen.told[-3:]]
            receipt = report(gateway, outcomes)
            assert receipt["accepted"] + len(receipt["refused"]) == len(outcomes)
            assert all("store" in each["error"] for each in receipt["refused"])
        assert (seen.failures, seen.lost) == ([], 0)
        counted = gateway.until(lambda: (now := experiment.requests()) >= len(seen.told) and now)
    gateway.until(lambda: not experiment.view()["problems"], within_s=20)  # no request comes any more
    gateway.until(lambda: stored(store) >= counted)
    again = report(gateway, outcomes)
    assert (again["refused"], again["accepted"]) == ([], len(receipt["refused"]))
    whats = [each["after"].get("description") for each in experiment.events()]
    assert f"while it was {trouble}" in whats


def test_a_store_that_is_deleted_is_made_anew_with_all_that_was_seen(gateway: RunningGateway, store: Path) -> None:
    experiment = Experiment(gateway, "add", "troubled")
    with traffic(gateway, ask, pause_s=0.004) as seen:
        gateway.until(lambda: len(seen.told) > 100)
        for file in store.parent.iterdir():
            file.unlink()
        gateway.until(lambda: store.exists() and stored(store) > 0, within_s=20)
    assert (seen.failures, seen.lost) == ([], 0)
    assert "was deleted or replaced while in use" in gateway.log.read_text()
    counted = experiment.requests()
    gateway.until(lambda: stored(store) >= counted)
    assert experiment.view()["problems"] == []
