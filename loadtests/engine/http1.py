"""HTTP/1.1 at little cost: fixed bytes out; heads that came before are known by their bytes and not parsed again."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Final, cast

from loadtests.engine.connection import OK, SERVED_BY, Answer, Connection, Listener
from loadtests.engine.plan import Request, Target

_CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,15}")
_END: Final = b"\r\n\r\n"
_MAX_HEAD_BYTES: Final = 1 << 16
_MAX_LINE_BYTES: Final = 1 << 12
_KNOWN: Final = 256
_NO_BODY: Final = (204, 304)
_CHUNKED, _TO_THE_END, _INTERIM = -1, -2, -3
_MAX_DIGITS: Final = 18
_MAX_KEPT_BYTES: Final = 1 << 30
_MAX_FAILURE_BYTES: Final = 1 << 16


class NotHttp(Exception):
    """The server sent what is no answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The head of an answer, and its body's length in bytes, or how else its end is told."""

    answer: Answer
    length: int


class Heads:
    """Heads by their bytes, for all connections of a target: most answers have the same one."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}
        self.get = self._known.get

    def read(self, data: bytes) -> Head:
        """Parse a head, its empty line included; raises NotHttp."""
        if len(self._known) >= _KNOWN:
            self._known.clear()
        head = self._known[data] = _parse(data)
        return head


def to_bytes(target: Target, request: Request) -> bytes:
    """A request as it is sent: a POST; a header may say itself which Host it is for."""
    headers = dict(request.headers)
    names = {name.lower() for name in headers}
    lines = [f"POST {request.path} HTTP/1.1"]
    if "host" not in names:
        lines.append(f"Host: {target.host}:{target.port}")
    lines += [f"Content-Length: {len(request.body)}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + _END + request.body


class HttpConnection(Connection):
    """One keep-alive connection."""

    __slots__ = ("_chunks", "_head", "_heads", "_kept", "_kept_bytes", "_left", "_pending")

    def __init__(self, listener: Listener, heads: Heads, keeps_bodies: bool = False) -> None:
        super().__init__(listener, keeps_bodies)
        self._heads = heads
        self._head: Head | None = None
        self._pending = b""
        self._left = 0
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._chunks: _Chunks | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.WriteTransport, transport)
        self._listener.connected(self)

    def send(self, request: bytes) -> None:
        """Send a request; the one before has to be answered."""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._head is None and not self._pending:
            end = data.find(_END) + 4
            head = self._heads.get(data[:end])
            if head is not None and len(data) - end == head.length and self.busy:
                answer = head.answer
                if answer.closes:
                    self._transport.close()
                self._listener.answered(self, answer, data[end:] if self.keeps_bodies or answer.failure else b"")
                return
        try:
            self._take(data)
        except NotHttp as error:
            self.abort(str(error))

    def _take(self, data: bytes) -> None:
        """What is not the whole of an answer with a known head."""
        if not self.busy:
            raise NotHttp("the server sent something that was not asked for")
        while self._head is None:
            data = self._pending + data
            end = data.find(_END) + 4
            if end < 4:
                if len(data) > _MAX_HEAD_BYTES:
                    raise NotHttp(f"the answer's head has more than {_MAX_HEAD_BYTES} bytes")
                self._pending = data
                return
            self._pending = b""
            head = self._heads.get(data[:end]) or self._heads.read(data[:end])
            data = data[end:]
            if head.length != _INTERIM:
                self._head, self._left = head, head.length
                self._chunks = _Chunks() if head.length == _CHUNKED else None
        self._take_body(self._head, data)

    def _take_body(self, head: Head, data: bytes) -> None:
        if self._chunks is not None:
            data = self._chunks.feed(data)
        elif head.length >= 0:
            self._left -= len(data)
        if (self.keeps_bodies or head.answer.failure) and data:
            self._keep(data)
        if self._left < 0 <= head.length:
            raise NotHttp("the server sent more than its answer")
        if self._chunks.ended if self._chunks is not None else self._left == 0:
            self._end(head)

    def _keep(self, data: bytes) -> None:
        if self._kept_bytes < (_MAX_KEPT_BYTES if self.keeps_bodies else _MAX_FAILURE_BYTES):
            self._kept.append(data)
            self._kept_bytes += len(data)
        elif self.keeps_bodies:
            raise NotHttp(f"the answer has more than {_MAX_KEPT_BYTES} bytes")

    def _end(self, head: Head) -> None:
        body = b"".join(self._kept)
        self._head = self._chunks = None
        self._kept.clear()
        self._kept_bytes = 0
        if head.answer.closes:
            self._transport.close()
        self._listener.answered(self, head.answer, body)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        head = self._head
        if head is not None and head.length == _TO_THE_END and error is None and not self._reason:
            self._end(head)
        super().connection_lost(error)


class _Chunks:
    """A chunked body, unpacked as it comes."""

    def __init__(self) -> None:
        self._pending = b""
        self._left = 0
        self._trailing = False
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """The body's bytes within `data`; raises NotHttp."""
        data = self._pending + data
        body = []
        at = 0
        while not self.ended:
            if self._left > 2:  # the chunk's last two bytes are its line's end
                part = data[at : at + self._left - 2]
                body.append(part)
                at += len(part)
                self._left -= len(part)
            if 0 < self._left <= 2:
                skipped = min(self._left, len(data) - at)
                at += skipped
                self._left -= skipped
            if self._left:
                break
            end = data.find(b"\r\n", at)
            if end < 0:
                if len(data) - at > _MAX_LINE_BYTES:
                    raise NotHttp("a chunk's size has no end")
                break
            self._line(data[at:end])
            at = end + 2
        self._pending = data[at:]
        if self.ended and self._pending:
            raise NotHttp("the server sent more than its answer")
        return b"".join(body)

    def _line(self, line: bytes) -> None:
        if self._trailing:
            self.ended = not line
            return
        digits = line.partition(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(digits):
            raise NotHttp(f"a chunk's size is none: {line[:80]!r}")
        size = int(digits, 16)
        self._trailing = size == 0
        self._left = size + 2 if size else 0


def _parse(data: bytes) -> Head:
    first, *lines = data[:-4].decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
        raise NotHttp(f"this is no answer of HTTP/1.1: {first[:80]!r}")
    status = int(rest[:3])
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    keeps = headers.get("connection", "keep-alive" if version == "HTTP/1.1" else "close").lower() != "close"
    length = _length(status, headers)
    answer = Answer(
        status,
        headers,
        "" if status == OK else f"status {status}",
        closes=not keeps or length == _TO_THE_END,
        served_by=headers.get(SERVED_BY, ""),
    )
    return Head(answer, length)


def _length(status: int, headers: dict[str, str]) -> int:
    if status < OK:  # no answer yet: 100 Continue
        return _INTERIM
    if status in _NO_BODY:
        return 0
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _CHUNKED
    length = headers.get("content-length")
    if length is None:
        return _TO_THE_END
    if not length.isdecimal() or len(length) > _MAX_DIGITS:
        raise NotHttp(f"content-length is no number: {length[:80]!r}")
    return int(length)
