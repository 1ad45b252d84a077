import gzip
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from adapters import wire
from adapters.base import Endpoint, RawAnswer, RawServable
from adapters.errors import BackendDied, BackendUnavailable, InferenceFailed, InvalidInput, ServingError
from adapters.process import free_port
from adapters.tensors import DataType, Signature, TensorSpec
from adapters.torchserve.client import TorchServeClient, failure
from adapters.torchserve.loading import RAW_SIGNATURE

TENSORS = Signature((TensorSpec("x", DataType.FP32, (None, 2)),), (TensorSpec("y", DataType.FP32, (None, 2)),))
ONES = {"x": np.ones((1, 2), np.float32)}


class FakeTorchServe:
    """Answers every request with `answer`, and remembers what came."""

    def __init__(self) -> None:
        self.port = free_port()
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.connections: set[object] = set()
        self.answer: Callable[[bytes], web.Response] = lambda body: web.Response(body=body)

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        self.connections.add(request.transport)
        self.bodies.append(await request.read())
        return self.answer(self.bodies[-1])

    def endpoint(self, **remote: str) -> Endpoint:
        remote = {"model": "m.1.abc", "kind": "tensors", **remote}
        signature = RAW_SIGNATURE if remote["kind"] == "raw" else TENSORS
        return Endpoint("torchserve", f"http://127.0.0.1:{self.port}", signature, "torchserve", None, remote)


