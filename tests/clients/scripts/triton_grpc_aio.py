"""tritonclient.grpc.aio, as its users call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton
from cases import Gateway, run
from samples import SAMPLES, refused, same

ONES = np.ones((3, 2), np.float32)


def _input(name: str, array: np.ndarray, datatype: str = "FP32") -> triton.InferInput:
    return triton.InferInput(name, list(array.shape), datatype).set_data_from_numpy(array)


async def _add(client: triton.InferenceServerClient, array: np.ndarray = ONES, **settings: Any) -> triton.InferResult:
    return await client.infer("add", [_input("x", array)], model_version="1", **settings)


async def server_and_model_are_live_and_ready(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.grpc) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("add", "1")
        assert not await client.is_model_ready("stranger")


async def metadata_and_configuration_are_there(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.grpc) as client:
        assert (await client.get_server_metadata()).name == "torii"
        assert (await client.get_model_metadata("add")).inputs[0].datatype == "FP32"
        assert (await client.get_model_config("add")).config.input[0].name == "x"


async def every_datatype_goes_there_and_back(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.grpc) as client:
        for datatype, array in SAMPLES.items():
            result = await client.infer(f"echo_{datatype.lower()}", [_input("x", array, datatype)])
            same(result.as_numpy("y"), array)


async def many_requests_at_once_get_each_its_own_answer(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.grpc) as client:
        arrays = [np.full((1, 2), number, np.float32) for number in range(100)]
        results = await asyncio.gather(*(_add(client, array) for array in arrays))
        for array, result in zip(arrays, results, strict=True):
            same(result.as_numpy("y"), array + 1)


async def a_stream_answers_every_request_and_outlives_a_mistake(gateway: Gateway) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for number, model in enumerate(("add", "add", "stranger", "add")):
            yield {
                "model_name": model,
                "inputs": [_input("x", ONES * number)],
                "model_version": "1",
                "request_id": str(number),
            }

    async with triton.InferenceServerClient(gateway.grpc) as client:
        got = [each async for each in client.stream_infer(requests(), stream_timeout=30)]
    errors = [error for _, error in got if error is not None]
    assert len(errors) == 1, errors
    assert "stranger" in errors[0].message(), errors
    results = {result.get_response().id: result for result, error in got if error is None}
    assert results.keys() == {"0", "1", "3"}, results.keys()
    for number, result in results.items():
        same(result.as_numpy("y"), ONES * int(number) + 1)


async def compressed_requests_are_understood(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.grpc) as client:
        for algorithm in ("gzip", "deflate"):
            same((await _add(client, compression_algorithm=algorithm)).as_numpy("y"), ONES + 1)


async def id_and_priority_are_taken(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.grpc) as client:
        result = await _add(client, request_id="7", priority=2)
        assert result.get_response().id == "7"


async def both_timeouts_end_a_request(gateway: Gateway) -> None:
    inputs = [_input("n", np.array([500], np.int64), "INT64")]
    async with triton.InferenceServerClient(gateway.grpc) as client:
        with refused("StatusCode.DEADLINE_EXCEEDED"):
            await client.infer("slow", inputs, timeout=50_000)
        with refused("StatusCode.DEADLINE_EXCEEDED"):
            await client.infer("slow", inputs, client_timeout=0.05)


async def index_and_statistics_are_there(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.grpc) as client:
        await _add(client)
        assert "add" in {each.name for each in (await client.get_model_repository_index()).models}
        [statistics] = (await client.get_inference_statistics("add", "1")).model_stats
        assert statistics.inference_stats.success.count >= 1, statistics


async def mistakes_have_a_status_and_a_reason(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.grpc) as client:
        with refused("StatusCode.NOT_FOUND", says=("stranger",)):
            await client.infer("stranger", [_input("x", ONES)])
        with refused("StatusCode.INVALID_ARGUMENT", says=("x",)):
            await _add(client, np.ones((1, 3), np.float32))


if __name__ == "__main__":
    run(globals())
