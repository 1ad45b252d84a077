"""A connection of HTTP/1.1 with several requests on their way, which costs the client little."""

from __future__ import annotations

import asyncio
import re
from typing import Protocol, cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD_LENGTH = re.compile(rb"\r\ninference-header-content-length: *(\d+)", re.IGNORECASE)


class Owner(Protocol):
    """Whoever sends by a connection."""

    def answered(self, status: int, head_length: int, body: bytes) -> None:
        """The oldest request that waits has its answer; `head_length` is that of V2's binary form, 0 without one."""
        ...

    def lost(self) -> None:
        """The connection has ended, by whichever side."""
        ...


class Connection(asyncio.Protocol):
    """One connection; its owner counts what is on its way."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._received = bytearray()
        self._head: tuple[int, int, int, int] | None = None
        self.transport: asyncio.Transport

    @classmethod
    async def open(cls, port: int, owner: Owner) -> Connection:
        """Connect to a port of loopback."""
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(lambda: cls(owner), "127.0.0.1", port))[1]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        received = self._received
        received += data
        while received and not self.transport.is_closing():
            if self._head is None:
                self._head = self._read_head()
            if self._head is None:
                return
            status, head_length, begin, end = self._head
            if len(received) < end:
                return
            body = bytes(received[begin:end])
            del received[:end]
            self._head = None
            self._owner.answered(status, head_length, body)

    def _read_head(self) -> tuple[int, int, int, int] | None:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self._received[: end + 2])
        length, head_length = _LENGTH.search(head), _HEAD_LENGTH.search(head)
        assert length is not None, head
        begin = end + 4
        return int(head[9:12]), int(head_length[1]) if head_length else 0, begin, begin + int(length[1])

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        self._owner.lost()
