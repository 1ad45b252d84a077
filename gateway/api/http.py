"""uvicorn's HTTP protocol, with a short way for the requests that dialects claim, and an eye on callers who leave."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from gateway.api.dialect import Answer
from gateway.api.heads import Head
from gateway.api.reading import RequestReader
from gateway.api.writing import encode_answer

_STALL_S: Final = 30.0
"""A request that does not go on for so long, or that does not begin on a new connection, is given up."""


class HttpProtocol(RequestReader):
    """What uvicorn runs for each connection.

    A request that a dialect claims is answered here, in a task that ends when the caller hangs up; one at a time, in
    order.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._answering: asyncio.Task[None] | None = None
        self._turn: asyncio.Future[tuple[Head, bytes]]
        self._lost = False
        self._unsent = 0
        self._looking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Called by the event loop."""
        super().connection_made(transport)
        self._looking = self.loop.call_later(self.timeout_keep_alive, self._look)

    def _look(self) -> None:
        """Close the connection where nothing has happened for too long: seen now and then, not timed by request."""
        unsent = self.transport.get_write_buffer_size()
        if self._busy or (self._asgi_runs() and not self.flow.write_paused) or unsent < self._unsent:
            self._touched_s = self.loop.time()
        between = self._served and not self._parsing and not self._left_bytes
        left_s = self._touched_s + (self.timeout_keep_alive if between else _STALL_S) - self.loop.time()
        self._unsent = unsent
        if left_s <= 0:
            if self.transport.is_closing():
                self.transport.abort()  # it was closed before, and the caller does not take what was to be sent yet
                return
            self.transport.close()
            left_s = self.timeout_keep_alive
        self._looking = self.loop.call_later(min(left_s, self.timeout_keep_alive), self._look)

    def _received(self, head: Head, body: bytes) -> None:
        self._served = True
        if self._busy or self.flow.write_paused:
            self._waiting.append((head, body))
            self.flow.pause_reading()
        else:
            self._start(head, body)

    def _start(self, head: Head, body: bytes) -> None:
        self._busy = True
        if self._answering is None:
            self._answering = self.loop.create_task(self._answer_all(head, body))
        else:
            self._turn.set_result((head, body))

    async def _answer_all(self, head: Head, body: bytes) -> None:
        """Answer this request and those that come after it: a task for each would be a good part of its cost."""
        assert self._endpoint is not None
        assert self._answering is not None
        try:
            while True:
                self.tasks.add(self._answering)
                answer = await self._endpoint.answer(head, body)
                self.tasks.discard(self._answering)
                self._busy = False
                self._answer(head, answer)
                if self.transport.is_closing():
                    return
                if self._waiting and not self.flow.write_paused:
                    self._busy = True
                    head, body = self._waiting.popleft()
                    await asyncio.sleep(0)  # what is answered without waiting would hold up all other connections
                    continue
                if not self._waiting:
                    self.flow.resume_reading()
                del body, answer
                self._turn = self.loop.create_future()
                head, body = await self._turn
        except asyncio.CancelledError:
            if not self._lost:
                raise  # else the caller hung up: its request was dropped wherever it waited
        finally:
            self.tasks.discard(self._answering)
            self.transport.close()

    def _answer(self, head: Head, answer: Answer) -> None:
        self.server_state.total_requests += 1
        self._touched_s = self.loop.time()
        if self.transport.is_closing():
            return
        last = not head.keep_alive or (self._closing and not self._waiting)
        parts = encode_answer(answer, self.server_state.default_headers, head.method != "HEAD", last)
        if len(parts) == 1:
            self.transport.write(parts[0])
        else:
            self.transport.writelines(parts)
        if last:
            self.transport.close()

    def resume_writing(self) -> None:
        """Called by the transport once the caller has read enough."""
        super().resume_writing()
        if self._waiting and not self._busy and not self.transport.is_closing():
            self._start(*self._waiting.popleft())

    def shutdown(self) -> None:
        """Called by the server that stops: what was received is still answered."""
        if self._busy or self._waiting:
            self._closing = True
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        super().connection_lost(exc)
        self._lost = True
        self._waiting.clear()
        if self._looking is not None:
            self._looking.cancel()
        if self._answering is not None:
            self._answering.cancel()
