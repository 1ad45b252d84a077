"""Several instances of a model in one worker: they run at the same time, and nobody's answer is another's."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import numpy as np
import pytest

from adapters import wire
from adapters.cores import threads_each, usable_cores
from adapters.errors import BackendDied, BackendUnavailable, InferenceFailed
from adapters.tensors import Tensor
from adapters.worker.adapter import ECHO, ONNX_RUNTIME, TFLITE
from tests.adapters.onnx_models import save_doubling
from tests.adapters.worker.sessions import MEET, QUIT
from tests.adapters.worker.test_adapter import TFLITE_MODEL, echo
from tests.adapters.worker.workers import LONELY, MEETING, Workers, artifact
from tests.strategies import same
from tests.waiting import gone, until


def x(*values: float) -> dict[str, Tensor]:
    return {"x": np.array(values, np.float32)}


async def test_two_runs_are_under_way_at_the_same_time(workers: Workers, tmp_path: Path) -> None:
    endpoint = await workers.adapter(MEETING).load(artifact(tmp_path, 1, instances=2))
    assert endpoint.remote["instances"] == "2"
    client = await workers.connect(endpoint)
    answers = await asyncio.gather(client.infer(x(MEET, 1)), client.infer(x(MEET, 2)))
    assert [answer["x"].tolist() for answer in answers] == [[MEET, 1], [MEET, 2]]


async def test_a_session_that_says_nothing_of_threads_is_loaded_once_for_each(workers: Workers, tmp_path: Path) -> None:
    client = await workers.connect(await workers.adapter(LONELY).load(artifact(tmp_path, 1, instances=2)))
    answers = await asyncio.gather(*(client.infer(x(MEET)) for _ in range(40)))
    assert {int(answer["number"][0]) for answer in answers} == {1, 2}


@pytest.mark.parametrize("max_rows", [1, None], ids=["one by one", "in batches"])
async def test_two_thousand_requests_at_once_to_three_instances_get_each_its_own_rows(
    workers: Workers, tmp_path: Path, max_rows: int | None
) -> None:
    model = artifact(save_doubling(tmp_path / "model.onnx"), max_rows, instances=3)
    endpoint = await workers.adapter(ONNX_RUNTIME).load(model)
    clients = [await workers.connect(endpoint) for _ in range(3)]

    async def caller(number: int) -> bool:
        tagged = np.full((1 + number % 3, 4), number, np.float32)
        return same((await clients[number % 3].infer({"x": tagged}))["y"], tagged * 2)

    assert all(await asyncio.gather(*(caller(number) for number in range(2000))))
    assert sum(client.executions.calls.count for client in clients) == 2000


async def test_interpreters_of_tflite_do_not_get_into_each_other_s_way(workers: Workers) -> None:
    adapter = workers.adapter(TFLITE)
    random = np.random.default_rng(2)
    digits = [random.random((1 + number // 1000, 8, 8)).astype(np.float32) for number in range(1200)]

    async def answers(instances: int) -> list[dict[str, Tensor]]:
        endpoint = await adapter.load(artifact(TFLITE_MODEL, 1, instances=instances))
        client = await workers.connect(endpoint)
        (name,) = [spec.name for spec in endpoint.signature.inputs]
        return await asyncio.gather(*(client.infer({name: each}) for each in digits))

    for one, other in zip(await answers(1), await answers(3), strict=True):
        assert all(np.allclose(one[name], other[name], atol=1e-6) for name in one)


async def test_a_worker_killed_in_between_fails_what_it_had_and_answers_nothing_wrong(
    workers: Workers, tmp_path: Path
) -> None:
    model = artifact(save_doubling(tmp_path / "model.onnx"), instances=3)
    endpoint = await workers.adapter(ONNX_RUNTIME).load(model)
    client = await workers.connect(endpoint)
    answered = 0

    async def caller(number: int) -> bool | None:
        nonlocal answered
        tagged = np.full((1, 4), number, np.float32)
        try:
            answer = await client.infer({"x": tagged})
        except BackendUnavailable:
            return None
        answered += 1
        if answered == 300:
            os.kill(endpoint.pid or 0, 9)
        return same(answer["y"], tagged * 2)

    results = await asyncio.gather(*(caller(number) for number in range(2000)))
    assert False not in results
    assert results.count(True) >= 300
    await until(lambda: workers.deaths)


async def test_an_answer_that_a_slow_peer_takes_bit_by_bit_arrives_whole_while_nothing_else_happens(
    workers: Workers, tmp_path: Path
) -> None:
    """Who sends it is not who waits at the sockets, and that one has to be told."""
    endpoint = await workers.adapter(ECHO).load(artifact(echo(tmp_path), 1, instances=2))
    sent = np.arange(2**21, dtype=np.float32)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(endpoint.address.removeprefix("unix:"))
        peer.settimeout(20)
        for number in range(3):
            request = b"".join(wire.tensors_frame(wire.Kind.INFER, number, {"x": sent + number}))
            await asyncio.to_thread(peer.sendall, request)
            reader = wire.FrameReader()
            frames: list[wire.Frame] = []
            while not frames:
                frames = reader.feed(await asyncio.to_thread(peer.recv, 2**16))
            assert same(frames[0].tensors()["x"], sent + number)


async def test_peers_that_leave_while_their_calls_run_leave_the_others_theirs(workers: Workers, tmp_path: Path) -> None:
    endpoint = await workers.adapter(ECHO).load(artifact(echo(tmp_path), 1, instances=3))
    stays = await workers.connect(endpoint)

    async def leaves(number: int) -> None:
        client = await workers.connect(endpoint)
        asks = [asyncio.create_task(client.infer(x(*range(number)))) for number in range(20)]
        await asyncio.sleep(0)
        await client.aclose()
        results = await asyncio.gather(*asks, return_exceptions=True)
        assert all(isinstance(each, dict | BackendUnavailable) for each in results)

    async def asks(number: int) -> bool:
        return (await stays.infer(x(number)))["x"].tolist() == [number]

    for _ in range(5):
        *right, _ = await asyncio.gather(
            *(asks(number) for number in range(50)), *(leaves(n) for n in range(5)), leaves(0)
        )
        assert all(right[:50])
    assert workers.deaths == []


async def test_an_instance_that_ends_ends_the_worker(workers: Workers, tmp_path: Path) -> None:
    endpoint = await workers.adapter(MEETING).load(artifact(tmp_path, 1, instances=8))
    client = await workers.connect(endpoint)
    with pytest.raises(BackendDied):
        await client.infer(x(QUIT))
    await until(lambda: workers.deaths)
    assert gone(endpoint.pid or 0)


async def test_one_bad_row_fails_alone_in_any_instance(workers: Workers, tmp_path: Path) -> None:
    model = artifact(save_doubling(tmp_path / "model.onnx"), 8, instances=2)
    client = await workers.connect(await workers.adapter(ONNX_RUNTIME).load(model))
    good = np.ones((1, 4), np.float32)
    asked = [client.infer({"x": good if number % 5 else good[:, :3]}) for number in range(50)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(each, InferenceFailed) for each in results] == [number % 5 == 0 for number in range(50)]


@pytest.mark.parametrize(("instances", "share"), [(1, 1), (2, 2), (10_000, 10_000)])
def test_the_cores_are_shared_out_among_the_instances(instances: int, share: int) -> None:
    assert threads_each({"instances": instances}) == max(1, usable_cores() // share)
    assert threads_each({}) == usable_cores()
