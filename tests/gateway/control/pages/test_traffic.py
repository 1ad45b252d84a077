"""Requests per second and latencies, from two looks at what was counted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from adapters.histograms import Histogram
from gateway.control.pages.traffic import TrafficWatch
from gateway.statistics import Duration, InferenceStatistics, StageStatistics, StatisticsSnapshot
from gateway.types import Deployment

M = Deployment("m", 1, "onnxruntime")
MS = 1_000_000


class Counted:
    """A Front whose deployment has answered what a test says, and a clock."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.asked = 0
        self.fail = 0
        self.latencies = Histogram()

    def answer(self, count: int, ms: int) -> None:
        for _ in range(count):
            self.latencies.add(ms * MS)

    async def statistics(self) -> Mapping[Deployment, StatisticsSnapshot]:
        self.asked += 1
        distribution = self.latencies.distribution(0)
        stats = InferenceStatistics(Duration(distribution.count, 0), Duration(self.fail, 0))
        return {M: StatisticsSnapshot(inference_stats=stats, stages=StageStatistics(request=distribution))}


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def watch(counted: Counted) -> TrafficWatch:
    front: Any = counted
    return TrafficWatch(front, lambda: counted.now_s)


async def test_the_first_look_knows_no_rate_and_latencies_of_all_time(counted: Counted, watch: TrafficWatch) -> None:
    counted.answer(10, 8)
    traffic = await watch.look()
    pace = traffic.paces[M]
    assert traffic.window_s is None
    assert pace.per_s is None
    assert not pace.recent
    assert pace.p50_ns == pytest.approx(8 * MS, rel=0.07)


async def test_the_second_look_has_the_difference(counted: Counted, watch: TrafficWatch) -> None:
    counted.answer(1000, 8)
    await watch.look()
    counted.now_s += 2
    counted.answer(50, 32)
    counted.fail += 10
    pace = (await watch.look()).paces[M]
    assert pace.per_s == 30.0
    assert pace.recent
    assert pace.p50_ns == pytest.approx(32 * MS, rel=0.07)


async def test_where_nobody_asked_lately_latencies_are_of_all_time(counted: Counted, watch: TrafficWatch) -> None:
    counted.answer(10, 8)
    await watch.look()
    counted.now_s += 2
    pace = (await watch.look()).paces[M]
    assert pace.per_s == 0
    assert not pace.recent
    assert pace.p99_ns == pytest.approx(8 * MS, rel=0.07)


async def test_all_who_look_share_what_was_asked_within_a_second(counted: Counted, watch: TrafficWatch) -> None:
    await asyncio.gather(*(watch.look() for _ in range(20)))
    counted.now_s += 0.9
    await watch.look()
    assert counted.asked == 1
    counted.now_s += 0.2
    await asyncio.gather(*(watch.look() for _ in range(20)))
    assert counted.asked == 2


async def test_the_window_is_the_last_ten_seconds(counted: Counted, watch: TrafficWatch) -> None:
    for _ in range(30):
        await watch.look()
        counted.now_s += 2
        counted.answer(2, 8)
    assert (await watch.look()).window_s == pytest.approx(10, abs=2.1)
    counted.now_s += 3600
    await watch.look()
    counted.now_s += 12
    counted.answer(12, 8)
    traffic = await watch.look()
    assert traffic.window_s == 12
    assert traffic.paces[M].per_s == 1


async def test_counts_that_begin_anew_are_no_negative_rate(counted: Counted, watch: TrafficWatch) -> None:
    counted.answer(100, 8)
    await watch.look()
    counted.now_s += 2
    counted.latencies = Histogram()
    counted.answer(4, 8)
    assert (await watch.look()).paces[M].per_s == 2


async def test_a_deployment_without_requests_has_no_latencies(counted: Counted, watch: TrafficWatch) -> None:
    pace = (await watch.look()).paces[M]
    assert (pace.p50_ns, pace.p99_ns) == (None, None)
