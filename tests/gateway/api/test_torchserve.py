"""TorchServe's routes: bodies go through to models with code of their own, tensors to all others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from adapters.base import Endpoint, RawAnswer
from adapters.errors import BackendUnavailable, InferenceFailed, InvalidInput, ServingError
from gateway.api.dialect import Answer, HttpRequest, refusal
from gateway.api.torchserve import TorchServeHttp, headers_for_caller, headers_for_model
from gateway.dataplane import DataPlane, Way
from gateway.registry import Registry
from gateway.types import Deployment, Limits, ModelTable, Serving, Standing, State, Target
from tests.gateway.fakes import SIGNATURE, QuickServable

TENSORS = Deployment("m", 1, "onnxruntime")
RAW = Deployment("own", 1, "torchserve")
LOADING = Deployment("later", 1, "onnxruntime")


class FakeHandler(QuickServable):
    """A model with code of its own: remembers what came, and answers what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[bytes, Mapping[str, str], bool]] = []
        self.answer: RawAnswer | Exception = RawAnswer(200, ((b"Content-Type", b"text/x-own"),), b"done")

    async def exchange(self, body: bytes, headers: Mapping[str, str], *, explain: bool = False) -> RawAnswer:
        self.asked.append((body, headers, explain))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Plane:
    """A dialect over a registry with a tensor model `m`, a handler `own`, and `later`, which is loading."""

    def __init__(self) -> None:
        self.handler = FakeHandler()
        self.model = QuickServable()
        self.registry = Registry(self._connect, drain_timeout_s=60)
        self.dialect = TorchServeHttp(DataPlane(self.registry))

    async def _connect(self, to: Endpoint) -> QuickServable:
        return self.handler if to.remote.get("kind") == "raw" else self.model

    async def fill(self) -> None:
        await self.registry.publish(TENSORS, Endpoint("onnxruntime", "a", SIGNATURE, "fake 1"), Serving())
        raw = Endpoint("torchserve", "b", SIGNATURE, "fake 2", None, {"kind": "raw"})
        await self.registry.publish(RAW, raw, Serving())
        states = {TENSORS: State.READY, RAW: State.READY, LOADING: State.LOADING}
        self.registry.show(
            {each.model: ModelTable(each.model, (), {}, {each: Standing(state)}) for each, state in states.items()}
        )

    async def ask(self, path: str, body: bytes = b"", method: str = "POST", **headers: str) -> Answer:
        named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        assert self.dialect.claims(method, path.encode())
        try:
            return await self.dialect.answer(HttpRequest(method, path.encode(), b"", named, body))
        except ServingError as error:
            return refusal(self.dialect, error)


@pytest.fixture
async def plane() -> Plane:
    filled = Plane()
    await filled.fill()
    return filled


def said(answer: Answer) -> Any:
    document = json.loads(b"".join(answer.parts))
    assert "code" not in document or document["code"] == answer.status
    return document


@pytest.mark.parametrize(
    "path", ["/predictions/m", "/predictions/m/1", "/explanations/m", "/ping", "/predictions", "/ping/x"]
)
def test_its_paths_are_claimed(path: str) -> None:
    assert Plane().dialect.claims("GET", path.encode())


@pytest.mark.parametrize(
    "path", ["/", "/pings", "/predictionsx/m", "/models/m", "/models", "/v2/models/m/infer", "/docs"]
)
def test_others_are_not_and_management_is_none_of_them(path: str) -> None:
    assert not Plane().dialect.claims("GET", path.encode())


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
async def test_a_tensor_model_is_asked_with_tensors(plane: Plane, method: str) -> None:
    answer = await plane.ask("/predictions/m", b"[3]", method)
    assert (answer.status, said(answer), answer.served_by) == (200, {"x": [3.0], "y": [6.0]}, TENSORS)


async def test_a_body_goes_through_to_a_handler_and_its_answer_comes_back(plane: Plane) -> None:
    answer = await plane.ask("/predictions/own/1.0", b"\0body", content_type="a/b", x_own="1")
    assert plane.handler.asked == [(b"\0body", {"content-type": "a/b", "x-own": "1"}, False)]
    assert (answer.status, b"".join(answer.parts), answer.served_by) == (200, b"done", RAW)
    assert answer.headers == ((b"content-type", b"text/x-own"),)


