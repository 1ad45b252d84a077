"""What a real worker runs first, what it waits for, and what it never runs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from time import monotonic_ns

import numpy as np

from adapters.base import Batching, Urgency
from adapters.worker.adapter import ONNX_RUNTIME
from tests.adapters.onnx_models import save_doubling
from tests.adapters.worker.workers import Gated, Workers, artifact
from tests.waiting import turns, until


async def test_the_most_pressing_of_those_that_wait_is_run_first(workers: Workers, tmp_path: Path) -> None:
    gated = await Gated.load(workers, tmp_path / "gate", max_rows=1)
    client = await gated.client()
    first = await gated.begin(client, 0.0)
    go_on = await gated.running()
    order: list[int] = []
    for priority in (9, 5, 1, 5):
        task = await gated.begin(client, float(priority), urgency=Urgency(0, priority))
        task.add_done_callback(lambda done: order.append(int(done.result()["x"][0])))
    gated.open()
    go_on()
    await first
    await until(lambda: len(order) == 4)
    assert order == [1, 5, 5, 9]


async def test_what_is_late_when_its_turn_comes_is_never_run(gated: Gated) -> None:
    client = await gated.client()
    first = await gated.begin(client, 0.0)
    go_on = await gated.running()
    soon_ns = monotonic_ns() + 1_000_000
    late = await gated.begin(client, 1.0, urgency=Urgency(soon_ns))
    in_time = await gated.begin(client, 2.0, urgency=Urgency(soon_ns + 10**12))
    await until(lambda: monotonic_ns() > soon_ns)
    gated.open()
    go_on()
    await first
    assert (await in_time)["rows"].tolist() == [1]
    assert not late.done(), "its own deadline tells it, in the gateway"
    late.cancel()
    assert sum(costs.count for costs in client.executions.batches.values()) == 2


async def test_a_batch_waits_until_it_is_full(workers: Workers, tmp_path: Path) -> None:
    gated = await Gated.load(workers, tmp_path / "gate", max_rows=3, max_delay_ms=3_600_000)
    gated.open()
    client = await gated.client()
    tasks = [await gated.begin(client, value) for value in (1.0, 2.0)]
    await turns(100)
    tasks.append(await gated.begin(client, 3.0))
    answers = await asyncio.gather(*tasks)
    assert [answer["x"].tolist() for answer in answers] == [[1.0], [2.0], [3.0]]
    assert [answer["rows"].tolist() for answer in answers] == [[3]] * 3


async def test_a_call_that_finds_no_company_is_run_when_its_wait_is_over(workers: Workers, tmp_path: Path) -> None:
    gated = await Gated.load(workers, tmp_path / "gate", max_rows=3, max_delay_ms=20)
    gated.open()
    client = await gated.client()
    began_ns = monotonic_ns()
    assert (await client.infer({"x": np.ones(1, np.float32)}))["rows"].tolist() == [1]
    assert monotonic_ns() - began_ns >= 20_000_000


async def test_batches_are_filled_up_to_the_sizes_that_the_model_prefers(workers: Workers, tmp_path: Path) -> None:
    gated = await Gated.load(workers, tmp_path / "gate", max_rows=8, allowed_rows=(2, 8))
    client = await gated.client()
    first = await gated.begin(client, 0.0)
    go_on = await gated.running()
    waiting = [await gated.begin(client, value) for value in (1.0, 2.0, 3.0)]
    gated.open()
    go_on()
    answers = [await task for task in (first, *waiting)]
    assert [answer["x"].tolist() for answer in answers] == [[0.0], [1.0], [2.0], [3.0]]
    assert [answer["rows"].tolist() for answer in answers] == [[2], [8], [8], [8]]
    assert {rows: costs.count for rows, costs in client.executions.batches.items()} == {1: 1, 3: 1}
    huge = await client.infer({"x": np.arange(9, dtype=np.float32)})
    assert huge["rows"].tolist() == [9] * 9


async def test_under_a_latency_target_batches_grow_as_long_as_they_are_quick(workers: Workers, tmp_path: Path) -> None:
    gated = await Gated.load(workers, tmp_path / "gate", max_rows=1024, latency_target_ms=60_000)
    client = await gated.client()
    first = await gated.begin(client, 0.0)
    go_on = await gated.running()
    waiting = [await gated.begin(client, float(number)) for number in range(44)]
    gated.open()
    go_on()
    await first
    answers = await asyncio.gather(*waiting)
    assert [answer["x"].tolist() for answer in answers] == [[float(number)] for number in range(44)]
    sizes = [int(answer["rows"][0]) for answer in answers]
    assert sizes == sorted(sizes), "one more row each time"
    assert max(sizes) == 9


async def test_a_latency_target_alone_allows_large_batches(workers: Workers, tmp_path: Path) -> None:
    model = replace(artifact(save_doubling(tmp_path / "model.onnx")), batching=Batching(latency_target_ms=50))
    endpoint = await workers.adapter(ONNX_RUNTIME).load(model)
    assert endpoint.remote["max_rows"] == "1024"
