"""tritonclient.http.aio, as its users call it."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import tritonclient.http.aio as triton
from cases import Gateway, run
from samples import SAMPLES, refused, same

ONES = np.ones((3, 2), np.float32)


def _input(name: str, array: np.ndarray, datatype: str = "FP32", binary: bool = True) -> triton.InferInput:
    return triton.InferInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary)


async def _add(client: triton.InferenceServerClient, array: np.ndarray = ONES, **settings: Any) -> triton.InferResult:
    return await client.infer("add", [_input("x", array)], model_version="1", **settings)


async def server_and_model_are_live_and_ready(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.http) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("add", "1")
        assert not await client.is_model_ready("stranger")


async def metadata_and_configuration_are_there(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.http) as client:
        assert (await client.get_server_metadata())["name"] == "torii"
        assert (await client.get_model_metadata("add"))["inputs"][0]["datatype"] == "FP32"
        assert (await client.get_model_config("add"))["input"][0]["data_type"] == "TYPE_FP32"


async def every_datatype_goes_there_and_back(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.http) as client:
        for datatype, array in SAMPLES.items():
            result = await client.infer(f"echo_{datatype.lower()}", [_input("x", array, datatype)])
            same(result.as_numpy("y"), array)


async def json_goes_there_and_back(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.http) as client:
        outputs = [triton.InferRequestedOutput("y", binary_data=False)]
        result = await client.infer("add", [_input("x", ONES, binary=False)], "1", outputs)
        same(result.as_numpy("y"), ONES + 1)


async def many_requests_at_once_get_each_its_own_answer(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.http, conn_limit=16) as client:
        arrays = [np.full((1, 2), number, np.float32) for number in range(100)]
        results = await asyncio.gather(*(_add(client, array) for array in arrays))
        for array, result in zip(arrays, results, strict=True):
            same(result.as_numpy("y"), array + 1)


async def both_compressions_are_understood_and_given(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.http) as client:
        for algorithm in ("gzip", "deflate"):
            result = await _add(
                client, request_compression_algorithm=algorithm, response_compression_algorithm=algorithm
            )
            same(result.as_numpy("y"), ONES + 1)


async def id_and_priority_are_taken(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.http) as client:
        result = await _add(client, request_id="7", priority=2)
        assert result.get_response()["id"] == "7"


async def a_timeout_of_the_request_ends_it(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.http) as client:
        with refused("504"):
            await client.infer("slow", [_input("n", np.array([500], np.int64), "INT64")], timeout=50_000)


async def index_and_statistics_are_there(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.http) as client:
        await _add(client)
        assert "add" in {each["name"] for each in await client.get_model_repository_index()}
        [statistics] = (await client.get_inference_statistics("add", "1"))["model_stats"]
        assert statistics["inference_stats"]["success"]["count"] >= 1, statistics


async def mistakes_have_a_status_and_a_reason(gateway: Gateway) -> None:
    async with triton.InferenceServerClient(gateway.http) as client:
        with refused("404", says=("stranger",)):
            await client.infer("stranger", [_input("x", ONES)])
        with refused("400", says=("x",)):
            await _add(client, np.ones((1, 3), np.float32))


if __name__ == "__main__":
    run(globals())
