"""gRPC over HTTP/2 at little cost: frames of fixed bytes, one call at a time on each connection."""

from __future__ import annotations

import asyncio
import re
import struct
from dataclasses import dataclass, replace
from typing import Final, cast
from urllib.parse import unquote

from loadtests.engine import http2
from loadtests.engine.connection import OK, SERVED_BY, Answer, Connection, Listener
from loadtests.engine.header_blocks import BadHeaders, Fields, HeaderBlocks
from loadtests.engine.http2 import NotHttp2, frame, frame_head
from loadtests.engine.plan import Request, Target

_PREFIX_BYTES: Final = 5
_LAST_STREAM: Final = 2**31 - 3
_WIDEN_AT_BYTES: Final = 1 << 30
_MAX_BLOCK_BYTES: Final = 1 << 20
_MAX_KEPT_BYTES: Final = 1 << 30
_KNOWN: Final = 64
_UNKNOWN: Final = 2
_STATUS: Final = re.compile("[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it is sent: two frames' heads without their stream, and what follows each."""

    head: bytes
    fields: bytes
    data: bytes
    message: bytes
    """Behind its prefix of five bytes."""


def to_call(target: Target, request: Request) -> Call:
    """A request as it is sent; its path is `/package.Service/Method`, its body the bare message."""
    fields = {
        ":path": request.path,
        ":authority": f"{target.host}:{target.port}",
        "te": "trailers",
        "content-type": "application/grpc",
    } | {name.lower(): value for name, value in request.headers}
    block = http2.METHOD_POST + http2.SCHEME_HTTP + b"".join(http2.literal(*field) for field in fields.items())
    message = b"\0" + struct.pack(">I", len(request.body)) + request.body
    head = frame_head(len(block), http2.HEADERS, http2.END_HEADERS)
    return Call(head, block, frame_head(len(message) & 0xFFFFFF, http2.DATA, http2.END_STREAM), message)


class GrpcConnection(Connection):
    """One connection; a call is answered when its trailers have come."""

    __slots__ = (
        "_answers", "_block", "_blocks", "_call", "_connection_window", "_consumed", "_ends", "_first", "_frame_bytes",
        "_going_away", "_got_message", "_initial_window", "_kept", "_kept_bytes", "_received", "_sent_bytes", "_stream",
        "_stream_window",
    )  # fmt: skip

    def __init__(self, listener: Listener, keeps_bodies: bool = False) -> None:
        super().__init__(listener, keeps_bodies)
        self._blocks = HeaderBlocks()
        self._answers: dict[tuple[int, int], tuple[Answer, Fields, Fields]] = {}
        self._received = b""
        self._block = b""
        self._ends = False
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._first: Fields = {}
        self._got_message = False
        self._call: Call | None = None
        self._sent_bytes = 0
        self._stream = -1
        self._connection_window = http2.FIRST_WINDOW
        self._initial_window = self._stream_window = http2.FIRST_WINDOW
        self._frame_bytes = http2.FIRST_FRAME_BYTES
        self._consumed = 0
        self._going_away = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.WriteTransport, transport)
        settings = struct.pack(">HIHI", http2.ENABLE_PUSH, 0, http2.INITIAL_WINDOW_SIZE, http2.LARGEST_WINDOW)
        grow = struct.pack(">I", http2.LARGEST_WINDOW - http2.FIRST_WINDOW)
        self._transport.write(
            http2.PREFACE + frame(http2.SETTINGS, 0, 0, settings) + frame(http2.WINDOW_UPDATE, 0, 0, grow)
        )
        self._listener.connected(self)

    def send(self, call: Call) -> None:
        """Make a call; the one before has to be answered."""
        self._stream += 2
        stream = self._stream.to_bytes(4)
        size = len(call.message)
        self._got_message = False
        if size <= self._frame_bytes and size <= self._connection_window and size <= self._initial_window:
            self._connection_window -= size
            self._transport.write(b"".join((call.head, stream, call.fields, call.data, stream, call.message)))
        else:
            self._call = call
            self._sent_bytes = 0
            self._stream_window = self._initial_window
            self._send_parts([call.head + stream + call.fields])

    def _send_parts(self, frames: list[bytes]) -> None:
        """Send `frames`, and as much of a long message as the server's windows admit."""
        while self._call is not None:
            left = len(self._call.message) - self._sent_bytes
            size = min(left, self._frame_bytes, self._connection_window, self._stream_window)
            if size <= 0:
                break
            part = self._call.message[self._sent_bytes : self._sent_bytes + size]
            frames.append(frame(http2.DATA, http2.END_STREAM if size == left else 0, self._stream, part))
            self._sent_bytes += size
            self._connection_window -= size
            self._stream_window -= size
            if size == left:
                self._call = None
        if frames:
            self._transport.write(b"".join(frames))

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._received:
            data = self._received + data
        at, end = 0, len(data)
        try:
            while end - at >= http2.HEAD_BYTES:
                start = at + http2.HEAD_BYTES
                after = start + (data[at] << 16 | data[at + 1] << 8 | data[at + 2])
                if after > end:
                    if after - start > http2.FIRST_FRAME_BYTES:
                        raise NotHttp2(f"a frame has {after - start} bytes, more than is allowed; is this HTTP/2?")
                    break
                self._take(data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : start]), data[start:after])
                at = after
        except (NotHttp2, BadHeaders, struct.error) as error:
            self.abort(str(error))
            return
        self._received = data[at:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == http2.DATA:
            self._take_data(flags, stream, payload)
        elif kind in (http2.HEADERS, http2.CONTINUATION):
            self._take_headers(kind, flags, stream, payload)
        elif kind == http2.WINDOW_UPDATE:
            self._widen(stream, *struct.unpack(">I", payload))
        elif kind == http2.PING:
            if not flags & http2.ACK:
                self._transport.write(frame(http2.PING, http2.ACK, 0, payload))
        elif kind == http2.SETTINGS:
            if not flags & http2.ACK:
                self._settle(payload)
        elif kind == http2.RST_STREAM:
            if stream == self._stream:
                self._call = None
                self._end(Answer(_UNKNOWN, {}, "reset", f"the server reset the stream: {int.from_bytes(payload[:4])}"))
        elif kind == http2.GOAWAY:
            self._go_away(payload)
        elif kind == http2.PUSH_PROMISE:
            raise NotHttp2("the server pushes what was not asked for")

    def _take_data(self, flags: int, stream: int, payload: bytes) -> None:
        self._consumed += len(payload)
        if self._consumed > _WIDEN_AT_BYTES:
            self._transport.write(frame(http2.WINDOW_UPDATE, 0, 0, struct.pack(">I", self._consumed)))
            self._consumed = 0
        if stream != self._stream or not self.busy:
            return
        self._got_message = self._got_message or len(payload) >= _PREFIX_BYTES
        if self.keeps_bodies:
            self._kept.append(http2.unpadded(flags & http2.PADDED, payload))
            self._kept_bytes += len(payload)
            if self._kept_bytes > _MAX_KEPT_BYTES:
                raise NotHttp2(f"the answer has more than {_MAX_KEPT_BYTES} bytes")
        if flags & http2.END_STREAM:
            self._end(Answer(_UNKNOWN, self._first, "no trailers", "the answer has no trailers"))

    def _take_headers(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == http2.HEADERS:
            self._block = b""
            self._ends = bool(flags & http2.END_STREAM)
            if flags & (http2.PADDED | http2.PRIORITY):
                payload = http2.unpadded(flags, payload)
        block = self._block + payload
        if len(block) > _MAX_BLOCK_BYTES:
            raise NotHttp2(f"a header block has more than {_MAX_BLOCK_BYTES} bytes")
        if not flags & http2.END_HEADERS:
            self._block = block
            return
        fields = self._blocks.read(block)
        if stream != self._stream or not self.busy:
            return
        if self._ends:
            self._end(self._answer(fields))
        else:
            self._first = fields

    def _answer(self, trailers: Fields) -> Answer:
        first, self._first = self._first, {}
        key = id(first), id(trailers)
        known = self._answers.get(key)
        if known is None:
            if len(self._answers) >= _KNOWN:
                self._answers.clear()
            known = self._answers[key] = _read(first, trailers), first, trailers  # which keeps what the key is of
        answer = known[0]
        if not answer.failure and not self._got_message:
            return replace(answer, status=_UNKNOWN, failure="no message", message="the answer has no message")
        return answer

    def _end(self, answer: Answer) -> None:
        if not self.busy:
            return
        if self._call is not None:  # answered before all was sent: the rest would be for nobody
            self._call = None
            self._transport.write(frame(http2.RST_STREAM, 0, self._stream, struct.pack(">I", http2.CANCEL)))
        body = b"".join(self._kept)[_PREFIX_BYTES:]
        self._kept.clear()
        self._kept_bytes = 0
        if self._going_away or self._stream >= _LAST_STREAM:
            answer = replace(answer, closes=True)
            self._transport.close()
        self._listener.answered(self, answer, body)

    def _settle(self, settings: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", settings):
            if name == http2.INITIAL_WINDOW_SIZE:
                self._stream_window += value - self._initial_window
                self._initial_window = value
            elif name == http2.MAX_FRAME_SIZE:
                if value < http2.FIRST_FRAME_BYTES:
                    raise NotHttp2(f"the server takes frames of {value} bytes at most: too few for HTTP/2")
                self._frame_bytes = min(value, http2.LARGEST_FRAME_BYTES)
        self._send_parts([frame(http2.SETTINGS, http2.ACK, 0, b"")])

    def _widen(self, stream: int, size: int) -> None:
        if stream == 0:
            self._connection_window += size
        elif stream == self._stream:
            self._stream_window += size
        self._send_parts([])

    def _go_away(self, payload: bytes) -> None:
        self._going_away = True
        if not self.busy:
            self.close()
        elif self._stream > int.from_bytes(payload[:4]):
            self.abort(f"the server goes away: {payload[8:200].decode(errors='replace') or 'no reason given'}")


def _read(first: Fields, trailers: Fields) -> Answer:
    fields = first | trailers
    status, http_status = fields.get("grpc-status", ""), fields.get(":status", "")
    served_by = fields.get(SERVED_BY, "")
    message = unquote(fields.get("grpc-message", ""))
    if http_status != str(OK):
        return Answer(_UNKNOWN, fields, f"status {http_status:.10}", message, served_by=served_by)
    if not _STATUS.fullmatch(status):
        return Answer(_UNKNOWN, fields, "no status", message or "the answer has no grpc-status", served_by=served_by)
    return Answer(int(status), fields, f"gRPC {status}" if int(status) else "", message, served_by=served_by)
