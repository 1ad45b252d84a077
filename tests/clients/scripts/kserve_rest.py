"""The KServe SDK's InferenceRESTClient, in V2 and in V1, against the sample model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
from cases import Gateway, run
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

GOLDEN = np.load(Path(__file__).parents[3] / "model_repo/digits/1/golden.npz")
IMAGES = GOLDEN["inputs/image"]
PROBABILITIES = GOLDEN["outputs/probabilities"]


def _client(protocol: str) -> InferenceRESTClient:
    return InferenceRESTClient(RESTConfig(protocol=protocol, retries=1, timeout=30))


def _request(binary: bool, images: np.ndarray = IMAGES, **settings: Any) -> InferRequest:
    given = InferInput("image", list(images.shape), "FP32")
    given.set_data_from_numpy(images, binary_data=binary)
    return InferRequest(model_name="digits", infer_inputs=[given], **settings)


async def v2_server_and_model_are_live_and_ready(gateway: Gateway) -> None:
    async with _client("v2") as client:
        assert await client.is_server_live(gateway.url)
        assert await client.is_server_ready(gateway.url)
        assert await client.is_model_ready(gateway.url, "digits")
        assert not await client.is_model_ready(gateway.url, "stranger")


async def v2_json_gives_the_right_probabilities(gateway: Gateway) -> None:
    async with _client("v2") as client:
        response = await client.infer(gateway.url, _request(False, request_id="7"), model_name="digits")
        assert response.model_name == "digits", response
        assert response.id == "7", response
        [output] = response.outputs
        assert (output.name, output.datatype, output.shape) == ("probabilities", "FP32", [len(IMAGES), 10])
        assert output.as_numpy().argmax(axis=1).tolist() == PROBABILITIES.argmax(axis=1).tolist()


async def v2_binary_goes_in_and_comes_out(gateway: Gateway) -> None:
    outputs = [RequestedOutput("probabilities", {"binary_data": True})]
    async with _client("v2") as client:
        headers: dict[str, str] = {}
        request = _request(True, request_outputs=outputs)
        response = await client.infer(gateway.url, request, model_name="digits", response_headers=headers)
        assert "inference-header-content-length" in headers, headers
        got = response.outputs[0].as_numpy().reshape(-1, 10)
        assert got.argmax(axis=1).tolist() == PROBABILITIES.argmax(axis=1).tolist()


async def v2_mistakes_are_http_status_errors_with_the_reason(gateway: Gateway) -> None:
    async with _client("v2") as client:
        await _refused(404, "stranger", client, gateway, _request(False), "stranger")
        await _refused(400, "image", client, gateway, _request(False, np.zeros((1, 5, 5), np.float32)), "digits")
        await _refused(400, "image", client, gateway, _request(True, np.zeros((1, 5, 5), np.float32)), "digits")


async def _refused(
    status: int, says: str, client: InferenceRESTClient, gateway: Gateway, data: Any, model: str
) -> None:
    error = None
    try:
        await client.infer(gateway.url, data, model_name=model)
    except httpx.HTTPStatusError as raised:
        error = raised
    assert error is not None, f"no error, expected {status}"
    assert error.response.status_code == status, error
    assert says in str(error), error


async def v1_says_that_the_server_is_alive(gateway: Gateway) -> None:
    async with _client("v1") as client:
        assert await client.is_server_live(gateway.url)


async def v1_instances_give_the_right_predictions(gateway: Gateway) -> None:
    async with _client("v1") as client:
        answer = await client.infer(gateway.url, {"instances": IMAGES.tolist()}, model_name="digits")
        assert np.argmax(answer["predictions"], axis=1).tolist() == PROBABILITIES.argmax(axis=1).tolist()


async def v1_mistakes_are_http_status_errors_with_the_reason(gateway: Gateway) -> None:
    async with _client("v1") as client:
        await _refused(404, "stranger", client, gateway, {"instances": IMAGES.tolist()}, "stranger")
        await _refused(400, "image", client, gateway, {"instances": [[1.0]]}, "digits")


if __name__ == "__main__":
    run(globals())
