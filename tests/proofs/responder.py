"""`python -m tests.proofs.responder PORT http/1.1|grpc`: a server that answers at once and always the same."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

from loadtests.engine.http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD_BYTES,
    HEADERS,
    PREFACE,
    SETTINGS,
    frame,
    frame_head,
    literal,
)

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n" + b'{"outputs":[]}'
_HEAD = b"\x88" + literal("content-type", "application/grpc")
_MESSAGE = b"\0\0\0\0\2ok"
_TRAILERS = literal("grpc-status", "0")


class _Http(asyncio.Protocol):
    """Takes what comes at once for one request each, which is what one request at a time on a connection is."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast(asyncio.WriteTransport, transport).write

    def data_received(self, data: bytes) -> None:
        self._write(_ANSWER)


class _Grpc(asyncio.Protocol):
    """Answers a call where its last frame ends."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast(asyncio.WriteTransport, transport).write
        self._write(frame(SETTINGS, 0, 0, b""))

    def data_received(self, data: bytes) -> None:
        data = (self._received + data).removeprefix(PREFACE)
        at = 0
        while len(data) >= at + HEAD_BYTES:
            after = at + HEAD_BYTES + int.from_bytes(data[at : at + 3])
            if after > len(data):
                break
            kind, flags = data[at + 3], data[at + 4]
            if kind == DATA and flags & END_STREAM:
                self._answer(data[at + 5 : at + HEAD_BYTES])
            elif kind == SETTINGS and not flags & ACK:
                self._write(frame(SETTINGS, ACK, 0, b""))
            at = after
        self._received = data[at:]

    def _answer(self, stream: bytes) -> None:
        self._write(
            b"".join(
                (
                    *(frame_head(len(_HEAD), HEADERS, END_HEADERS), stream, _HEAD),
                    *(frame_head(len(_MESSAGE), DATA, 0), stream, _MESSAGE),
                    *(frame_head(len(_TRAILERS), HEADERS, END_HEADERS | END_STREAM), stream, _TRAILERS),
                )
            )
        )


async def _serve(port: int, protocol: type[asyncio.Protocol]) -> None:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), _Grpc if sys.argv[2] == "grpc" else _Http))
