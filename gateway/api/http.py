"""uvicorn's HTTP protocol, with one system call less for each answer, and an eye on callers who leave."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CONNECTION = "torii.connection"


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
        if self._unsent:
            self._transport.write(b"".join(self._unsent))
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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Called by the event loop."""
        self._writes = JoinedWrites(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, self._writes))

    def on_headers_complete(self) -> None:
        """Called by the parser; the application runs in a later turn of the event loop."""
        super().on_headers_complete()
        cast(dict[str, Any], self.scope)[CONNECTION] = self

    def on_response_complete(self) -> None:
        """Called once an answer's body was written."""
        self._writes.flush()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        super().connection_lost(exc)
        self.lost = True
        if self.running is not None:
            self.running.cancel()
