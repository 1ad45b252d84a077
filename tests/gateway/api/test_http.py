"""uvicorn's protocol with the short way for dialects: bytes in, bytes out, whatever pieces they come in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from adapters.errors import ServingError
from gateway.api.dialect import Answer, HttpRequest
from gateway.api.endpoint import DialectEndpoint
from gateway.api.http import HttpProtocol
from tests.waiting import turns

LIMIT = 1000
HEAD = b"POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


class Says:
    """A dialect that claims /say and sends bodies back, with what it saw of the head; `/say/held` waits."""

    status: Mapping[type[ServingError], int] = MappingProxyType({})

    def __init__(self) -> None:
        self.seen: list[HttpRequest] = []
        self.hold = asyncio.Event()
        self.cancelled = 0

    def claims(self, method: str, path: bytes) -> bool:
        return path.startswith(b"/say")

    async def answer(self, request: HttpRequest) -> Answer:
        self.seen.append(request)
        if request.path == b"/say/held":
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        elif b"yield" in request.query:
            await asyncio.sleep(0)
        return Answer((b"<", request.body, b">"), headers=((b"content-type", b"text/plain"),))

    def error_body(self, status: int, error: ServingError) -> bytes:
        return str(error).encode()


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = self.aborted = False
        self.reading = True
        self.unsent = 0

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class Port:
    """An inference port, and connections to it."""

    def __init__(self) -> None:
        self.dialect = Says()
        self.endpoint = DialectEndpoint([self.dialect], LIMIT, _behind)
        self.config = uvicorn.Config(
            self.endpoint, http=HttpProtocol, lifespan="off", log_config=None, proxy_headers=False
        )
        self.config.load()
        self.state = ServerState()

    def connect(self) -> tuple[HttpProtocol, Wire]:
        connection, wire = HttpProtocol(self.config, self.state, {}), Wire()
        connection.connection_made(wire)
        return connection, wire


async def _behind(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
    await send({"type": "http.response.body", "body": b"behind"})


def run(test: Callable[[Port], Coroutine[Any, Any, None]]) -> None:
    async def on_port() -> None:
        await test(Port())

    asyncio.run(on_port())


def bodies(written: bytes) -> list[bytes]:
    found: list[bytes] = []
    while written:
        head, _, rest = written.partition(b"\r\n\r\n")
        match = re.search(rb"content-length: (\d+)", head)
        assert match, head
        found.append(rest[: int(match[1])])
        written = rest[int(match[1]) :]
    return found


def post(body: bytes, path: bytes = b"/say", *headers: bytes, name: bytes = b"Content-Length") -> bytes:
    lines = (b"POST " + path + b" HTTP/1.1", b"Host: x", *headers, name + b": %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    head = b"POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"


REQUESTS = st.one_of(
    st.binary(max_size=30).map(lambda body: (post(body), b"<" + body + b">")),
    st.binary(max_size=30).map(lambda body: (post(body, b"/say?yield", name=b"content-length"), b"<" + body + b">")),
    st.binary(max_size=30).map(lambda body: (post(body, b"/say", b"X-Trace: 1"), b"<" + body + b">")),
    st.binary(max_size=30).map(lambda body: (chunked(body), b"<" + body + b">")),
    st.just((b"GET /say HTTP/1.1\r\nHost: x\r\n\r\n", b"<>")),
)


@given(st.lists(REQUESTS, min_size=1, max_size=8), st.data())
def test_requests_are_answered_in_order_whatever_pieces_they_come_in(
    requests: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(sent for sent, _ in requests)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pauses = data.draw(st.lists(st.booleans(), min_size=len(cuts) + 1, max_size=len(cuts) + 1))

    async def test(port: Port) -> None:
        connection, wire = port.connect()
        for begin, end, pause in zip([0, *cuts], [*cuts, len(stream)], pauses, strict=True):
            if begin < end:
                connection.data_received(stream[begin:end])
            if pause:
                await turns()
        await turns(200)
        assert bodies(bytes(wire.written)) == [answer for _, answer in requests]
        assert not wire.closed
        assert wire.reading

    run(test)


def test_a_head_that_is_known_means_what_it_meant_when_it_was_parsed() -> None:
    async def test(port: Port) -> None:
        for body in (b"parsed", b"known", b"known and longer"):
            connection, wire = port.connect()
            connection.data_received(post(body, b"/say/a%20b?q=1", b"Inference-Header-Content-Length: 3"))
            await turns()
            assert bodies(bytes(wire.written)) == [b"<" + body + b">"]
        first, *others = port.dialect.seen
        for other in others:
            assert (other.method, other.path, other.query, other.headers) == (
                *("POST", b"/say/a%20b", b"q=1"),
                {b"host": b"x", b"inference-header-content-length": b"3"},
            )
            assert other.headers is first.headers, "it was not parsed again"

    run(test)


@pytest.mark.parametrize(
    "head",
    [
        b"POST /say HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n",
        b"POST /say HTTP/1.1\r\nX: a\r\nX: b\r\nContent-Length: 4\r\n\r\n",
        b"POST /say HTTP/1.1\r\nContent-Length: 4 \r\n\r\n",
        b"POST /say HTTP/1.1\r\nContent-Length:4\r\n\r\n",
        b"POST /say HTTP/1.1\r\nX: \tContent-Length: 4\r\ncontent-Length: 4\r\n\r\n",
        b"POST /say HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
        b"POST /say HTTP/1.0\r\nContent-Length: 4\r\n\r\n",
        b"POST /say HTTP/1.1\r\nConnection: close\r\nContent-Length: 4\r\n\r\n",
        b"POST /say HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
        b"POST /other HTTP/1.1\r\nContent-Length: 4\r\n\r\n",
    ],
)
def test_a_head_that_could_be_read_in_two_ways_is_parsed_each_time(head: bytes) -> None:
    async def test(port: Port) -> None:
        connection, _ = port.connect()
        connection.data_received(head + b"body")
        await turns()
        assert port.endpoint.heads.find(head + b"body") is None

    run(test)


def test_known_heads_are_not_kept_without_end() -> None:
    async def test(port: Port) -> None:
        connection, _ = port.connect()
        first, last = post(b"1", b"/say/0"), post(b"1", b"/say/2999")
        for number in range(3000):
            connection.data_received(post(b"1", b"/say/%d" % number))
            await turns(3)
        assert port.endpoint.heads.find(first) is None
        assert port.endpoint.heads.find(last) is not None
        long = post(b"1", b"/say/" + b"x" * 5000)
        connection.data_received(long)
        await turns()
        assert port.endpoint.heads.find(long) is None

    run(test)


def test_one_request_of_a_connection_runs_at_a_time() -> None:
    async def test(port: Port) -> None:
        connection, wire = port.connect()
        connection.data_received(post(b"1", b"/say/held") + post(b"2") + post(b"3"))
        await turns()
        assert (len(port.dialect.seen), wire.reading) == (1, False)
        port.dialect.hold.set()
        await turns(20)
        assert bodies(bytes(wire.written)) == [b"<1>", b"<2>", b"<3>"]
        assert wire.reading

    run(test)


def test_a_caller_who_hangs_up_ends_its_request() -> None:
    async def test(port: Port) -> None:
        connection, wire = port.connect()
        connection.data_received(post(b"1", b"/say/held") + post(b"2"))
        await turns()
        connection.connection_lost(None)
        await turns()
        assert (port.dialect.cancelled, len(port.dialect.seen), bytes(wire.written)) == (1, 1, b"")
        assert not port.state.tasks

    run(test)


def test_a_body_over_the_limit_is_refused_unread_and_the_connection_closed() -> None:
    async def test(port: Port) -> None:
        announced, known = HEAD % (LIMIT + 1), HEAD % LIMIT + b"x" * LIMIT
        endless = b"POST /say HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"200\r\n" + b"x" * 512 + b"\r\n"
        for pieces in ([announced], [known, announced], [endless, b"200\r\n", b"x" * 512]):
            connection, wire = port.connect()
            for piece in pieces:
                connection.data_received(piece)
                await turns()
            assert wire.closed
            assert b"HTTP/1.1 413 " in wire.written or b"HTTP/1.1 500 " in wire.written
            assert b"connection: close" in wire.written
            assert b"body: expected at most 1000 bytes, got" in wire.written

    run(test)


def test_a_caller_who_asks_whether_to_go_on_is_told_so_or_refused() -> None:
    async def test(port: Port) -> None:
        expects = b"POST /say HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        connection, wire = port.connect()
        connection.data_received(expects % 4)
        assert bytes(wire.written) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.written.clear()
        connection.data_received(b"body")
        await turns()
        assert bodies(bytes(wire.written)) == [b"<body>"]
        connection, wire = port.connect()
        connection.data_received(expects % (LIMIT + 1))
        await turns()
        assert b"expected at most" in wire.written
        assert b"Continue" not in wire.written

    run(test)


def test_head_requests_get_no_body_and_old_clients_are_closed_on() -> None:
    async def test(port: Port) -> None:
        connection, wire = port.connect()
        connection.data_received(b"HEAD /say HTTP/1.1\r\nHost: x\r\n\r\n")
        await turns()
        assert b"content-length: 2" in wire.written
        assert wire.written.endswith(b"\r\n\r\n")
        for request in (
            b"POST /say HTTP/1.0\r\nContent-Length: 1\r\n\r\n1",
            b"POST /say HTTP/1.1\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1",
        ):
            connection, wire = port.connect()
            connection.data_received(request)
            await turns()
            assert wire.closed
            assert b"connection: close" in wire.written

    run(test)


def test_requests_of_both_ways_on_one_connection_are_never_answered_out_of_order() -> None:
    behind = b"GET /behind HTTP/1.1\r\nHost: x\r\n\r\n"

    async def test(port: Port) -> None:
        for stream, answers in (
            (post(b"1", b"/say?yield") + behind, [b"<1>"]),
            (behind + post(b"1"), [b"behind"]),
            (behind + behind, [b"behind", b"behind"]),
        ):
            connection, wire = port.connect()
            connection.data_received(stream)
            await turns(20)
            assert bodies(bytes(wire.written)) == answers
            assert wire.closed == (len(answers) == 1), "a pipelined request of the other way is left to be sent again"
        connection, wire = port.connect()
        for request in (post(b"1"), behind, post(b"2"), behind, behind, post(b"3")):
            connection.data_received(request)
            await turns()
        assert bodies(bytes(wire.written)) == [b"<1>", b"behind", b"<2>", b"behind", b"behind", b"<3>"]

    run(test)


def test_what_is_no_http_is_refused_after_the_answers_before_it() -> None:
    async def test(port: Port) -> None:
        connection, wire = port.connect()
        connection.data_received(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert wire.written.startswith(b"HTTP/1.1 400")
        connection, wire = port.connect()
        connection.data_received(post(b"1") + b"\x16\x03\x01 nonsense\r\n\r\n")
        await turns()
        assert bodies(bytes(wire.written)) == [b"<1>"]
        assert wire.closed

    run(test)


def test_a_server_that_stops_answers_what_it_received_and_closes() -> None:
    async def test(port: Port) -> None:
        idle, idle_wire = port.connect()
        busy, wire = port.connect()
        busy.data_received(post(b"1", b"/say/held") + post(b"2"))
        await turns()
        idle.shutdown()
        busy.shutdown()
        assert (idle_wire.closed, wire.closed) == (True, False)
        port.dialect.hold.set()
        await turns(20)
        assert bodies(bytes(wire.written)) == [b"<1>", b"<2>"]
        assert wire.closed

    run(test)


def test_nothing_more_is_begun_for_a_caller_who_does_not_read() -> None:
    async def test(port: Port) -> None:
        connection, wire = port.connect()
        connection.pause_writing()
        connection.data_received(post(b"1") + post(b"2"))
        await turns()
        assert (port.dialect.seen, wire.reading) == ([], False)
        connection.resume_writing()
        await turns(20)
        assert bodies(bytes(wire.written)) == [b"<1>", b"<2>"]

    run(test)


class Clock:
    """A loop's clock and timers in a test's hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        self.calls: list[tuple[float, Callable[[], None]]] = []
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: self.now_s)
        monkeypatch.setattr(loop, "call_later", self._call_later)

    def _call_later(self, delay_s: float, callback: Callable[..., None], *arguments: Any) -> Any:
        entry = (self.now_s + delay_s, lambda: callback(*arguments))
        self.calls.append(entry)

        class Handle:
            cancel = staticmethod(lambda: self.calls.remove(entry) if entry in self.calls else None)

        return Handle()

    def forward(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while due := [each for each in self.calls if each[0] <= until_s]:
            entry = min(due, key=lambda each: each[0])
            self.calls.remove(entry)
            self.now_s = entry[0]
            entry[1]()
        self.now_s = until_s


@pytest.mark.parametrize(
    ("sent", "stays_s", "gone_s"),
    [
        ([], 29, 6),
        ([b"POST /say HTTP"], 29, 6),
        ([post(b"1")], 4.5, 6),
        ([post(b"1"), post(b"12")[:-1]], 29, 6),
        ([post(b"12")[:-1]], 29, 6),
        ([post(b"1", b"/say/held")], 3600, None),
    ],
    ids=["nothing", "half a head", "an answered request", "half a known body", "half a body", "one that runs"],
)
async def test_a_connection_on_which_nothing_happens_is_closed(
    sent: list[bytes], stays_s: float, gone_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = Port()
    clock = Clock(monkeypatch)
    connection, wire = port.connect()
    for piece in sent:
        connection.data_received(piece)
        await turns()
    clock.forward(stays_s)
    assert not wire.closed
    if gone_s is not None:
        clock.forward(gone_s)
        assert wire.closed


OFFER = b"POST /say HTTP/1.1\r\nConnection: Upgrade\r\n%bContent-Length: 24\r\n\r\nGET /say HTTP/1.1\r\nA: b\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [OFFER % b"UPGRADE: x\r\n"],
        [(OFFER % b"Upgrade: x\r\n")[:43], (OFFER % b"Upgrade: x\r\n")[43:]],
        [post(b"1") + OFFER % b"Upgrade: x\r\n"],
    ],
    ids=["in capitals", "in two pieces", "behind another request"],
)
def test_a_body_is_never_taken_for_a_request_by_way_of_an_upgrade(pieces: list[bytes]) -> None:
    async def test(port: Port) -> None:
        connection, wire = port.connect()
        for piece in pieces:
            if not wire.closed:
                connection.data_received(piece)
                await turns()
        assert not [each for each in port.dialect.seen if each.method == "GET"]
        assert wire.closed

    run(test)


