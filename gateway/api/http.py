"""uvicorn's HTTP protocol, with one system call less for each answer, and an eye on callers who leave."""

from __future__ import annotations

import asyncio
import re
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CONNECTION = "torii.connection"
_MAX_HEAD_BYTES = 1 << 16
_JOINED_BYTES = 1 << 16
"""Above this, joining the parts of an answer costs more than sending them one by one."""

_FIRST_REQUEST_S = 30.0
_HEAD_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\ncontent-length: 76\r\n"
    b'connection: close\r\n\r\n{"error":"request line and headers: expected at most 65536 bytes, got more"}'
)
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class JoinedWrites:
    """A transport that writes once in a turn of the event loop: an answer's head and body leave as one packet.

    Two writes would be two system calls here, and two packets and perhaps two wake-ups at the client's.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._unsent: list[bytes] = []

    def write(self, data: bytes) -> None:
        """See asyncio.WriteTransport.write."""
        if not self._unsent:
            self._loop.call_soon(self.flush)
        self._unsent.append(data)

    def flush(self) -> None:
        """Send what was written."""
        if self._unsent and not self._transport.is_closing():
            if len(self._unsent) == 1:
                self._transport.write(self._unsent[0])
            elif sum(map(len, self._unsent)) <= _JOINED_BYTES:
                self._transport.write(b"".join(self._unsent))
            else:
                self._transport.writelines(self._unsent)
        self._unsent.clear()

    def close(self) -> None:
        """See asyncio.BaseTransport.close: what was written is sent first."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class HttpProtocol(HttpToolsProtocol):
    """What uvicorn runs for each connection.

    An application finds it in its scope as `CONNECTION`, and may put its task into `running`, which is then cancelled
    when the caller hangs up: ASGI by itself has an application ask for that all the time.
    """

    running: asyncio.Task[Any] | None = None
    lost = False
    _head_bytes = 0
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Called by the event loop."""
        self._writes = JoinedWrites(transport, self.loop)
        self._first_request = self.loop.call_later(_FIRST_REQUEST_S, transport.close)
        super().connection_made(cast(asyncio.Transport, self._writes))

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._in_head:
            self._head_bytes += len(data)
            if b"pgrade:" in data[:_MAX_HEAD_BYTES]:
                data = _without_upgrade(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > _MAX_HEAD_BYTES:
            self.transport.write(_HEAD_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        """Called by the parser; the application runs in a later turn of the event loop."""
        self._in_head = False
        self._first_request.cancel()
        super().on_headers_complete()
        cast(dict[str, Any], self.scope)[CONNECTION] = self

    def on_response_complete(self) -> None:
        """Called once an answer's body was written."""
        self._writes.flush()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        super().connection_lost(exc)
        self._first_request.cancel()
        self.lost = True
        if self.running is not None:
            self.running.cancel()


def _without_upgrade(data: bytes) -> bytes:
    # A server may ignore an offer to upgrade (RFC 9110, 7.8), which Java's client makes with every first request; the
    # parser does not: it takes the body for the new protocol's.
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"", head) + end + rest