async def test_explanations_are_a_handlers_alone(plane: Plane) -> None:
    assert (await plane.ask("/explanations/own", b"why")).status == 200
    assert plane.handler.asked[0][2]
    refused = await plane.ask("/explanations/m/1", b"[1]")
    assert (refused.status, said(refused)["type"]) == (501, "NotImplementedException")
    assert "handler of its own" in said(refused)["message"]


@pytest.mark.parametrize(("status", "succeeded"), [(200, 1), (418, 1), (404, 1), (503, 0), (507, 0)])
async def test_whatever_status_a_handler_gives_comes_back_and_5xx_count_as_failures(
    plane: Plane, status: int, succeeded: int
) -> None:
    plane.handler.answer = RawAnswer(status, (), b'{"code": 1, "message": "mine"}')
    answer = await plane.ask("/predictions/own")
    assert (answer.status, b"".join(answer.parts)) == (status, b'{"code": 1, "message": "mine"}')
    counted = plane.registry.statistics()[RAW].inference_stats
    assert (counted.success.count, counted.fail.count) == (succeeded, 1 - succeeded)


@pytest.mark.parametrize("status", [0, 101, 199, 600, 999])
async def test_what_is_no_status_is_the_models_failure(plane: Plane, status: int) -> None:
    plane.handler.answer = RawAnswer(status, (), b"")
    answer = await plane.ask("/predictions/own")
    assert (answer.status, str(status) in said(answer)["message"]) == (500, True)


@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_that_have_no_body_come_without(plane: Plane, status: int) -> None:
    plane.handler.answer = RawAnswer(status, (), b"body")
    answer = await plane.ask("/predictions/own")
    assert (answer.status, b"".join(answer.parts)) == (status, b"")


@pytest.mark.parametrize(
    ("error", "status"), [(BackendUnavailable("gone"), 503), (InferenceFailed("no"), 500), (InvalidInput("large"), 400)]
)
async def test_a_handler_that_cannot_be_asked_is_an_error_of_the_dialect(
    plane: Plane, error: ServingError, status: int
) -> None:
    plane.handler.answer = error
    answer = await plane.ask("/predictions/own")
    assert (answer.status, said(answer)["message"]) == (status, str(error))


async def test_a_handler_that_takes_too_long_is_not_waited_for(plane: Plane) -> None:
    async def exchange(*_: Any, **__: Any) -> RawAnswer:
        await asyncio.Event().wait()
        raise AssertionError

    plane.handler.exchange = exchange  # type: ignore[method-assign]
    raw = Endpoint("torchserve", "b", SIGNATURE, "fake 2", None, {"kind": "raw"})
    await plane.registry.publish(RAW, raw, Serving(Limits(timeout_ms=1)))
    answer = await plane.ask("/predictions/own")
    assert (answer.status, said(answer)["type"]) == (504, "RequestTimeoutException")


async def test_another_dialect_can_hand_its_request_on(plane: Plane) -> None:
    way = Way(plane.registry.lease(Target("own")))
    request = HttpRequest("POST", b"/v1/models/own:predict", b"", {b"content-type": b"application/json"}, b"{}")
    answer = await plane.dialect.raw_predictions(request, way)
    assert (answer.status, answer.served_by) == (200, RAW)
    assert plane.handler.asked == [(b"{}", {"content-type": "application/json"}, False)]


