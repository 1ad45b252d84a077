"""The open loop by itself: what is due is issued at its moment, however much that is, and memory has bounds."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from typing import Any

import pytest

from loadtests.engine import dispatcher
from loadtests.engine.alarm import LoopTimer, TimerFile
from loadtests.engine.arrivals import Arrivals, gaps
from loadtests.engine.connection import Answer
from loadtests.engine.dispatcher import Dispatcher
from loadtests.engine.loops import OpenLoop
from loadtests.engine.tally import Tally
from tests.waiting import until

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="timers that are files are Linux's")


class Silent:
    """A connection whose requests are only counted."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.busy = False
        self.due_s = self.sent_s = 0.0

    def send(self, request: int) -> None:
        self.sent.append(request)


def made(connections: int = 1, timeout_s: float = 5.0) -> tuple[Dispatcher, Tally, list[Silent]]:
    opened: list[Silent] = []

    async def connect(listener: Any) -> None:
        opened.append(Silent())
        listener.connected(opened[-1])

    tally = Tally(time.perf_counter(), open_loop=True)
    return Dispatcher(iter(range(10**9)), connect, tally, connections, timeout_s), tally, opened


@pytest.mark.parametrize("kind", [LoopTimer, pytest.param(TimerFile, marks=LINUX)])
async def test_an_alarm_rings_when_it_is_due_at_once_where_that_is_past_and_never_when_it_is_put_off(kind: Any) -> None:
    rung: list[float] = []
    alarm = kind(lambda: (rung.append(time.perf_counter()), alarm.set(math.inf)))
    at_s = time.perf_counter() + 0.02
    alarm.set(at_s)
    await until(lambda: rung)
    alarm.set(time.perf_counter() - 1)
    await until(lambda: len(rung) > 1)
    alarm.set(time.perf_counter() + 0.02)
    alarm.set(math.inf)
    await asyncio.sleep(0.05)
    alarm.close()

    assert len(rung) == 2
    assert rung[0] >= at_s - 0.001  # asyncio's own timers may be a millisecond early


async def test_latency_counts_from_the_moment_a_request_was_due_though_no_connection_was_free() -> None:
    requests, tally, opened = made()
    now_s = time.perf_counter()
    for due_s in (now_s - 0.3, now_s - 0.2):
        requests.issue(due_s)
    await until(lambda: opened)
    for _ in range(2):
        requests.answered(opened[0], Answer(200, {}), b"")  # type: ignore[arg-type]

    latency, service = tally.answers[""].latency_s, tally.answers[""].service_s
    assert latency[0] >= 0.3
    assert latency[1] >= 0.2
    assert max(service) < latency[1]


async def test_how_late_the_generator_itself_was_is_told_whether_a_connection_was_free_or_not() -> None:
    requests, tally, opened = made()
    requests.issue(time.perf_counter() - 0.5)
    assert tally.late_s >= 0.5
    tally.end_slice(0, 0, 0)
    await until(lambda: opened)
    requests.answered(opened[0], Answer(200, {}), b"")  # type: ignore[arg-type]
    requests.issue(time.perf_counter() - 0.7)

    assert tally.late_s >= 0.7


async def test_an_absurd_rate_takes_no_more_memory_and_leaves_time_for_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "_MOST_WAITING", 1000)
    requests, tally, opened = made()
    loop = OpenLoop(requests, Arrivals(gaps("poisson", 1)))
    loop.level(1e12)
    await until(lambda: tally.failures[dispatcher.TOO_MANY] > 100)
    assert requests.waiting == 1000
    before = len(opened[0].sent)
    requests.answered(opened[0], Answer(200, {}), b"")  # type: ignore[arg-type]
    assert len(opened[0].sent) == before + 1
    loop.end()


async def test_what_has_waited_too_long_fails_and_makes_nothing_else_due() -> None:
    requests, tally, _ = made(timeout_s=0.5)
    loop = OpenLoop(requests, Arrivals(gaps("uniform", 1)))
    loop.level(1e9)
    for _ in range(600):
        requests.issue(time.perf_counter() - 1)
    requests.expire()
    loop.end()

    assert tally.failures == {dispatcher.TIMEOUT: 600}
    assert requests.waiting == 0


@pytest.mark.parametrize("error", [OverflowError("port must be 0-65535"), UnicodeError("label too long")])
async def test_an_address_that_is_none_is_a_failure_of_the_request(error: Exception) -> None:
    async def connect(_: Any) -> None:
        raise error

    tally = Tally(time.perf_counter(), open_loop=True)
    requests = Dispatcher(iter(range(10)), connect, tally, 1, 5.0)
    requests.issue(time.perf_counter())
    await until(lambda: tally.failures)

    assert tally.failures == {dispatcher.CONNECTION: 1}
    assert str(error) in tally.first_failure