@pytest.fixture
async def server() -> AsyncIterator[FakeTorchServe]:
    fake = FakeTorchServe()
    app = web.Application(client_max_size=2**20)
    app.router.add_post("/{verb:predictions|explanations}/{model:.+}", fake.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", fake.port).start()
    yield fake
    await runner.cleanup()


@pytest.fixture
async def client(server: FakeTorchServe) -> AsyncIterator[TorchServeClient]:
    connected = await TorchServeClient.connect(server.endpoint())
    yield connected
    await connected.aclose()


def refuse(server: FakeTorchServe, status: int, kind: str, message: str) -> None:
    error = {"code": status, "type": kind, "message": message}
    server.answer = lambda body: web.json_response(error, status=status)


def result(body: bytes) -> web.Response:
    tensors = wire.FrameReader().feed(body)[0].tensors()
    return web.Response(body=b"".join(wire.tensors_frame(wire.Kind.RESULT, 0, {"y": tensors["x"] * 2})))


async def test_tensors_go_and_come_as_frames_over_one_kept_connection(
    server: FakeTorchServe, client: TorchServeClient
) -> None:
    server.answer = result
    for _ in range(3):
        answer = await client.infer(ONES)
        np.testing.assert_array_equal(answer["y"], [[2, 2]])
    assert server.requests[0].path == "/predictions/m.1.abc"
    assert len(server.connections) == 1


async def test_the_token_of_the_endpoints_file_is_sent_and_nothing_needless(
    server: FakeTorchServe, tmp_path: Path
) -> None:
    server.answer = result
    (tmp_path / "token").write_text("s3cret")
    client = await TorchServeClient.connect(server.endpoint(token_file=str(tmp_path / "token")))
    await client.infer(ONES)
    await client.aclose()
    headers = server.requests[0].headers
    assert headers["Authorization"] == "Bearer s3cret"
    assert {name.lower() for name in headers} == {"host", "authorization", "content-type", "content-length"}


async def test_a_token_that_is_gone_makes_the_backend_unavailable(server: FakeTorchServe, tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="token cannot be read"):
        await TorchServeClient.connect(server.endpoint(token_file=str(tmp_path / "gone")))


async def test_an_error_frame_is_raised_as_the_error_that_it_carries(
    server: FakeTorchServe, client: TorchServeClient
) -> None:
    server.answer = lambda body: web.Response(body=wire.error_frame(0, InferenceFailed("the model failed: no")))
    with pytest.raises(InferenceFailed, match="the model failed: no"):
        await client.infer(ONES)


@pytest.mark.parametrize("body", [b"", b"nonsense", b"\x09" * 64])
async def test_an_answer_that_is_no_frame_is_a_failed_inference(
    server: FakeTorchServe, client: TorchServeClient, body: bytes
) -> None:
    server.answer = lambda _: web.Response(body=body)
    with pytest.raises(InferenceFailed, match="no tensors frame"):
        await client.infer(ONES)


@pytest.mark.parametrize(
    ("status", "kind", "message", "meaning"),
    [
        (400, "InvalidKeyException", "Token Authorization failed", BackendUnavailable),
        (400, "BadRequestException", "bad", InvalidInput),
        (404, "ModelNotFoundException", "Model not found: m", BackendUnavailable),
        (404, "ModelVersionNotFoundException", "no such version", BackendUnavailable),
        (413, "", "too large", InvalidInput),
        (415, "", "no such type", InvalidInput),
        (500, "InternalServerException", "Worker died.", BackendDied),
        (500, "InternalServerException", "number of batch response mismatched", InferenceFailed),
        (503, "InternalServerException", "Prediction failed", InferenceFailed),
        (503, "ServiceUnavailableException", "Model has no worker", BackendUnavailable),
        (507, "InternalServerException", "Worker died.", BackendDied),
        (507, "InternalServerException", "Out of resources", BackendUnavailable),
        (418, "Teapot", "short and stout", InferenceFailed),
    ],
)
async def test_each_of_torchserves_errors_has_its_meaning(
    server: FakeTorchServe,
    client: TorchServeClient,
    status: int,
    kind: str,
    message: str,
    meaning: type[ServingError],
) -> None:
    refuse(server, status, kind, message)
    with pytest.raises(ServingError) as raised:
        await client.infer(ONES)
    assert type(raised.value) is meaning
    assert message.rstrip(".") in str(raised.value)


def test_an_error_without_json_keeps_its_text() -> None:
    assert "Bad Gateway" in str(failure(502, b"<h1>Bad Gateway</h1>"))
    assert "no reason given" in str(failure(502, b""))


async def test_where_nothing_listens_the_backend_is_unavailable() -> None:
    client = await TorchServeClient.connect(FakeTorchServe().endpoint())
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        await client.infer(ONES)
    await client.aclose()


async def test_a_closed_client_is_unavailable(client: TorchServeClient) -> None:
    await client.aclose()
    with pytest.raises(BackendUnavailable, match="closed"):
        await client.infer(ONES)


async def test_a_body_beyond_the_limit_is_refused_before_it_is_sent(server: FakeTorchServe) -> None:
    client = await TorchServeClient.connect(server.endpoint(max_bytes="40"))
    with pytest.raises(InvalidInput, match="expected at most 40 bytes of inputs, got"):
        await client.infer(ONES)
    await client.aclose()
    assert not server.requests


async def test_a_raw_model_gets_each_element_as_a_body_and_gives_each_answer_as_one(server: FakeTorchServe) -> None:
    server.answer = lambda body: web.Response(body=body[::-1] + b"\0")
    client = await TorchServeClient.connect(server.endpoint(kind="raw"))
    elements = [f"{number:03}".encode() for number in range(40)]
    answer = await client.infer({"data": np.array(elements, np.object_)})
    assert list(answer["prediction"]) == [element[::-1] + b"\0" for element in elements]
    empty = await client.infer({"data": np.empty(0, np.object_)})
    assert empty["prediction"].shape == (0,)
    await client.aclose()


async def test_one_failing_element_fails_a_raw_request(server: FakeTorchServe) -> None:
    def answer(body: bytes) -> web.Response:
        error = {"code": 503, "type": "InternalServerException", "message": "Prediction failed"}
        return web.json_response(error, status=503) if body == b"bad" else web.Response(body=body)

    server.answer = answer
    client = await TorchServeClient.connect(server.endpoint(kind="raw"))
    with pytest.raises(InferenceFailed, match="Prediction failed"):
        await client.infer({"data": np.array([b"good", b"bad"], np.object_)})
    await client.aclose()


async def exchange(server: FakeTorchServe, body: bytes = b"b", explain: bool = False, **headers: str) -> RawAnswer:
    client = await TorchServeClient.connect(server.endpoint(kind="raw"))
    try:
        return await client.exchange(body, headers, explain=explain)
    finally:
        await client.aclose()


async def test_a_body_is_given_to_the_handler_with_its_headers_alone_and_its_answer_taken_as_it_is(
    server: FakeTorchServe,
) -> None:
    packed = gzip.compress(b"answer")
    server.answer = lambda body: web.Response(
        status=299, body=packed, headers={"Content-Encoding": "gzip", "X-Own": "é", "Content-Type": "a/b"}
    )
    answer = await exchange(server, b"\0body", **{"content-type": "text/plain", "x-mine": "ü"})
    assert server.bodies == [b"\0body"]
    headers = {name.lower(): value for name, value in server.requests[0].headers.items()}
    assert headers.keys() == {"host", "content-type", "content-length", "x-mine"}
    assert (headers["content-type"], headers["x-mine"]) == ("text/plain", "ü")
    assert (answer.status, answer.body) == (299, packed)
    assert (b"X-Own", "é".encode()) in answer.headers
    await exchange(server)
    assert "content-type" not in {name.lower() for name in server.requests[1].headers}


async def test_explanations_have_an_address_of_their_own(server: FakeTorchServe) -> None:
    await exchange(server, explain=True)
    assert server.requests[0].path == "/explanations/m.1.abc"


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (400, "BadRequestException", "bad"),
        (404, "OwnException", "no such cat"),
        (418, "Teapot", "short"),
        (500, "InternalServerException", "Worker died."),
        (503, "InternalServerException", "Prediction failed"),
        (507, "InternalServerException", "Out of resources"),
    ],
)
async def test_a_handlers_own_refusal_is_its_answer(
    server: FakeTorchServe, status: int, kind: str, message: str
) -> None:
    refuse(server, status, kind, message)
    answer = await exchange(server)
    assert (answer.status, message in answer.body.decode()) == (status, True)


