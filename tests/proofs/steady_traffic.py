"""Requests at a constant rate, whatever becomes of them: each is timed from when it was due.

`python -m tests.proofs.steady_traffic PORT RATE MODEL…` sends to models of `slow_loading.adding`, in a process of its
own, so that nothing else that a proof does counts for latency. A line on stdin has it do something, see `_Program`.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np
import orjson
import uvloop

from tests.proofs.connection import Connection

_TOLD = 10
_CONNECTIONS = 32
_WITHIN_S = 60.0
_TURN_S = 0.02


@dataclass
class Slice:
    """What happened between two moments."""

    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """All that ended."""
        return len(self.latencies_s) + self.failed

    def quantile_ms(self, share: float) -> float:
        """Of the latencies of what succeeded."""
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Traffic:
    """One request every 1/rate seconds, over as many connections as that takes, but mostly the same few in turn.

    `request(number)` is what is sent, `wrong(number, head_length, body)` what is wrong with a 200's body, if anything.
    """

    def __init__(
        self, port: int, rate: float, request: Callable[[int], bytes], wrong: Callable[[int, int, bytes], str]
    ) -> None:
        self.slice = Slice()
        self._sent = 0
        self._port = port
        self._rate = rate
        self._request = request
        self._wrong = wrong
        self._idle: deque[_Sender] = deque()
        self._under_way: set[_Sender] = set()
        self._opening: set[asyncio.Task[None]] = set()

    def begin_slice(self) -> Slice:
        """Count what is answered from now on elsewhere; gives what was counted so far."""
        ended, self.slice = self.slice, Slice()
        return ended

    async def run(self) -> None:
        """Send until cancelled."""
        for _ in range(_CONNECTIONS):
            self._idle.append(await self._connected())
        began_s = time.perf_counter()  # the loop's own clock goes by milliseconds
        while True:
            due_s = began_s + self._sent / self._rate
            left_s = due_s - time.perf_counter()
            if left_s > 0:
                await asyncio.sleep(left_s)
            number, self._sent = self._sent, self._sent + 1
            if self._idle:
                self._idle.popleft().send(number, due_s)
            else:
                task = asyncio.create_task(self._open(number, due_s))
                self._opening.add(task)
                task.add_done_callback(self._opening.discard)

    async def _open(self, number: int, due_s: float) -> None:
        try:
            sender = await self._connected()
        except OSError as error:
            self.fail(f"no connection: {error}")
        else:
            sender.send(number, due_s)

    async def _connected(self) -> _Sender:
        sender = _Sender(self)
        sender.connection = await Connection.open(self._port, sender)
        return sender

    async def finish(self) -> None:
        """Wait for the answers that are still out; what does not come is a failure."""
        for _ in range(int(_WITHIN_S / _TURN_S)):
            if self._under_way or self._opening:
                await asyncio.sleep(_TURN_S)
        for _ in self._under_way:
            self.fail(f"no answer within {_WITHIN_S:g} s")
        for sender in self._idle:
            sender.connection.transport.close()
        self._idle.clear()

    def sent(self, sender: _Sender) -> bytes:
        """The bytes of what a connection is to send."""
        self._under_way.add(sender)
        return self._request(sender.number)

    def answered(self, sender: _Sender, status: int, head_length: int, body: bytes) -> None:
        """Take the answer that a connection has."""
        self._under_way.discard(sender)
        if len(self._idle) < _CONNECTIONS:
            self._idle.append(sender)
        else:
            sender.connection.transport.close()
        wrong = self._wrong(sender.number, head_length, body) if status == 200 else f"{status}: {body[:300]!r}"
        if wrong:
            self.fail(wrong)
        else:
            self.slice.latencies_s.append(time.perf_counter() - sender.due_s)

    def lost(self, sender: _Sender) -> None:
        """Take it that a connection has ended."""
        if sender in self._idle:
            self._idle.remove(sender)  # nobody used it for too long
        elif sender in self._under_way:
            self._under_way.discard(sender)
            self.fail("the gateway closed the connection")

    def fail(self, said: str) -> None:
        """Count a failure."""
        self.slice.failed += 1
        if self.slice.failed <= _TOLD:
            self.slice.failures.append(said)


class _Sender:
    """One connection, one request at a time."""

    def __init__(self, traffic: Traffic) -> None:
        self.connection: Connection
        self.number = 0
        self.due_s = 0.0
        self._traffic = traffic

    def send(self, number: int, due_s: float) -> None:
        """Send a request."""
        self.number, self.due_s = number, due_s
        self.connection.transport.write(self._traffic.sent(self))

    def answered(self, status: int, head_length: int, body: bytes) -> None:
        """See connection.Owner."""
        self._traffic.answered(self, status, head_length, body)

    def lost(self) -> None:
        """See connection.Owner."""
        self._traffic.lost(self)


class _Program:
    """Answers each line of JSON with one: `{"accept": [MODEL, FIRST, LAST]}` says what a model may add from now on,
    `{"slice": true}` ends a slice and gives all models' slices, `{"finish": true}` gives the last ones.
    """

    def __init__(self, port: int, rate: float, models: list[str]) -> None:
        self._accepted: dict[str, tuple[float, float]] = {}
        self._traffic = {
            model: Traffic(port, rate, _request(model), lambda *answer, model=model: self._wrong(model, *answer))
            for model in models
        }

    async def run(self) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        sending: list[asyncio.Task[None]] = []
        while line := await reader.readline():
            match orjson.loads(line):
                case {"accept": [model, first, last]}:
                    self._accepted[model] = first, last
                    answer: object = None
                case {"start": True}:
                    sending = [asyncio.create_task(each.run()) for each in self._traffic.values()]
                    answer = None
                case {"slice": True}:
                    answer = self._slices()
                case {"finish": True}:
                    for task in sending:
                        task.cancel()
                    for traffic in self._traffic.values():
                        await traffic.finish()
                    answer = self._slices()
            sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
            sys.stdout.buffer.flush()

    def _slices(self) -> dict[str, object]:
        return {model: asdict(traffic.begin_slice()) for model, traffic in self._traffic.items()}

    def _wrong(self, model: str, number: int, head_length: int, body: bytes) -> str:
        added = np.frombuffer(body[head_length:], np.float32) - _x(number)
        first, last = self._accepted[model]
        if len(added) == 2 and added[0] == added[1] and first <= added[0] <= last:
            return ""
        return f"{model}, request {number}: the model added {added.tolist()}, and not {first:g} to {last:g}"


def _request(model: str) -> Callable[[int], bytes]:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    lines = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {len(head) + 8}\r\nInference-Header-Content-Length: {len(head)}\r\n\r\n"
    )
    first = lines.encode() + head
    return lambda number: first + _x(number).tobytes()


def _x(number: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array([number % 65536, number // 65536 % 65536], np.float32)


if __name__ == "__main__":
    gc.disable()
    uvloop.run(_Program(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]).run())