def test_trailers_and_chunk_extensions_without_end_are_cut_off() -> None:
    async def test(port: Port) -> None:
        for endless in (b"0\r\n" + b"a: b\r\n" * 20_000, b"1;" + b"x" * 100_000):
            connection, wire = port.connect()
            connection.data_received(b"POST /say HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(endless), 4096):
                if not wire.closed:
                    connection.data_received(endless[at : at + 4096])
            assert wire.closed

    run(test)


def test_a_body_in_tiny_pieces_is_one_body() -> None:
    async def test(port: Port) -> None:
        connection, wire = port.connect()
        connection.data_received(b"POST /say HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        for byte in b"0123456789":
            connection.data_received(b"1\r\n%c\r\n" % byte)
        connection.data_received(b"0\r\n\r\n")
        await turns()
        assert bodies(bytes(wire.written)) == [b"<0123456789>"]

    run(test)


def test_many_requests_in_one_piece_leave_others_their_turn() -> None:
    async def test(port: Port) -> None:
        greedy, wire = port.connect()
        modest, others = port.connect()
        greedy.data_received(post(b"1") * 100)
        modest.data_received(post(b"2"))
        await turns(20)
        assert bodies(bytes(others.written)) == [b"<2>"]
        assert len(bodies(bytes(wire.written))) < 50
        await turns(200)
        assert len(bodies(bytes(wire.written))) == 100

    run(test)


@pytest.mark.parametrize(
    "bad", [b"\x16\x03\x01 nonsense\r\n\r\n", HEAD % (LIMIT + 1), b"POST /say HTTP/1.1\r\nA: " + b"x" * 90_000]
)
def test_a_refusal_never_comes_before_the_answers_to_earlier_requests(bad: bytes) -> None:
    async def test(port: Port) -> None:
        connection, wire = port.connect()
        connection.pause_writing()
        connection.data_received(post(b"1"))
        for at in range(0, len(bad), 10_000):
            connection.data_received(bad[at : at + 10_000])
        await turns()
        assert bytes(wire.written) == b""
        connection.resume_writing()
        await turns(20)
        assert bodies(bytes(wire.written))[0] == b"<1>"
        assert wire.closed

    run(test)


async def test_a_caller_who_takes_nothing_of_its_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    port = Port()
    clock = Clock(monkeypatch)
    connection, wire = port.connect()
    connection.data_received(post(b"1"))
    await turns()
    wire.unsent = 1 << 20
    clock.forward(60)
    assert wire.aborted


async def test_a_head_that_trickles_in_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    port = Port()
    clock = Clock(monkeypatch)
    connection, wire = port.connect()
    for byte in b"POST /say HTTP/1.1\r\nHost: abcdefghijklmno":
        if not wire.closed:
            connection.data_received(bytes([byte]))
            clock.forward(2)
    assert wire.closed
