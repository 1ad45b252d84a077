"""The data side of a worker: one connection, many requests in flight, answers matched by id."""

from __future__ import annotations

import asyncio
import itertools
from time import monotonic_ns
from typing import cast

from adapters import wire
from adapters.base import ROUTINE, Endpoint, Urgency
from adapters.errors import BackendDied, BackendUnavailable
from adapters.executions import Executions
from adapters.tensors import Tensor, Tensors

_INFER, _RESULT = wire.Kind.INFER, wire.Kind.RESULT  # an Enum's members take several lookups


class WorkerClient(asyncio.Protocol):
    """A Servable over a worker's Unix socket; `executions` sums up what its answers say that they cost."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.signature = endpoint.signature
        self.executions = Executions()
        self._loop = asyncio.get_running_loop()
        self._reader = wire.FrameReader()
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Tensor]]] = {}
        self._transport: asyncio.WriteTransport | None = None
        self._unsent: list[bytes | memoryview] = []

    @classmethod
    async def connect(cls, endpoint: Endpoint) -> WorkerClient:
        """Connect; raises BackendUnavailable where nothing listens at the endpoint's address."""
        path = endpoint.address.removeprefix("unix:")
        try:
            _, client = await asyncio.get_running_loop().create_unix_connection(lambda: cls(endpoint), path)
        except OSError as error:
            raise BackendUnavailable(f"the worker cannot be reached: {error.strerror or error}") from error
        return client

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> dict[str, Tensor]:
        """Run on the worker; see Servable.infer. Cancelling drops the request from the worker's queue."""
        if self._transport is None:
            raise BackendUnavailable("the worker of this deployment is gone; it is being restarted")
        request_id = next(self._ids)
        future: asyncio.Future[dict[str, Tensor]] = self._loop.create_future()
        self._waiting[request_id] = future
        self._send(wire.tensors_frame(_INFER, request_id, inputs, monotonic_ns(), urgency))
        try:
            return await future
        except asyncio.CancelledError:
            self._send([wire.cancel_frame(request_id)])
            raise
        finally:
            self._waiting.pop(request_id, None)

    def _send(self, parts: list[bytes | memoryview]) -> None:
        # A request that is alone goes out at once; when there are others, one write takes all requests of one turn of
        # the event loop: fewer system calls, and fuller batches there.
        self._unsent += parts
        if len(self._waiting) <= 1:
            self._flush()
        elif len(self._unsent) == len(parts):
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
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
        answered = future is not None and not future.done()
        if frame.kind is _RESULT:
            if future is not None and answered:
                future.set_result(frame.tensors())
            self.executions.add(frame.execution, answered)
        elif future is not None and answered:
            future.set_exception(frame.error())

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop: whatever still waits will not be answered."""
        self._transport = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(BackendDied("the worker died while this request was running"))
        self._waiting.clear()
