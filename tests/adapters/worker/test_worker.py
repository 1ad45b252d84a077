"""Real worker processes: many callers at once, each its own rows; and one caller's trouble stays its own."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest

from adapters.connect import connect
from adapters.errors import BackendDied, BackendUnavailable, InferenceFailed
from adapters.worker.adapter import ECHO, ONNX_RUNTIME
from adapters.worker.client import WorkerClient
from tests.adapters.onnx_models import save_doubling
from tests.adapters.worker import sessions
from tests.adapters.worker.workers import Gated, Workers, artifact
from tests.strategies import same
from tests.waiting import gone, turns, until


async def test_an_echo_answers_every_datatype_and_shape_as_it_came(workers: Workers, tmp_path: Path) -> None:
    arrays = {
        "FP32": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
        "BOOL": np.array([[True], [False]]),
        "INT64": np.zeros((2, 0), np.int64),
        "BYTES": np.array([b"\0\xff", b""], np.object_),
        "FP16": np.array([np.nan, np.inf], np.float16),
    }
    plan = {"inputs": [{"name": name, "datatype": name, "shape": None} for name in arrays]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    endpoint = await workers.adapter(ECHO).load(artifact(tmp_path / "plan.json"))
    client = await connect(endpoint)
    answer = await client.infer(arrays)
    await client.aclose()
    assert all(same(answer[name], arrays[name]) for name in arrays)
    assert (endpoint.backend, endpoint.runtime) == ("echo", "echo 1")


async def test_many_callers_at_once_get_each_its_own_rows(workers: Workers, tmp_path: Path) -> None:
    endpoint = await workers.adapter(ONNX_RUNTIME).load(artifact(save_doubling(tmp_path / "model.onnx")))
    assert endpoint.remote["max_rows"] == "32"
    clients = [await workers.connect(endpoint) for _ in range(3)]
    random = np.random.default_rng(1)

    async def caller(number: int) -> bool:
        rows = int(random.integers(0, 40))
        x = (number * 100 + np.arange(rows)).astype(np.float32)[:, None] + np.zeros((1, 4), np.float32)
        answer = await clients[number % 3].infer({"x": x})
        return same(answer["y"], x * 2)

    assert all(await asyncio.gather(*(caller(number) for number in range(300))))


async def test_calls_that_wait_together_run_together_up_to_the_limit_and_in_order(gated: Gated) -> None:
    client = await gated.client()
    first = await gated.begin(client, 0.0)
    go_on = await gated.running()
    waiting = [await gated.begin(client, *np.arange(3.0) + 10 * number) for number in range(1, 6)]
    gated.open()
    go_on()
    answers = [await task for task in (first, *waiting)]
    assert [answer["rows"][0] for answer in answers] == [1, 6, 6, 6, 6, 3]
    assert [answer["x"][0] for answer in answers] == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]


async def test_a_caller_that_hangs_up_while_it_waits_leaves_its_batch_mates(gated: Gated) -> None:
    client = await gated.client()
    first = await gated.begin(client, 0.0)
    go_on = await gated.running()
    left, leaves, right = [await gated.begin(client, value) for value in (1.0, 2.0, 3.0)]
    leaves.cancel()
    await turns()
    gated.open()
    go_on()
    await first
    answers = [await left, await right]
    assert [answer["x"].tolist() for answer in answers] == [[1.0], [3.0]]
    assert [answer["rows"].tolist() for answer in answers] == [[2], [2]], "the one that left was not run"
    assert leaves.cancelled()


async def test_a_caller_that_hangs_up_while_its_batch_runs_leaves_its_batch_mates(gated: Gated) -> None:
    client = await gated.client()
    first = await gated.begin(client, 0.0)
    go_on = await gated.running()
    leaves, stays = [await gated.begin(client, value) for value in (1.0, 2.0)]
    go_on()
    await first
    go_on = await gated.running()
    leaves.cancel()
    await turns()
    gated.open()
    go_on()
    answer = await stays
    assert (answer["x"].tolist(), answer["rows"].tolist()) == ([2.0], [2])
    assert (await client.infer({"x": np.array([7.0], np.float32)}))["x"].tolist() == [7.0]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (sessions.BAD, "^the model failed: a bad row$"),
        (sessions.ODD, "^the model's answer cannot be sent: numpy dtype complex64"),
    ],
)
async def test_one_bad_row_fails_alone(gated: Gated, bad: float, says: str) -> None:
    client = await gated.client()
    first = await gated.begin(client, 0.0)
    go_on = await gated.running()
    good, fails, fine = [await gated.begin(client, value) for value in (1.0, bad, 2.0)]
    gated.open()
    go_on()
    await first
    assert [(await task)["x"].tolist() for task in (good, fine)] == [[1.0], [2.0]]
    with pytest.raises(InferenceFailed, match=says):
        await fails


async def test_a_connection_that_breaks_with_requests_in_it_leaves_those_of_others(gated: Gated) -> None:
    leaves, stays = await gated.client(), await gated.client()
    theirs = [await gated.begin(leaves, value) for value in (0.0, 1.0, 2.0)]
    go_on = await gated.running()
    waiting = await gated.begin(stays, 3.0)
    await leaves.aclose()
    await until(lambda: all(task.done() for task in theirs))
    gated.open()
    go_on()
    assert (await waiting)["x"].tolist() == [3.0]
    assert [type(task.exception()) for task in theirs] == [BackendDied] * 3
    assert not workers_died(gated)


async def test_a_connection_that_breaks_while_its_batch_runs_leaves_the_worker_alive(gated: Gated) -> None:
    leaves, stays = await gated.client(), await gated.client()
    first = await gated.begin(stays, 0.0)
    go_on = await gated.running()
    theirs = [await gated.begin(leaves, value) for value in (1.0, 2.0)]
    mine = await gated.begin(stays, 3.0)
    go_on()
    await first
    go_on = await gated.running()
    await leaves.aclose()
    await until(lambda: all(task.done() for task in theirs))
    gated.open()
    go_on()
    assert (await mine)["x"].tolist() == [3.0]
    assert (await stays.infer({"x": np.array([4.0], np.float32)}))["x"].tolist() == [4.0]
    assert [type(task.exception()) for task in theirs] == [BackendDied] * 2
    assert not workers_died(gated)


async def test_bytes_that_are_no_frame_cost_their_own_connection_only(gated: Gated) -> None:
    gated.open()
    client = await gated.client()
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(gated.endpoint.address.removeprefix("unix:"))
        stranger.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8.5.0\r\nAccept: application/json\r\n\r\n"
        )
        stranger.setblocking(False)
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(stranger, 10), 20) == b""
    assert (await client.infer({"x": np.array([4.0], np.float32)}))["x"].tolist() == [4.0]


async def test_answers_larger_than_any_buffer_arrive_whole(gated: Gated) -> None:
    gated.open()
    client = await gated.client()
    x = np.arange(2**20, dtype=np.float32)
    answers = await asyncio.gather(*(client.infer({"x": x + number}) for number in range(4)))
    assert all(same(answer["x"], x + number) for number, answer in enumerate(answers))


async def test_a_worker_killed_during_a_request_fails_it_and_is_reported(gated: Gated) -> None:
    client = await gated.client()
    request = await gated.begin(client, 1.0)
    await gated.running()
    os.kill(gated.pid, 9)
    with pytest.raises(BackendDied):
        await request
    await until(lambda: gated.workers.deaths)
    assert gated.workers.deaths == [(gated.endpoint, "the worker died: killed by SIGKILL")]
    with pytest.raises(BackendUnavailable, match="it is being restarted"):
        await client.infer({"x": np.zeros(1, np.float32)})
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        await WorkerClient.connect(gated.endpoint)


async def test_a_request_that_kills_the_worker_takes_those_of_its_batch_and_no_gateway(gated: Gated) -> None:
    client = await gated.client()
    gated.open()
    with pytest.raises(BackendDied):
        await client.infer({"x": np.array([sessions.DEADLY], np.float32)})
    await until(lambda: gated.workers.deaths)
    assert gone(gated.pid)


def workers_died(gated: Gated) -> bool:
    """Whether the worker has ended by itself."""
    return bool(gated.workers.deaths) or gone(gated.pid)