async def test_a_handlers_deployment_is_not_unloaded_under_a_request(plane: Plane) -> None:
    holding = asyncio.Event()

    async def exchange(*_: Any, **__: Any) -> RawAnswer:
        await holding.wait()
        return RawAnswer(200, (), b"")

    plane.handler.exchange = exchange  # type: ignore[method-assign]
    asking = asyncio.create_task(plane.ask("/predictions/own"))
    await asyncio.sleep(0)
    leaving = asyncio.create_task(plane.registry.withdraw(RAW, plane.registry.lease(Target("own")).endpoint))
    await asyncio.sleep(0)
    assert not leaving.done()
    holding.set()
    await leaving
    assert (await asking).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "kind", "message"),
    [
        ("POST", "/predictions/nope", 404, "ModelNotFoundException", "Model not found: nope"),
        ("POST", "/explanations/nope/1", 404, "ModelNotFoundException", "Model not found: nope"),
        (
            "POST",
            "/predictions/m/9",
            404,
            "ModelVersionNotFoundException",
            "Model version: 9 does not exist for model: m",
        ),
        (
            "POST",
            "/predictions/m/x",
            404,
            "ModelVersionNotFoundException",
            "Model version: x does not exist for model: m",
        ),
        ("POST", "/predictions/m@tflite", 404, "ModelNotFoundException", "backends there are: onnxruntime"),
        ("POST", "/predictions/%252e%252e", 404, "ModelNotFoundException", "Model not found: %2e%2e"),
        ("POST", "/predictions/later", 503, "ServiceUnavailableException", "later/1@onnxruntime is LOADING"),
        ("POST", "/predictions/a%2Fb", 400, "BadRequestException", "no slash"),
        ("POST", "/predictions/..%2f..%2fetc", 400, "BadRequestException", "no slash"),
        ("POST", "/predictions/%00", 400, "BadRequestException", "control character"),
        ("POST", "/predictions/%ff", 400, "BadRequestException", "UTF-8"),
        ("POST", "/predictions/m", 400, "BadRequestException", "empty"),
        ("DELETE", "/predictions/m", 405, "MethodNotAllowedException", "please refer to API document"),
        ("HEAD", "/explanations/m", 405, "MethodNotAllowedException", "please refer to API document"),
        ("POST", "/predictions", 404, "ResourceNotFoundException", "please refer to API document"),
        ("POST", "/predictions/", 404, "ResourceNotFoundException", "please refer to API document"),
        ("POST", "/predictions/m/1/x", 404, "ResourceNotFoundException", "please refer to API document"),
        ("GET", "/ping/x", 404, "ResourceNotFoundException", "please refer to API document"),
        ("OPTIONS", "/predictions/nope", 404, "ModelNotFoundException", "Model not found: nope"),
    ],
)
async def test_errors_are_torchserves(
    plane: Plane, method: str, path: str, status: int, kind: str, message: str
) -> None:
    answer = await plane.ask(path, method=method)
    assert (answer.status, said(answer)["type"]) == (status, kind)
    assert message in said(answer)["message"]


async def test_a_model_is_described_to_who_asks_for_options(plane: Plane) -> None:
    document = said(await plane.ask("/predictions/m", method="OPTIONS"))
    assert "/predictions/m" in document["paths"]


async def test_ping_tells_whether_requests_are_taken(plane: Plane) -> None:
    plane.registry.show({"m": ModelTable("m", (), {}, {TENSORS: Standing(State.READY)})})
    healthy = await plane.ask("/ping", method="GET")
    assert (healthy.status, said(healthy)) == (200, {"status": "Healthy"})
    plane.registry.stop()
    stopping = await plane.ask("/ping", method="GET")
    assert (stopping.status, said(stopping)) == (500, {"status": "Unhealthy"})


def test_a_handler_sees_neither_the_connections_headers_nor_the_callers_rights_nor_ours() -> None:
    sent = {
        b"host": b"torii", b"content-length": b"1", b"connection": b"close, X-Hop", b"x-hop": b"1", b"te": b"gzip",
        b"transfer-encoding": b"chunked", b"expect": b"100-continue", b"content-encoding": b"gzip",
        b"accept-encoding": b"gzip", b"authorization": b"Bearer secret", b"proxy-authorization": b"x",
        b"cookie": b"a=b", b"torii-served-by": b"x", b"upgrade": b"h2c", b"content-type": b"a/b", b"accept": b"*/*",
        b"x-user": "é".encode(), b"traceparent": b"00-1", b"x-latin": b"\xe9",
    }  # fmt: skip
    assert headers_for_model(sent) == {
        "content-type": "a/b", "accept": "*/*", "x-user": "é", "traceparent": "00-1", "x-latin": "é",
    }  # fmt: skip


def test_a_caller_sees_what_the_handler_set_and_nothing_of_the_connection_to_it() -> None:
    came = (
        (b"Content-Type", b"text/html"), (b"Content-Length", b"4"), (b"Connection", b"X-Hop, keep-alive"),
        (b"X-Hop", b"1"), (b"Transfer-Encoding", b"chunked"), (b"Torii-Served-By", b"forged"), (b"x-own", b"1"),
        (b"X-Own", b"2"), (b"Date", b"x"), (b"content-encoding", b"gzip"),
    )  # fmt: skip
    assert headers_for_caller(came) == (
        (b"content-type", b"text/html"), (b"x-own", b"1"), (b"x-own", b"2"), (b"content-encoding", b"gzip"),
    )  # fmt: skip
