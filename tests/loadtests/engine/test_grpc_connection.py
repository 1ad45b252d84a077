from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import hpack
import pytest

from loadtests.dialects import Reply, probe
from loadtests.engine import http2
from loadtests.engine.grpc_connection import GrpcConnection, to_call
from loadtests.engine.http2 import frame
from loadtests.engine.plan import Request, Target
from tests.loadtests.engine.listening import Heard, Nowhere

TARGET = Target("127.0.0.1", 1, "grpc")
MESSAGE = b"\0" + struct.pack(">I", 5) + b"hello"


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[bytes, Any], bytes]], Target]]:
    """Starts a gRPC server whose method /test.Service/Call takes and gives bytes."""
    servers = []

    def start(act: Callable[[bytes, Any], bytes]) -> Target:
        server = grpc.server(
            ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)]
        )
        handler = grpc.unary_unary_rpc_method_handler(act)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", {"Call": handler}),))
        port: int = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return Target("127.0.0.1", port, "grpc")

    yield start
    for server in servers:
        server.stop(0).wait()


def call(target: Target, body: bytes, *headers: tuple[str, str]) -> Reply:
    return probe(target, Request("/test.Service/Call", body, headers))


@pytest.mark.parametrize("size", [0, 5, 100_000, 10_000_000])
def test_a_message_of_any_size_goes_there_and_back(serve: Callable[..., Target], size: int) -> None:
    message = (bytes(range(256)) * (size // 256 + 1))[:size]
    reply = call(serve(lambda sent, _: sent), message)

    assert (reply.status, reply.failure) == (0, "")
    assert reply.body == message


def test_a_refusal_tells_its_status_and_text(serve: Callable[..., Target]) -> None:
    def refuse(_message: bytes, context: Any) -> bytes:
        answer: bytes = context.abort(grpc.StatusCode.UNAVAILABLE, "später")
        return answer

    reply = call(serve(refuse), b"")

    assert (reply.status, reply.failure, reply.message) == (14, "gRPC 14", "später")


def test_metadata_goes_out_and_trailing_metadata_comes_back(serve: Callable[..., Target]) -> None:
    def who(_message: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("torii-served-by", "digits/1@tflite"),))
        return str(dict(context.invocation_metadata())["x-long"]).encode()

    reply = call(serve(who), b"", ("X-Long", "a" * 300))

    assert reply.served_by == "digits/1@tflite"
    assert reply.body == b"a" * 300


class Server:
    """Writes frames by hand."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.connection = GrpcConnection(self.heard, keeps_bodies=True)
        self.transport = Nowhere(self.connection)
        self.connection.connection_made(self.transport)
        self._hpack = hpack.Encoder()
        self._stream = -1

    def called(self, body: bytes = b"") -> None:
        self._stream += 2
        self.connection.busy = True
        self.connection.send(to_call(TARGET, Request("/a/B", body)))

    def block(self, *fields: tuple[str, str]) -> bytes:
        return self._hpack.encode(fields)

    def head(self) -> bytes:
        fields = self.block((":status", "200"), ("content-type", "application/grpc"))
        return frame(http2.HEADERS, http2.END_HEADERS, self._stream, fields)

    def trailers(self, *more: tuple[str, str]) -> bytes:
        fields = self.block(("grpc-status", "0"), *more)
        return frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, self._stream, fields)

    def data(self) -> bytes:
        return frame(http2.DATA, 0, self._stream, MESSAGE)

    def send(self, data: bytes, pieces: int = 1 << 20) -> None:
        for at in range(0, len(data), pieces):
            self.connection.data_received(data[at : at + pieces])


@pytest.mark.parametrize("pieces", [1, 5, 10_000])
def test_answers_may_come_in_any_pieces_and_their_headers_from_tables(pieces: int) -> None:
    server = Server()
    for number in range(6):
        server.called()
        served_by = ("torii-served-by", f"digits/{number % 2 + 1}@tflite")
        server.send(server.head() + server.data() + server.trailers(served_by), pieces)

    heard = [(answer.status, answer.served_by, body) for answer, body in server.heard.answers]
    assert heard == [(0, f"digits/{number % 2 + 1}@tflite", b"hello") for number in range(6)]


def test_a_header_block_may_go_on_in_other_frames_and_be_padded() -> None:
    server = Server()
    server.called()
    fields = server.block((":status", "200"), ("grpc-status", "5"), ("grpc-message", "no%20such"))
    padded = b"\x02" + fields[:3] + b"\0\0"
    first = frame(http2.HEADERS, http2.END_STREAM | http2.PADDED, 1, padded)
    server.send(first + frame(http2.CONTINUATION, http2.END_HEADERS, 1, fields[3:]))

    answer, _ = server.heard.answers[0]
    assert (answer.failure, answer.message) == ("gRPC 5", "no such")


def test_a_server_that_goes_away_answers_what_it_took_and_takes_no_more() -> None:
    server = Server()
    server.called()
    server.send(frame(http2.GOAWAY, 0, 0, struct.pack(">II", 1, 0)))
    server.send(server.head() + server.data() + server.trailers())

    assert server.heard.answers[0][0].closes
    assert server.transport.closed


def test_what_a_server_that_goes_away_did_not_take_has_no_answer() -> None:
    server = Server()
    server.called()
    server.send(frame(http2.GOAWAY, 0, 0, struct.pack(">II", 0, 0) + b"too_many_pings"))

    assert not server.heard.answers
    assert "too_many_pings" in server.heard.reasons[0]


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (lambda server: frame(http2.RST_STREAM, 0, 1, struct.pack(">I", 7)), "reset"),
        (lambda server: server.head() + server.trailers(), "no message"),
        (lambda server: server.head() + frame(http2.DATA, http2.END_STREAM, 1, MESSAGE), "no trailers"),
        (lambda server: frame(http2.HEADERS, 5, 1, server.block((":status", "502"))), "status 502"),
        (lambda server: frame(http2.HEADERS, 5, 1, server.block((":status", "200"))), "no status"),
    ],
)
def test_an_answer_that_lacks_something_is_a_failure(answer: Callable[[Server], bytes], failure: str) -> None:
    server = Server()
    server.called()
    server.send(answer(server))

    assert [each.failure for each, _ in server.heard.answers] == [failure]
    assert not server.transport.closed


@pytest.mark.parametrize(
    "sent", [frame(http2.HEADERS, 5, 1, b"\xff\xff\xff\xff\xff"), frame(http2.PUSH_PROMISE, 4, 1, b"")]
)
def test_what_cannot_be_read_ends_the_connection(sent: bytes) -> None:
    server = Server()
    server.called()
    server.send(sent)

    assert server.transport.closed
    assert not server.heard.answers


def test_a_long_message_waits_for_the_servers_windows_and_is_dropped_where_it_is_refused_early() -> None:
    server = Server()
    server.called(b"x" * 100_000)
    assert len(server.transport.written) < 70_000
    server.send(frame(http2.HEADERS, 5, 1, server.block((":status", "200"), ("grpc-status", "8"))))

    assert server.heard.answers[0][0].failure == "gRPC 8"
    assert server.transport.written.endswith(frame(http2.RST_STREAM, 0, 1, struct.pack(">I", http2.CANCEL)))


def test_a_ping_is_answered() -> None:
    server = Server()
    server.send(frame(http2.PING, 0, 0, b"12345678"))

    assert server.transport.written.endswith(frame(http2.PING, http2.ACK, 0, b"12345678"))
