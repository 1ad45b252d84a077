"""One deployment's statistics: under the protocol's names, and failures count as failures only."""

from __future__ import annotations

import asyncio
import gc
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pytest

from adapters.connect import connect
from adapters.errors import BackendDied, DeadlineExceeded, InferenceFailed
from adapters.executions import Execution, Executions
from gateway.errors import Overloaded
from gateway.protocols.model_statistics import describe_statistics
from gateway.registry import Registry
from gateway.statistics import (
    Duration,
    InferenceStatistics,
    Load,
    StageStatistics,
    Statistics,
    StatisticsSnapshot,
    merged,
)
from gateway.types import Deployment, ModelTable, Serving, Standing, State, Target
from tests.adapters.worker.workers import GATED, Workers, artifact
from tests.gateway.fakes import HeldServable
from tests.gateway.plane import Plane
from tests.waiting import until

ONE = Deployment("m", 1, "onnxruntime")
READY = ModelTable("m", ("onnxruntime",), {}, {ONE: Standing(State.READY)})


class TellingServable(HeldServable):
    """A Servable whose answers tell what they cost."""

    def __init__(self) -> None:
        super().__init__()
        self.executions = Executions()


def following(servable: HeldServable) -> Statistics:
    statistics = Statistics()
    statistics.follow(servable)
    return statistics


def of_queue_and_compute(snapshot: StatisticsSnapshot) -> list[Duration]:
    stats = snapshot.inference_stats
    return [stats.queue, stats.compute_input, stats.compute_infer, stats.compute_output]


def test_a_batch_of_64_rows_is_64_inferences_and_one_request() -> None:
    statistics = following(HeldServable())
    statistics.succeeded(64, 1000)
    snapshot = statistics.snapshot()
    assert (snapshot.inference_count, snapshot.execution_count) == (64, 1)
    assert snapshot.inference_stats.success == Duration(1, 1000)


def test_what_does_not_tell_its_executions_has_each_request_counted_as_one() -> None:
    statistics = following(HeldServable())
    for rows, ns in ((2, 100), (2, 50), (1, 7)):
        statistics.succeeded(rows, ns)
    snapshot = statistics.snapshot()
    assert snapshot.execution_count == 3
    assert of_queue_and_compute(snapshot) == [Duration(3, 0), Duration(3, 0), Duration(3, 157), Duration(3, 0)]
    assert [(each.batch_size, each.compute_infer) for each in snapshot.batch_stats] == [
        (1, Duration(1, 7)),
        (2, Duration(2, 150)),
    ]


def test_what_tells_its_executions_is_believed() -> None:
    servable = TellingServable()
    statistics = following(servable)
    for number in range(3):
        servable.executions.add(Execution(10, 2, 100, 5, 3, number == 0))
        statistics.succeeded(1, 120)
    snapshot = statistics.snapshot()
    assert (snapshot.inference_count, snapshot.execution_count) == (3, 1)
    assert of_queue_and_compute(snapshot) == [Duration(3, 30), Duration(3, 6), Duration(3, 300), Duration(3, 15)]
    (batch,) = snapshot.batch_stats
    assert (batch.batch_size, batch.compute_input, batch.compute_infer, batch.compute_output) == (
        3, Duration(1, 2), Duration(1, 100), Duration(1, 5),
    )  # fmt: skip


def test_failures_count_in_fail_and_nowhere_else() -> None:
    statistics = following(HeldServable())
    for ns in (30, 12):
        statistics.failed(ns)
    snapshot = statistics.snapshot()
    assert snapshot.inference_stats.fail == Duration(2, 42)
    assert (snapshot.inference_count, snapshot.execution_count, snapshot.last_inference) == (0, 0, 0)
    assert [snapshot.inference_stats.success, *of_queue_and_compute(snapshot)] == [Duration()] * 5
    assert snapshot.batch_stats == ()


def test_the_last_inference_is_told_in_milliseconds_since_1970() -> None:
    statistics = following(HeldServable())
    before = time.time_ns() // 1_000_000
    statistics.succeeded(1, 1)
    assert before <= statistics.snapshot().last_inference <= time.time_ns() // 1_000_000


