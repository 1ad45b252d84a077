"""The data side of a worker: one connection, many requests in flight, answers matched by id."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Collection
from time import monotonic_ns
from typing import cast

from adapters import wire
from adapters.base import ROUTINE, Endpoint, Urgency
from adapters.errors import BackendDied, BackendUnavailable
from adapters.executions import Executions
from adapters.tensors import Tensor, Tensors
from adapters.worker.arena import SharedMemory

_INFER, _RESULT = wire.Kind.INFER, wire.Kind.RESULT  # an Enum's members take several lookups


class WorkerClient(asyncio.Protocol):
    """A Servable over a worker's Unix socket; `executions` sums up what its answers say that they cost.

    Big tensors cross in memory that both share, where the system has such.
    """

    def __init__(self, endpoint: Endpoint, memory: SharedMemory | None = None) -> None:
        self.signature = endpoint.signature
        self.executions = Executions()
        self._memory = memory
        self._place = memory.placed.place if memory else None
        self._owners: Collection[int] = memory.placed.owners if memory else ()
        self._shared = memory.read if memory else memoryview(b"")
        self._loop = asyncio.get_running_loop()
        self._reader = wire.FrameReader()
        self._ids = itertools.count(1)
        # Until the worker has answered, not until nobody waits any more: it answers each request once.
        self._waiting: dict[int, asyncio.Future[dict[str, Tensor]]] = {}
        self._transport: asyncio.WriteTransport | None = None
        self._unsent: list[bytes | memoryview] = []
        self._flushing = False

    @classmethod
    async def connect(cls, endpoint: Endpoint) -> WorkerClient:
        """Connect; raises BackendUnavailable where nothing listens at the endpoint's address."""
        path = endpoint.address.removeprefix("unix:")
        loop = asyncio.get_running_loop()
        connection = socket.socket(socket.AF_UNIX)
        connection.setblocking(False)
        memory: SharedMemory | None = None
        try:
            await loop.sock_connect(connection, path)
            memory = SharedMemory.offer(connection)
            _, client = await loop.create_unix_connection(lambda: cls(endpoint, memory), sock=connection)
        except OSError as error:
            connection.close()
            if memory is not None:
                memory.close()
            raise BackendUnavailable(f"the worker cannot be reached: {error.strerror or error}") from error
        return client

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> dict[str, Tensor]:
        """Run on the worker; see Servable.infer. Cancelling drops the request from the worker's queue."""
        if self._transport is None:
            raise BackendUnavailable("the worker of this deployment is gone; it is being restarted")
        request_id = next(self._ids)
        parts = wire.tensors_frame(_INFER, request_id, inputs, monotonic_ns(), urgency, self._place)
        future: asyncio.Future[dict[str, Tensor]] = self._loop.create_future()
        self._waiting[request_id] = future
        self._send(parts)
        try:
            return await future
        except asyncio.CancelledError:
            self._send([wire.bare_frame(wire.Kind.CANCEL, request_id)])
            raise

    def _send(self, parts: list[bytes | memoryview]) -> None:
        # A request that is alone goes out at once; when there are others, one write takes all requests of one turn of
        # the event loop: fewer system calls, and fuller batches there.
        self._unsent += parts
        if len(self._waiting) <= 1:
            self._flush()
        elif not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        parts, self._unsent = self._unsent, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(parts))

    async def aclose(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: hand each answer to the request that waits for it."""
        try:
            for frame in self._reader.feed(data):
                self._answer(frame)
        except wire.BrokenFrame:
            # A worker runs native code over untrusted files: what it sends may be anything once that code is broken.
            assert self._transport is not None
            self._transport.abort()

    def _answer(self, frame: wire.Frame) -> None:
        future = self._waiting.get(frame.id)
        if future is None:
            raise wire.BrokenFrame(f"an answer to {frame.id}, which was not asked, or has been answered")
        answered = not future.done()
        if self._memory is not None and frame.id in self._owners:
            self._memory.placed.release(frame.id)
        if frame.kind is _RESULT:
            if answered:
                future.set_result(frame.tensors(self._shared, copied=True))
            if frame.shares:
                self._unsent.append(wire.bare_frame(wire.Kind.RELEASE, frame.id))  # goes with the next request
            self.executions.add(frame.execution, answered)
        elif answered and frame.kind is wire.Kind.ERROR:
            future.set_exception(frame.error())
        del self._waiting[frame.id]

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop: whatever still waits will not be answered."""
        self._transport = None
        if self._memory is not None:
            self._memory.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(BackendDied("the worker died while this request was running"))
        self._waiting.clear()
