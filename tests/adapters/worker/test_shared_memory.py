"""Big tensors between a real worker and its gateway: right, and their places free again, whatever becomes of a call."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Collection
from pathlib import Path
from time import monotonic_ns

import numpy as np
import pytest

from adapters.base import Urgency
from adapters.errors import BackendDied, InferenceFailed
from adapters.tensors import Tensor
from adapters.worker.arena import SharedMemory
from adapters.worker.client import WorkerClient
from tests.adapters.worker.sessions import BAD
from tests.adapters.worker.workers import Gated, Workers
from tests.waiting import turns, until

BIG = 100_000
"""Rows that make a tensor of 400 kB."""


def big(value: float) -> dict[str, Tensor]:
    return {"x": np.full(BIG, value, np.float32)}


def places(client: WorkerClient) -> Collection[int]:
    """The requests whose tensors lie in shared memory now."""
    memory = client._memory
    if memory is None:
        pytest.skip("this system has no memory to share")
    return memory.placed.owners


@pytest.fixture
async def gated(workers: Workers, tmp_path: Path) -> Gated:
    """A worker that runs one call at a time, each when it is let through."""
    return await Gated.load(workers, tmp_path / "gate", max_rows=1)


async def test_big_tensors_come_back_as_they_were_and_leave_their_places(gated: Gated) -> None:
    client = await gated.client()
    gated.open()

    async def ask(number: int) -> None:
        x = np.random.default_rng(number).random(BIG + number, np.float32)
        answer = await client.infer({"x": x})
        np.testing.assert_array_equal(answer["x"], x)
        assert answer["rows"][0] == len(x)

    for _ in range(3):
        await asyncio.gather(*(ask(number) for number in range(20)))
    assert not places(client)


async def test_an_answer_that_was_received_stays_as_it_is(gated: Gated) -> None:
    client = await gated.client()
    gated.open()
    first = (await client.infer(big(1)))["x"]
    for value in range(2, 12):
        await client.infer(big(value))
    assert (first == 1).all()


async def test_a_call_that_is_cancelled_in_the_queue_leaves_its_place(gated: Gated) -> None:
    client = await gated.client()
    running = asyncio.create_task(client.infer(big(1)))
    let_through = await gated.running()
    waiting = asyncio.create_task(client.infer(big(2)))
    await turns()
    assert len(places(client)) == 2
    waiting.cancel()
    let_through()
    assert (await running)["x"][0] == 1
    await until(lambda: not places(client))


async def test_a_call_that_is_cancelled_while_it_runs_keeps_its_place_until_it_has_run(gated: Gated) -> None:
    client = await gated.client()
    running = asyncio.create_task(client.infer(big(1)))
    let_through = await gated.running()
    running.cancel()
    await turns()
    assert len(places(client)) == 1, "the model reads it"
    let_through()
    await until(lambda: not places(client))


async def test_a_call_that_is_late_leaves_its_place_unrun(gated: Gated) -> None:
    client = await gated.client()
    running = asyncio.create_task(client.infer(big(1)))
    let_through = await gated.running()
    late = asyncio.create_task(client.infer(big(2), Urgency(monotonic_ns())))
    await turns()
    let_through()
    await running
    await until(lambda: not places(client))
    assert not late.done(), "its caller's own deadline tells it so"
    late.cancel()


async def test_a_call_that_fails_leaves_its_place(gated: Gated) -> None:
    client = await gated.client()
    gated.open()
    with pytest.raises(InferenceFailed, match="a bad row"):
        await client.infer(big(BAD))
    assert not places(client)
    assert (await client.infer(big(3)))["x"][0] == 3


async def test_a_worker_that_dies_with_a_place_in_use_is_told_like_any_other(gated: Gated) -> None:
    client = await gated.client()
    running = asyncio.create_task(client.infer(big(1)))
    await gated.running()
    os.kill(gated.pid, signal.SIGKILL)
    with pytest.raises(BackendDied):
        await running


async def test_without_shared_memory_all_goes_by_the_socket(gated: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SharedMemory, "offer", lambda connection: None)
    client = await gated.client()
    gated.open()
    answer = await client.infer(big(4))
    np.testing.assert_array_equal(answer["x"], big(4)["x"])
