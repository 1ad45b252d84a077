from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio

from adapters.base import Endpoint
from adapters.errors import BackendUnavailable, DeadlineExceeded, InferenceFailed, InvalidInput, ServingError
from adapters.tensors import Signature
from adapters.tfserving.client import TfServingClient
from adapters.tfserving.protos import predict_pb2
from adapters.tfserving.rpc import ERRORS

Answer = Callable[[Any, Any], Awaitable[Any]]
Serve = Callable[[Answer], Awaitable[TfServingClient]]


@pytest_asyncio.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Starts a server that answers Predict as the test wants, and connects to it."""
    server = grpc.aio.server()
    clients: list[TfServingClient] = []

    async def start(answer: Answer) -> TfServingClient:
        method = grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=predict_pb2.PredictRequest.FromString,
            response_serializer=predict_pb2.PredictResponse.SerializeToString,
        )
        service = "tensorflow.serving.PredictionService"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Predict": method}),))
        address = f"unix:{tmp_path}/server"
        server.add_insecure_port(address)
        await server.start()
        remote = {"model": "half", "version": "123", "signature_name": "serving_default"}
        endpoint = Endpoint("tfserving", address, Signature((), ()), "fake", None, remote)
        clients.append(await TfServingClient.connect(endpoint))
        return clients[0]

    yield start
    for client in clients:
        await client.aclose()
    await server.stop(None)


def test_every_status_has_its_error() -> None:
    assert set(ERRORS) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


def test_the_statuses_mean_what_they_mean_elsewhere() -> None:
    by_error: dict[type[ServingError], set[str]] = {}
    for code, error in ERRORS.items():
        by_error.setdefault(error, set()).add(code.name)
    assert by_error[InvalidInput] == {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"}
    assert by_error[BackendUnavailable] == {"UNAVAILABLE", "NOT_FOUND", "CANCELLED"}
    assert by_error[DeadlineExceeded] == {"DEADLINE_EXCEEDED"}
    assert set(by_error) == {InvalidInput, BackendUnavailable, DeadlineExceeded, InferenceFailed}


@pytest.mark.parametrize("code", ERRORS)
async def test_a_status_reaches_the_caller_as_its_error(serve: Serve, code: grpc.StatusCode) -> None:
    async def answer(_request: Any, context: Any) -> None:
        await context.abort(code, "first line " + "x" * 1000 + "\nsecond line")

    client = await serve(answer)
    with pytest.raises(ERRORS[code], match="first line") as caught:
        await client.infer({})
    assert "second line" not in str(caught.value)
    assert len(str(caught.value)) < 600


async def test_the_request_names_model_version_and_signature(serve: Serve) -> None:
    seen = []

    async def answer(request: Any, _context: Any) -> Any:
        seen.append(request)
        return predict_pb2.PredictResponse(outputs=request.inputs)

    client = await serve(answer)
    outputs = await client.infer({"x": np.arange(3)})
    assert outputs["x"].tolist() == [0, 1, 2]
    assert (seen[0].model_spec.name, seen[0].model_spec.version.value) == ("half", 123)
    assert seen[0].model_spec.signature_name == "serving_default"


async def test_an_answer_that_is_no_tensor_is_the_models_failure(serve: Serve) -> None:
    async def answer(_request: Any, _context: Any) -> Any:
        response = predict_pb2.PredictResponse()
        response.outputs["y"].dtype = 99
        return response

    client = await serve(answer)
    with pytest.raises(InferenceFailed, match="not a tensor"):
        await client.infer({})


async def test_cancelling_cancels_the_call_on_the_server(serve: Serve) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def answer(_request: Any, _context: Any) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    client = await serve(answer)
    inferring = asyncio.create_task(client.infer({}))
    await started.wait()
    inferring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await inferring
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_requests_that_wait_fail_when_the_connection_is_closed(serve: Serve) -> None:
    started = asyncio.Event()

    async def answer(_request: Any, _context: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    client = await serve(answer)
    inferring = asyncio.create_task(client.infer({}))
    await started.wait()
    await client.aclose()
    with pytest.raises(BackendUnavailable, match="closed"):
        await inferring
    with pytest.raises(BackendUnavailable, match="closed"):
        await client.infer({})


async def test_connecting_to_nothing_says_so_at_once(tmp_path: Path) -> None:
    remote = {"model": "half", "version": "123", "signature_name": "serving_default"}
    endpoint = Endpoint("tfserving", f"unix:{tmp_path}/nothing", Signature((), ()), "fake", None, remote)
    with pytest.raises(BackendUnavailable, match="nothing answers"):
        await TfServingClient.connect(endpoint)