def test_an_earlier_connection_s_late_answers_count_with_those_of_its_successor() -> None:
    old, new = TellingServable(), TellingServable()
    statistics = following(old)
    old.executions.add(Execution(batch_rows=1, first=True))
    statistics.follow(new)
    for servable in (old, new):
        servable.executions.add(Execution(batch_rows=1, first=True))
    assert statistics.snapshot().execution_count == 3


def test_a_snapshot_stays_as_it_was() -> None:
    statistics = following(HeldServable())
    statistics.succeeded(1, 5)
    snapshot = statistics.snapshot()
    statistics.succeeded(1, 5)
    statistics.failed(5)
    assert (snapshot.execution_count, snapshot.inference_stats.success.count) == (1, 1)
    assert snapshot.batch_stats[0].compute_infer == Duration(1, 5)


def test_the_names_are_those_of_the_statistics_extension() -> None:
    statistics = following(HeldServable())
    statistics.succeeded(2, 5)
    [told] = describe_statistics({ONE: statistics.snapshot()}, None)["model_stats"]
    told = orjson.loads(orjson.dumps(told))
    assert told.pop("last_inference") > 1_600_000_000_000
    once, nothing = {"count": 1, "ns": 5}, {"count": 1, "ns": 0}
    compute = {"compute_input": nothing, "compute_infer": once, "compute_output": nothing}
    never = {"count": 0, "ns": 0}
    assert told == {
        "name": "m",
        "version": "1",
        "inference_count": 2,
        "execution_count": 1,
        "inference_stats": {
            "success": once,
            "fail": never,
            "queue": nothing,
            **compute,
            "cache_hit": never,
            "cache_miss": never,
        },
        "batch_stats": [{"batch_size": 2, **compute}],
    }


def test_a_kept_answer_is_a_hit_and_an_answer_and_no_execution() -> None:
    statistics = following(HeldServable())
    statistics.missed(3)
    statistics.succeeded(2, 100)
    statistics.hit(7)
    statistics.succeeded(2, 8)
    statistics.joined()
    statistics.succeeded(2, 60)
    statistics.succeeded(2, 100)
    snapshot = statistics.snapshot()
    stats = snapshot.inference_stats
    assert (stats.cache_hit, stats.cache_miss, snapshot.joined) == (Duration(1, 7), Duration(1, 3), 1)
    assert (stats.success.count, snapshot.inference_count, snapshot.execution_count) == (4, 8, 2)


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (Overloaded("full", 1), "refused"),
        (DeadlineExceeded("late"), "expired"),
        (TimeoutError(), "expired"),
        (asyncio.CancelledError(), "left"),
        (InferenceFailed("no"), "InferenceFailed"),
        (BackendDied("gone"), "BackendDied"),
        (RuntimeError("what a caller may have chosen"), "internal"),
        (None, "internal"),
    ],
)
def test_what_was_not_answered_is_counted_by_what_became_of_it(error: BaseException | None, end: str) -> None:
    statistics = following(HeldServable())
    statistics.failed(5, error)
    statistics.failed(5, error)
    assert statistics.snapshot().ends == {end: 2}


def test_each_stage_has_its_distribution_queues_by_call_and_the_others_by_batch() -> None:
    servable = TellingServable()
    statistics = following(servable)
    for number in range(3):
        servable.executions.add(Execution(1000 * (number + 1), 20, 100_000, 500, 3, number == 0), answered=number < 2)
    statistics.succeeded(1, 200_000)
    stages = statistics.snapshot().stages
    assert [(each.count, each.total) for each in (stages.queue, stages.input, stages.run, stages.output)] == [
        (2, 3000), (1, 20), (1, 100_000), (1, 500),
    ]  # fmt: skip
    assert stages.request.count == 1
    assert stages.request.quantile(0.5) == pytest.approx(200_000, rel=0.07)


def test_the_load_is_that_of_all_that_is_watched_and_still_there() -> None:
    class Holder:
        load = Load(1, 2, 3)

    statistics = Statistics()
    one, other = Holder(), Holder()
    for each in (one, other, one):
        statistics.watch(each)
    assert statistics.snapshot().load == Load(2, 4, 6)
    del other, each
    gc.collect()
    assert statistics.snapshot().load == Load(1, 2, 3)


