"""A run that nobody waits for any more, and that never ends, ends its worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import BackendDied
from adapters.worker import adapter
from adapters.worker.instance import Instance
from adapters.worker.watchdog import Watchdog
from tests.adapters.worker.sessions import MeetingSession
from tests.adapters.worker.workers import Gated, Workers
from tests.waiting import gone, until


class Watched:
    """Two instances, and what became of their process."""

    def __init__(self, limit_s: float) -> None:
        self.deaths: list[int] = []
        self.instances = [Instance(MeetingSession()) for _ in range(2)]
        self.watchdog = Watchdog(self.instances, limit_s, self.deaths.append)

    def look(self, times: int) -> None:
        for _ in range(times):
            self.watchdog.look()


def test_a_run_that_lasts_ends_the_process() -> None:
    watched = Watched(limit_s=3)
    watched.instances[1].began_ns = 5
    watched.look(3)
    assert watched.deaths == [], "seen for two seconds"
    watched.look(1)
    assert watched.deaths == [1]


def test_runs_that_follow_each_other_are_not_one_run() -> None:
    watched = Watched(limit_s=2)
    for began_ns in range(1, 20):
        watched.instances[0].began_ns = began_ns
        watched.look(2)
    assert watched.deaths == []


def test_a_model_that_has_nothing_to_do_may_have_nothing_to_do_for_ever() -> None:
    watched = Watched(limit_s=2)
    watched.look(50)
    assert watched.deaths == []


async def test_a_worker_whose_run_does_not_end_dies_and_says_why(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "_SHORTEST_RUN_LIMIT_S", 0.0)
    gated = await Gated.load(workers, tmp_path / "gate", max_rows=1, timeout_ms=400)
    request = await gated.begin(await gated.client(), 1.0)
    await gated.running()
    with pytest.raises(BackendDied):
        await request
    await until(lambda: workers.deaths)
    assert gone(gated.pid)
    ((endpoint, reason),) = workers.deaths
    assert endpoint == gated.endpoint
    assert "a run of the model (instance 1 of 1) has not ended in 1 s" in reason
