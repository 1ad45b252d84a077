"""What holds for every dialect: bodies in pieces and packed, pipelining, names, limits, and errors in its own form."""

from __future__ import annotations

import gzip
import json
import socket
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish


@dataclass(frozen=True)
class Dialect:
    """How one protocol asks model `add` for [1, 2] + 1."""

    path: str
    body: bytes
    answer: bytes
    error_keys: frozenset[str]

    def named(self, model: str) -> str:
        return self.path.replace("/add", f"/{model}", 1)


DIALECTS = {
    "v2": Dialect(
        "/v2/models/add/infer",
        json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}).encode(),
        b'"data":[2.0,3.0]',
        frozenset({"error"}),
    ),
    "tf_serving": Dialect("/v1/models/add:predict", b'{"instances": [[1, 2]]}', b"[2.0, 3.0]", frozenset({"error"})),
    "torchserve": Dialect("/predictions/add", b"[[1, 2]]", b"[[2.0,3.0]]", frozenset({"code", "type", "message"})),
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    repository = tmp_path_factory.mktemp("dialects") / "repository"
    publish(repository, "add", 1, {"model.onnx": add_model(1)})
    with RunningGateway.start(repository, MAX_BODY_BYTES="100000") as running:
        running.wait_ready(within_s=60)
        yield running


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest, gateway: RunningGateway) -> Iterator[Dialect]:
    asked = DIALECTS[request.param]
    yield asked
    assert answer_of(gateway, asked, asked.body) == asked.answer  # whatever was sent: the next one is served


def answer_of(gateway: RunningGateway, dialect: Dialect, body: bytes, **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = gateway.post(dialect.path, content=body, headers=named)
    assert response.status_code == 200, response.text
    assert response.headers["torii-served-by"] == "add/1@onnxruntime"
    assert dialect.answer.replace(b" ", b"") in response.content.replace(b" ", b"").replace(b"\n", b"")
    return dialect.answer


def refused(gateway: RunningGateway, dialect: Dialect, status: int, body: bytes, **arguments: Any) -> str:
    response = gateway.post(arguments.pop("path", dialect.path), content=body, **arguments)
    assert response.status_code == status, response.text
    document = response.json()
    assert set(document) == dialect.error_keys
    assert document.get("code", status) == status
    return str(document.get("error") or document["message"])


def exchange(gateway: RunningGateway, *pieces: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])), timeout=10) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def head(dialect: Dialect, *headers: bytes) -> bytes:
    lines = [f"POST {dialect.path} HTTP/1.1".encode(), b"Host: x", b"Content-Type: application/json", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def test_a_body_may_come_in_chunks_of_one_byte(gateway: RunningGateway, dialect: Dialect) -> None:
    chunks = [b"1\r\n%c\r\n" % byte for byte in dialect.body]
    answer = exchange(
        gateway, head(dialect, b"Transfer-Encoding: chunked", b"Connection: close"), *chunks, b"0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 200")


def test_pipelined_requests_are_answered_in_order(gateway: RunningGateway, dialect: Dialect) -> None:
    good = head(dialect, b"Content-Length: %d" % len(dialect.body)) + dialect.body
    bad = head(dialect, b"Content-Length: 1") + b"{"
    last = head(dialect, b"Content-Length: %d" % len(dialect.body), b"Connection: close") + dialect.body
    answers = exchange(gateway, good + bad + good + last).split(b"HTTP/1.1 ")[1:]
    assert [each[:3] for each in answers] == [b"200", b"400", b"200", b"200"]


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_packed_body_is_unpacked(gateway: RunningGateway, dialect: Dialect, encoding: str, pack: Any) -> None:
    answer_of(gateway, dialect, pack(dialect.body), content_encoding=encoding)


def test_a_bomb_and_what_is_not_packed_are_refused(gateway: RunningGateway, dialect: Dialect) -> None:
    packed = {"headers": {"content-encoding": "gzip"}}
    assert "100000" in refused(gateway, dialect, 413, gzip.compress(bytes(30_000_000)), **packed)
    assert "expected gzip" in refused(gateway, dialect, 400, dialect.body, **packed)
    assert "ends in the middle" in refused(gateway, dialect, 400, gzip.compress(dialect.body)[:-1], **packed)
    assert "'br'" in refused(gateway, dialect, 400, dialect.body, headers={"content-encoding": "br"})


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused(gateway: RunningGateway, dialect: Dialect, chunked: bool) -> None:
    body = dialect.body + b" " * 100_000
    assert "100000" in refused(gateway, dialect, 413, iter([body]) if chunked else body)


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[" * 50_000,
        b"[" * 20_000 + b"]" * 20_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"null",
        b"1e400",
        b'"text"',
        b"[[1, 2], [3]]",
        b"[[true, 2]]",
        b'[["1", 2]]',
        b"[[null, 2]]",
        b"[[1e39, 2]]",
        b"[[1, 2, 3]]",
        b"[[NaN, 1]",
        b'{"inputs": 1}',
        b'{"instances": [[1, "\xff"]]}',
        b"\x93NUMPY",
        b"\x00" * 50_000,
    ],
)
def test_rubbish_is_the_caller_s_fault(gateway: RunningGateway, dialect: Dialect, rubbish: bytes) -> None:
    assert refused(gateway, dialect, 400, rubbish)


@pytest.mark.parametrize(
    "model",
    ["..%2F..%2Fetc", "%2e%2e", "%252e%252e%252f", "add%2Fx", "add%00", "a%0d%0ab", "add%5c..", "%ff", "A" * 300],
)
def test_no_name_reaches_beyond_the_repository(gateway: RunningGateway, dialect: Dialect, model: str) -> None:
    response = gateway.post(dialect.named(model), content=dialect.body)
    assert response.status_code in (400, 404), response.text
    assert set(response.json()) == dialect.error_keys


@pytest.mark.parametrize("model", ["nothing", "add@tflite", "add@nothing"])
def test_what_is_not_there_is_not_found_in_every_dialect(gateway: RunningGateway, dialect: Dialect, model: str) -> None:
    assert refused(gateway, dialect, 404, dialect.body, path=dialect.named(model))


def test_an_object_with_a_key_twice_is_not_an_error_of_ours(gateway: RunningGateway, dialect: Dialect) -> None:
    body = b'{"inputs": [[1, 2]], "inputs": [[1, 2]], "x": [[1, 2]], "x": [[1, 2]], "instances": 1, "instances": 2}'
    assert gateway.post(dialect.path, content=body).status_code in (200, 400)