def busy(seed: int) -> StatisticsSnapshot:
    """Statistics with something in every field."""
    dice = random.Random(seed)
    servable = TellingServable()
    statistics = following(servable)
    for _ in range(50):
        servable.executions.add(Execution(*(dice.randrange(1, 10**7) for _ in range(4)), dice.randrange(1, 9), True))
        statistics.succeeded(dice.randrange(1, 9), dice.randrange(1, 10**8))
        statistics.failed(dice.randrange(1, 10**8), dice.choice([Overloaded("", 1), InferenceFailed("")]))
        statistics.hit(dice.randrange(1, 1000))
        statistics.missed(dice.randrange(1, 1000))
        statistics.joined()
    return replace(statistics.snapshot(), load=Load(1, 2, 3))


def test_snapshots_cross_process_borders() -> None:
    snapshot = busy(1)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(snapshot), type=StatisticsSnapshot) == snapshot


def test_snapshots_of_several_frontends_add_up_in_every_field() -> None:
    one, other = busy(1), busy(2)
    both = merged([one, other])
    assert merged([]) == StatisticsSnapshot()
    assert merged([one]) == one
    assert merged([other, one]) == both
    for field in ("inference_count", "execution_count", "joined"):
        assert getattr(both, field) == getattr(one, field) + getattr(other, field) > getattr(one, field)
    assert both.last_inference == max(one.last_inference, other.last_inference)
    for name in InferenceStatistics.__dataclass_fields__:
        mine, theirs = getattr(one.inference_stats, name), getattr(other.inference_stats, name)
        assert getattr(both.inference_stats, name) == Duration(mine.count + theirs.count, mine.ns + theirs.ns)
    assert [each.batch_size for each in both.batch_stats] == [*range(1, 9)]
    assert sum(each.compute_infer.ns for each in both.batch_stats) == both.stages.run.total
    for name in StageStatistics.__dataclass_fields__:
        mine, theirs = getattr(one.stages, name), getattr(other.stages, name)
        assert getattr(both.stages, name).count == mine.count + theirs.count > mine.count
    assert both.ends == {end: one.ends[end] + other.ends[end] for end in ("refused", "InferenceFailed")}
    assert both.load == Load(2, 4, 6)


async def test_statistics_survive_a_reload_and_a_death_and_go_with_the_files(tmp_path: Path) -> None:
    def answers() -> int:
        return plane.registry.statistics()[ONE].inference_stats.success.count

    async with Plane(tmp_path).running() as plane:
        plane.publish("m/1", "one")
        await plane.reaches(v1="READY")
        plane.registry.lease(Target("m")).statistics.succeeded(1, 1)
        plane.publish("m/1", "two")
        await until(lambda: list(plane.adapter.live.values()) == ["two"])
        plane.registry.lease(Target("m")).statistics.succeeded(1, 1)
        assert answers() == 2
        plane.kill(f"{ONE}#2")
        await plane.reaches(v1="READY")
        assert answers() == 2
        plane.delete("m/1")
        await plane.reaches(v1=None)
        assert plane.registry.statistics() == {}
        plane.publish("m/1", "one")
        await plane.reaches(v1="READY")
        assert answers() == 0


async def test_the_executions_of_a_worker_that_was_replaced_are_kept_with_those_of_the_new_one() -> None:
    with tempfile.TemporaryDirectory(prefix="torii-") as folder:
        workers, registry = Workers(Path(folder)), Registry(connect, drain_timeout_s=60)
        adapter = workers.adapter(GATED)
        old, new = [await adapter.load(artifact(Path(folder) / "no gate", max_rows=8)) for _ in range(2)]
        try:
            for endpoint in (old, new):
                await registry.publish(ONE, endpoint, Serving())
                registry.show({"m": READY})
                with registry.lease(Target("m")) as lease:
                    assert lease.endpoint == endpoint
                    x = {"x": np.zeros(3, np.float32)}
                    await asyncio.gather(lease.servable.infer(x), lease.servable.infer(x))
            await registry.withdraw(ONE, old)
        finally:
            await registry.close()
            await workers.close()
    snapshot = registry.statistics()[ONE]
    assert snapshot.inference_stats.compute_infer.count == 4
    assert sum(each.batch_size * each.compute_infer.count for each in snapshot.batch_stats) == 12
    assert snapshot.inference_stats.compute_infer.ns > 0