@pytest.mark.parametrize("body", [b"[" * 5000, b"[1]", b"{}", b"\xff", b""])
async def test_a_refusal_that_is_not_json_is_an_answer_too(server: FakeTorchServe, body: bytes) -> None:
    server.answer = lambda _: web.Response(status=404, body=body)
    assert (await exchange(server)).body == body


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "InvalidKeyException"),
        (404, "ModelNotFoundException"),
        (404, "ModelVersionNotFoundException"),
        (503, "ServiceUnavailableException"),
    ],
)
async def test_what_torchserve_says_instead_of_the_handler_is_not_passed_on(
    server: FakeTorchServe, status: int, kind: str
) -> None:
    refuse(server, status, kind, "m.1.abc")
    with pytest.raises(BackendUnavailable):
        await exchange(server)


async def test_an_answer_without_end_is_cut_off(server: FakeTorchServe) -> None:
    server.answer = lambda body: web.Response(body=b"x" * 1000)
    client = await TorchServeClient.connect(server.endpoint(kind="raw", max_bytes="999"))
    with pytest.raises(InferenceFailed, match="answer of at most 999 bytes"):
        await client.exchange(b"", {})
    with pytest.raises(InvalidInput, match="at most 999 bytes of inputs, got 1000"):
        await client.exchange(b"x" * 1000, {})
    await client.aclose()


async def test_a_handler_is_reached_by_what_can_reach_it() -> None:
    client = await TorchServeClient.connect(FakeTorchServe().endpoint(kind="raw"))
    assert isinstance(client, RawServable)
    with pytest.raises(BackendUnavailable, match="cannot be reached"):
        await client.exchange(b"", {})
    await client.aclose()
    with pytest.raises(BackendUnavailable, match="closed"):
        await client.exchange(b"", {})
