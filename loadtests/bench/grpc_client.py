"""A closed-loop gRPC client that costs little itself: HTTP/2 frames of fixed bytes, one call at a time a connection.

`python -m loadtests.bench.grpc_client PORT METHOD CONNECTIONS SECONDS < MESSAGE` prints one line of JSON. gRPC's own
Python client would be the limit long before a server is.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import time
from typing import Final, cast

from loadtests.bench.client import Tally, report

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 4, 5
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_METHOD_POST, _SCHEME_HTTP = b"\x83", b"\x86"  # HPACK's static table (RFC 7541, appendix A)
_WINDOW: Final = 2**31 - 1
_FIRST_WINDOW: Final = 65535
_FIRST_FRAME_BYTES: Final = 1 << 14


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\0%c%b%c%b" % (len(name), name, len(value), value)


class GrpcConnection(asyncio.Protocol):
    """One connection: makes the call again as soon as its trailers have come."""

    def __init__(self, path: str, message: bytes, tally: Tally) -> None:
        self._head = (
            _METHOD_POST
            + _SCHEME_HTTP
            + b"".join(
                _literal(name, value)
                for name, value in (
                    (b":path", path.encode()),
                    (b":authority", b"127.0.0.1"),
                    (b"te", b"trailers"),
                    (b"content-type", b"application/grpc"),
                )
            )
        )
        self._body = b"\0" + struct.pack(">I", len(message)) + message
        self._tally = tally
        self._received = bytearray()
        self._sent_bytes = 0
        self._connection_window = _FIRST_WINDOW
        self._stream_window = 0
        self._initial_window = _FIRST_WINDOW
        self._frame_bytes = _FIRST_FRAME_BYTES
        self._stream = -1
        self._answered = False
        self._sent_s = 0.0
        self._transport: asyncio.WriteTransport
        self.running = True
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.WriteTransport, transport)
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, _WINDOW)
        grow = struct.pack(">I", _WINDOW - _FIRST_WINDOW)
        self._transport.write(_PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, grow))
        self._call()

    def _call(self) -> None:
        self._stream += 2
        self._answered = False
        self._sent_bytes = 0
        self._stream_window = self._initial_window
        self._sent_s = time.perf_counter()
        self._send([_frame(_HEADERS, _END_HEADERS, self._stream, self._head)])

    def _send(self, frames: list[bytes]) -> None:
        """Send `frames`, and as much of the message as the server's windows admit."""
        while left := len(self._body) - self._sent_bytes:
            size = min(left, self._frame_bytes, self._connection_window, self._stream_window)
            if size <= 0:
                break
            part = self._body[self._sent_bytes : self._sent_bytes + size]
            frames.append(_frame(_DATA, _END_STREAM if size == left else 0, self._stream, part))
            self._sent_bytes += size
            self._connection_window -= size
            self._stream_window -= size
        if frames:
            self._transport.write(b"".join(frames))

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        received = self._received
        received += data
        offset = 0
        while len(received) - offset >= 9:
            length = int.from_bytes(received[offset : offset + 3])
            if len(received) - offset < 9 + length:
                break
            kind, flags, stream = struct.unpack_from(">BBI", received, offset + 3)
            self._take(kind, flags, stream, bytes(received[offset + 9 : offset + 9 + length]))
            offset += 9 + length
        del received[:offset]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            self._settle(payload)
        elif kind == _PING and not flags & _ACK:
            self._transport.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW_UPDATE:
            self._widen(stream, int.from_bytes(payload))
        elif kind == _DATA and payload:
            self._answered = True
            self._transport.write(_frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload))))
        elif kind == _GOAWAY:
            self._tally.failed(payload)
        if stream == self._stream and (kind == _RST_STREAM or (flags & _END_STREAM and kind in (_DATA, _HEADERS))):
            self._end(payload)

    def _settle(self, settings: bytes) -> None:
        for name, value in struct.iter_unpack(">HI", settings):
            if name == _INITIAL_WINDOW_SIZE:
                self._stream_window += value - self._initial_window
                self._initial_window = value
            elif name == _MAX_FRAME_SIZE:
                self._frame_bytes = value
        self._send([_frame(_SETTINGS, _ACK, 0, b"")])

    def _widen(self, stream: int, size: int) -> None:
        if stream == 0:
            self._connection_window += size
        elif stream == self._stream:
            self._stream_window += size
        self._send([])

    def _end(self, payload: bytes) -> None:
        if self._answered:
            self._tally.succeeded(time.perf_counter() - self._sent_s)
        else:
            self._tally.failed(payload)
        if self.running:
            self._call()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        self.closed.set_result(None)
        if self.running:
            self._tally.failed(b"the server closed the connection")


if __name__ == "__main__":
    method, sent = sys.argv[2], sys.stdin.buffer.read()
    report(lambda tally: GrpcConnection(method, sent, tally))
