"""Bytes that no server should send: a connection answers, waits or ends, and never does anything else."""

from __future__ import annotations

import struct

import hpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loadtests.engine import http2
from loadtests.engine.connection import Connection
from loadtests.engine.grpc_connection import GrpcConnection, to_call
from loadtests.engine.header_blocks import BadHeaders, HeaderBlocks
from loadtests.engine.http1 import Heads, HttpConnection
from loadtests.engine.http2 import frame
from loadtests.engine.plan import Request, Target
from tests.loadtests.engine.listening import Heard, Nowhere

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CALL = to_call(Target("127.0.0.1", 1, "grpc"), Request("/a/B", b"x" * 70_000))


def http(keeps: bool = True) -> tuple[HttpConnection, Heard, Nowhere]:
    return _made(lambda heard: HttpConnection(heard, Heads(), keeps))


def grpc() -> tuple[Connection, Heard, Nowhere]:
    return _made(lambda heard: GrpcConnection(heard, keeps_bodies=True))


def _made(make):  # type: ignore[no-untyped-def]
    heard = Heard()
    connection = make(heard)
    transport = Nowhere(connection)
    connection.connection_made(transport)
    connection.busy = True
    connection.send(CALL if isinstance(connection, GrpcConnection) else b"POST / HTTP/1.1\r\n\r\n")
    return connection, heard, transport


def feed(connection: Connection, heard: Heard, transport: Nowhere, pieces: list[bytes]) -> None:
    for each in pieces:
        if not transport.closed:
            connection.data_received(each)
    assert len(heard.answers) <= 1 or not transport.closed or len(pieces) > 1
    assert len(heard.reasons) == transport.closed


http_pieces = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            OK,
            OK[:20],
            OK[20:],
            CONTINUE,
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.0 99 x\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n",
            b"Content-Length: -1\r\n",
            b"\r\n\r\n",
            b"0\r\n",
            b"\r\n",
            b"3\r\nabc\r\n",
            b"-5\r\n",
            b"+3\r\n",
            b"0x3\r\n",
            b"fffffffff\r\n",
            b";\r\n",
        ]
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(http_pieces, max_size=8))
def test_whatever_comes_over_http(pieces: list[bytes]) -> None:
    feed(*http(), pieces)


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        *(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n"
            for size in (b"+3", b"0x3", b"1_0")
        ),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 5000,
    ],
)
def test_a_length_that_is_none_ends_the_connection(sent: bytes) -> None:
    connection, heard, transport = http()
    connection.data_received(sent)

    assert transport.closed
    assert not heard.answers


def test_100_continue_is_no_answer_though_it_came_before_by_itself() -> None:
    connection, heard, _ = http()
    for number in range(3):
        connection.busy = True
        connection.data_received(CONTINUE)
        assert len(heard.answers) == number
        connection.data_received(OK)

    assert [each.status for each, _ in heard.answers] == [200] * 3


def test_of_an_endless_refusal_only_the_beginning_is_kept() -> None:
    connection, heard, transport = http(keeps=False)
    connection.data_received(b"HTTP/1.1 500 No\r\n\r\n")
    for _ in range(1000):
        connection.data_received(b"x" * 10_000)
    transport.close()

    assert 0 < len(heard.answers[0][1]) < 100_000


frames = st.builds(
    frame,
    st.integers(0, 11),
    st.sampled_from([0, 1, 4, 5, 8, 32, 255]),
    st.sampled_from([0, 1, 1, 1, 3]),
    st.one_of(
        st.binary(max_size=12),
        st.sampled_from(
            [
                hpack.Encoder().encode([(":status", "200"), ("grpc-status", "0")]),
                hpack.Encoder().encode([(":status", "200"), ("grpc-status", "9" * 5000)]),
                struct.pack(">I", 2**31 - 1),
                struct.pack(">HI", http2.MAX_FRAME_SIZE, 0),
                struct.pack(">HI", http2.INITIAL_WINDOW_SIZE, 2**32 - 1),
                b"\0\0\0\0\x02ok",
            ]
        ),
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(frames | st.binary(max_size=20), max_size=10).map(b"".join), st.integers(1, 50))
@example(frame(http2.HEADERS, 5, 1, hpack.Encoder().encode([(":status", "200"), ("grpc-status", "9" * 5000)])), 50)
@example(frame(http2.WINDOW_UPDATE, 0, 1, b"\xff" * 500), 50)
def test_whatever_comes_over_grpc(sent: bytes, size: int) -> None:
    feed(*grpc(), [sent[at : at + size] for at in range(0, len(sent), size)])


def test_a_frame_that_is_longer_than_allowed_is_not_waited_for() -> None:
    connection, heard, transport = grpc()
    connection.data_received(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    assert transport.closed
    assert "is this HTTP/2?" in heard.reasons[0]


def test_a_server_that_takes_frames_of_no_size_is_given_up() -> None:
    connection, heard, transport = grpc()
    connection.data_received(frame(http2.SETTINGS, 0, 0, struct.pack(">HI", http2.MAX_FRAME_SIZE, 0)))

    assert transport.closed
    assert "too few" in heard.reasons[0]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=4))
@example([b"\x1f" + b"\xff" * 10_000])
def test_a_header_block_is_read_or_bad(blocks: list[bytes]) -> None:
    read = HeaderBlocks()
    try:
        for each in blocks:
            assert all(isinstance(name, str) for name in read.read(each))
    except BadHeaders:
        pass
