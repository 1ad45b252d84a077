"""The protocols that a target may speak: how its requests look on the wire, and what a connection to it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from loadtests.engine.connection import Connection, Listener
from loadtests.engine.grpc_connection import Call, GrpcConnection, to_call
from loadtests.engine.http1 import Heads, HttpConnection, to_bytes
from loadtests.engine.plan import Request, Target


class Wire(Protocol):
    """One protocol to one target."""

    def prepare(self, request: Request) -> Any:
        """What its connections take to send."""

    def connection(self, listener: Listener, keeps_bodies: bool = False) -> Connection:
        """One that is not connected yet."""


class HttpWire:
    """HTTP/1.1."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._heads = Heads()

    def prepare(self, request: Request) -> bytes:
        """See Wire."""
        return to_bytes(self._target, request)

    def connection(self, listener: Listener, keeps_bodies: bool = False) -> Connection:
        """See Wire."""
        return HttpConnection(listener, self._heads, keeps_bodies)


class GrpcWire:
    """gRPC over HTTP/2 without TLS."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def prepare(self, request: Request) -> Call:
        """See Wire."""
        return to_call(self._target, request)

    def connection(self, listener: Listener, keeps_bodies: bool = False) -> Connection:
        """See Wire."""
        return GrpcConnection(listener, keeps_bodies)


def wire(target: Target) -> Wire:
    """The one of a target."""
    return GrpcWire(target) if target.protocol == "grpc" else HttpWire(target)


def opener(target: Target, spoken: Wire) -> Callable[[Listener], Awaitable[object]]:
    """Opens connections within an event loop."""

    async def open_connection(listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: spoken.connection(listener), target.host, target.port)

    return open_connection
