"""Callers who send derived requests without a pause, over HTTP in bursts and over gRPC one by one."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator

import grpc
import orjson

from tests.proofs.asking import Ask, Trouble
from tests.proofs.connection import Connection
from tests.proofs.judging import Judge

PATIENCE_S = 60.0
_PAUSE_S = 0.1
"""What is refused does not come again at once: else most of the requests would be refusals."""

_PAUSING = (429, 502, 503)
_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 502,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class HttpCaller:
    """One connection with up to four requests on their way; made anew after one that leaves."""

    def __init__(self, port: int, asks: Iterator[Ask], judge: Judge) -> None:
        self._port = port
        self._asks = asks
        self._judge = judge
        self._waiting: deque[Ask] = deque()
        self._pause_s = 0.0
        self._bursts = 0
        self._leaving = self._ended = False
        self._connection: Connection
        self._done = asyncio.Event()
        self._reconnecting: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Send until there is nothing left to ask."""
        self._connection = await Connection.open(self._port, self)
        self._burst()
        await self._done.wait()

    @property
    def oldest_s(self) -> float:
        """For how long its oldest request has waited."""
        return time.monotonic() - self._waiting[0].sent_s if self._waiting else 0.0

    def _burst(self) -> None:
        self._bursts += 1
        parts: list[bytes] = []
        now_s = time.monotonic()
        for _ in range(1 + self._bursts % 4):
            ask = next(self._asks, None)
            if ask is None:
                break
            ask.sent_s = now_s
            self._waiting.append(ask)
            parts.append(ask.http())
            if ask.trouble is Trouble.LEAVES:
                self._leave(ask, parts)
                return
        if parts:
            self._connection.transport.write(b"".join(parts))
        else:
            self._ended = True
            self._connection.transport.close()

    def _leave(self, ask: Ask, parts: list[bytes]) -> None:
        """Hang up in the middle of a request, right behind it, or while it runs."""
        self._leaving = True
        transport = self._connection.transport
        moment = ask.number % 4
        if moment == 0:
            parts[-1] = parts[-1][: len(parts[-1]) // 2]
        transport.write(b"".join(parts))
        if moment < 2:
            transport.close()
        else:
            asyncio.get_running_loop().call_later(moment * ask.number % 7 / 1000, transport.abort)

    def answered(self, status: int, head_length: int, body: bytes) -> None:
        """See connection.Owner."""
        ask = self._waiting.popleft()
        try:
            wrong = ask.wrong_http(head_length, body) if status == 200 else ""
        except Exception as error:  # noqa: BLE001  # whatever it stumbles over, it is no answer
            wrong = f"{error!r} in {body[:200]!r}"
        text = "" if status == 200 else orjson.loads(body).get("error", "")
        self._judge.judge(ask, status, text, wrong, time.monotonic())
        if status in _PAUSING:
            self._pause_s = _PAUSE_S
        if not self._waiting and not self._leaving:
            if self._pause_s:
                asyncio.get_running_loop().call_later(self._pause_s, self._go_on)
                self._pause_s = 0.0
            else:
                self._burst()

    def _go_on(self) -> None:
        if not self._connection.transport.is_closing():
            self._burst()

    def lost(self) -> None:
        """See connection.Owner."""
        for ask in self._waiting:
            if self._leaving:
                self._judge.left(ask)
            else:
                self._judge.violate("lost connection", ask, "the gateway closed it")
        self._waiting.clear()
        self._leaving = False
        if self._ended:
            self._done.set()
        else:
            self._reconnecting = asyncio.create_task(self._again())

    async def _again(self) -> None:
        self._connection = await Connection.open(self._port, self)
        self._burst()

    def give_up(self) -> None:
        """Count what waits as lost, and begin anew."""
        for ask in self._waiting:
            self._judge.violate(f"no answer within {PATIENCE_S:g} s", ask, "")
        self._waiting.clear()
        self._leaving = True
        self._connection.transport.abort()


class GrpcCaller:
    """One call at a time, over a channel that others may share."""

    def __init__(self, channel: grpc.aio.Channel, asks: Iterator[Ask], judge: Judge) -> None:
        self._call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        self._asks = asks
        self._judge = judge

    async def run(self) -> None:
        """Call until there is nothing left to ask."""
        for ask in self._asks:
            ask.sent_s = time.monotonic()
            if ask.trouble is Trouble.LEAVES:
                await self._leave(ask)
                continue
            try:
                body = await self._call(ask.grpc(), timeout=PATIENCE_S)
            except grpc.aio.AioRpcError as error:
                await self._refused(ask, error)
            else:
                self._judge.judge(ask, 200, "", ask.wrong_grpc(body), time.monotonic())

    async def _leave(self, ask: Ask) -> None:
        call = self._call(ask.grpc())
        await asyncio.sleep(ask.number % 5 / 1000)
        call.cancel()
        self._judge.left(ask)

    async def _refused(self, ask: Ask, error: grpc.aio.AioRpcError) -> None:
        now_s = time.monotonic()
        if now_s - ask.sent_s >= PATIENCE_S - 1:
            self._judge.violate(f"no answer within {PATIENCE_S:g} s", ask, error.details() or "")
            return
        status = _STATUS.get(error.code(), 0)
        self._judge.judge(ask, status, error.details() or "", "", now_s)
        if status in _PAUSING:
            await asyncio.sleep(_PAUSE_S)
