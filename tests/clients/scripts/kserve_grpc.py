"""The KServe SDK's InferenceGRPCClient against the sample model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import numpy as np
from cases import Gateway, run
from kserve import InferenceGRPCClient, InferInput, InferRequest

GOLDEN = np.load(Path(__file__).parents[3] / "model_repo/digits/1/golden.npz")
IMAGES = GOLDEN["inputs/image"]
ANSWERS = GOLDEN["outputs/probabilities"].argmax(axis=1).tolist()


def _request(images: np.ndarray = IMAGES, model: str = "digits", raw: bool = True, **settings: Any) -> InferRequest:
    given = InferInput("image", list(images.shape), "FP32")
    given.set_data_from_numpy(images, binary_data=raw)
    return InferRequest(model_name=model, infer_inputs=[given], **settings)


async def server_and_model_are_live_and_ready(gateway: Gateway) -> None:
    async with InferenceGRPCClient(gateway.grpc) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("digits")


async def a_stranger_is_not_ready(gateway: Gateway) -> None:
    async with InferenceGRPCClient(gateway.grpc) as client:
        assert not await client.is_model_ready("stranger")


async def raw_contents_and_typed_contents_give_the_right_answers(gateway: Gateway) -> None:
    async with InferenceGRPCClient(gateway.grpc) as client:
        for raw in (True, False):
            response = await client.infer(_request(raw=raw, request_id="7"))
            assert (response.model_name, response.id) == ("digits", "7"), response
            got = response.outputs[0].as_numpy()
            assert got.shape == (len(IMAGES), 10), got.shape
            assert got.argmax(axis=1).tolist() == ANSWERS


async def mistakes_have_a_status_and_a_reason(gateway: Gateway) -> None:
    wrong = np.zeros((1, 5, 5), np.float32)
    for request, code, says in (
        (_request(model="stranger"), grpc.StatusCode.NOT_FOUND, "stranger"),
        (_request(wrong), grpc.StatusCode.INVALID_ARGUMENT, "image"),
        (_request(wrong, raw=False), grpc.StatusCode.INVALID_ARGUMENT, "image"),
    ):
        async with InferenceGRPCClient(gateway.grpc) as client:
            error = None
            try:
                await client.infer(request)
            except grpc.RpcError as raised:
                error = raised
            assert error is not None, f"no error, expected {code}"
            assert error.code() == code, error
            assert says in error.details(), error


if __name__ == "__main__":
    run(globals())
