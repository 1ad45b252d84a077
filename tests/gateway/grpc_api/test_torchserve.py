"""TorchServe over gRPC: a handler gets the map's entries as a form, tensors come out of them for all others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import pytest

from adapters.base import Endpoint, RawAnswer
from gateway.dataplane import DataPlane
from gateway.grpc_api.torchserve import NAME, PACKAGE, services
from gateway.protocols.form_fields import read_fields
from gateway.protocols.protos import message
from gateway.registry import Registry
from gateway.types import Deployment, ModelTable, Serving, Standing, State
from tests.gateway.fakes import SIGNATURE, QuickServable

Request = message(f"{PACKAGE}.PredictionsRequest")
Response = message(f"{PACKAGE}.PredictionResponse")
Health = message(f"{PACKAGE}.TorchServeHealthResponse")


class FakeHandler(QuickServable):
    """Answers with the names and sizes of the fields that came; `status` is what it answers with."""

    status = 200

    async def exchange(self, body: bytes, headers: Mapping[str, str], *, explain: bool = False) -> RawAnswer:
        fields = read_fields(headers["content-type"].encode(), body)
        told = json.dumps({name: value.decode("latin-1") for name, value in fields.items()})
        return RawAnswer(self.status, (), told.encode())


handler = FakeHandler()


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    async def connect(to: Endpoint) -> QuickServable:
        return handler if to.remote else QuickServable()

    registry = Registry(connect, drain_timeout_s=60)
    for model, remote in (("m", {}), ("own", {"kind": "raw"})):
        deployment = Deployment(model, 1, "torchserve")
        await registry.publish(deployment, Endpoint("torchserve", model, SIGNATURE, "", None, remote), Serving())
    registry.show(
        {
            name: ModelTable(name, (), {}, {Deployment(name, 1, "torchserve"): Standing(State.READY)})
            for name in ("m", "own")
        }
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(tuple(services(DataPlane(registry))))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(None)


async def predict(channel: grpc.aio.Channel, **fields: Any) -> bytes:
    call = channel.unary_unary(f"/{NAME}/Predictions", Request.SerializeToString, Response.FromString)
    answer: bytes = (await call(Request(**fields), timeout=10)).prediction
    return answer


async def refused(channel: grpc.aio.Channel, **fields: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await predict(channel, **fields)
    return error.value.code(), str(error.value.details())


async def test_a_tensor_model_is_asked_and_answered_as_over_http(channel: grpc.aio.Channel) -> None:
    for field in ("data", "x"):
        answer = await predict(channel, model_name="m", input={field: b"[3, 4]"})
        assert json.loads(answer) == {"x": [3, 4], "y": [6, 8]}


async def test_npy_comes_back_to_who_accepts_it(channel: grpc.aio.Channel) -> None:
    call = channel.unary_unary(f"/{NAME}/Predictions", Request.SerializeToString, Response.FromString)
    asked = Request(model_name="m", input={"data": b"[3]"})
    with pytest.raises(grpc.aio.AioRpcError, match="models of one output"):
        await call(asked, timeout=10, metadata=(("accept", "application/x-npy"),))


async def test_a_handler_gets_every_entry_to_the_byte(channel: grpc.aio.Channel) -> None:
    answer = await predict(channel, model_name="own", model_version="1.0", input={"data": b"\0\r\n--\xff", "k": b""})
    assert json.loads(answer) == {"data": "\0\r\n--\xff", "k": ""}
    assert json.loads(await predict(channel, model_name="own")) == {}


async def test_a_handlers_refusal_is_a_status(channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "status", 503)
    code, text = await refused(channel, model_name="own", input={"message": b"x"})
    assert (code, "answered 503: x" in text) == (grpc.StatusCode.INTERNAL, True)
    monkeypatch.setattr(handler, "status", 422)
    code, text = await refused(channel, model_name="own", input={"k": b"x"})
    assert (code, "answered 422" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({}, grpc.StatusCode.INVALID_ARGUMENT, "Parameter model_name is required."),
        ({"model_name": "nope"}, grpc.StatusCode.NOT_FOUND, "Model not found: nope"),
        ({"model_name": "../x"}, grpc.StatusCode.NOT_FOUND, "Model not found: ../x"),
        (
            {"model_name": "m", "model_version": "9"},
            grpc.StatusCode.NOT_FOUND,
            "Model version: 9 does not exist for model: m",
        ),
        ({"model_name": "m", "input": {"z": b"[1]"}}, grpc.StatusCode.INVALID_ARGUMENT, "'z' is unknown"),
        ({"model_name": "m", "input": {"data": b"{"}}, grpc.StatusCode.INVALID_ARGUMENT, "neither"),
        ({"model_name": "m"}, grpc.StatusCode.INVALID_ARGUMENT, "'x' is missing"),
        ({"model_name": "own", "input": {'a"\r\n': b""}}, grpc.StatusCode.INVALID_ARGUMENT, "plain characters"),
    ],
)
async def test_errors_have_the_status_that_all_protocols_give_them(
    channel: grpc.aio.Channel, fields: dict[str, Any], code: grpc.StatusCode, said: str
) -> None:
    got, text = await refused(channel, **fields)
    assert (got, said in text) == (code, True), text


async def test_a_stream_is_answered_in_one_piece(channel: grpc.aio.Channel) -> None:
    call = channel.unary_stream(f"/{NAME}/StreamPredictions", Request.SerializeToString, Response.FromString)
    answers = [each.prediction async for each in call(Request(model_name="m", input={"data": b"[1]"}), timeout=10)]
    assert [json.loads(each) for each in answers] == [{"x": [1], "y": [2]}]


async def test_streams_of_stateful_models_are_refused_with_a_reason(channel: grpc.aio.Channel) -> None:
    call = channel.stream_stream(f"/{NAME}/StreamPredictions2", Request.SerializeToString, Response.FromString)
    with pytest.raises(grpc.aio.AioRpcError, match="stateful") as error:
        async for _ in call(iter([Request(model_name="m")]), timeout=10):
            pass
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_ping_tells_what_http_tells(channel: grpc.aio.Channel) -> None:
    call = channel.unary_unary(f"/{NAME}/Ping", lambda _: b"", Health.FromString)
    assert json.loads((await call(None, timeout=10)).health) == {"status": "Healthy"}


def test_the_messages_are_torchserves() -> None:
    request = Request(model_name="m", model_version="1", input={"k": b"v"}, sequence_id="s")
    assert request.SerializeToString(deterministic=True) == b"\n\1m\x12\x011\x1a\6\n\1k\x12\1v\x22\1s"
    assert Response(prediction=b"p", sequence_id="s").SerializeToString() == b"\n\1p\x12\1s"
    assert Health(health="h").SerializeToString() == b"\n\1h"
