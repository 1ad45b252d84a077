"""Servers that do what a test wants, and a generator beside them."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from hdrh.histogram import HdrHistogram

from loadtests.engine.plan import Plan, Request, Slice, Target
from loadtests.generator import Generator

Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))


def always(*answers: bytes) -> Answering:
    """Gives these answers in turn, on every connection from the first one on."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for turn in range(10**9):
            await read_request(reader)
            writer.write(answers[turn % len(answers)])

    return answer


@asynccontextmanager
async def serving(answering: Answering, port: int = 0) -> AsyncIterator[Target]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await answering(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    try:
        yield Target("127.0.0.1", server.sockets[0].getsockname()[1], "http/1.1")
    finally:
        server.close()


@dataclass
class Told:
    """All slices of a run together."""

    slices: list[Slice]

    @property
    def sent(self) -> int:
        return sum(each.sent for each in self.slices)

    @property
    def succeeded(self) -> int:
        return sum(answers.succeeded for each in self.slices for answers in each.answers.values())

    @property
    def failures(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for each in self.slices:
            total.update(each.failures)
        return total

    @property
    def first_failure(self) -> str:
        return next((each.first_failure for each in self.slices if each.first_failure), "")

    def histogram(self, kind: str = "latency") -> Any:
        total = HdrHistogram(1, 3_600_000_000, 3)
        for each in self.slices:
            for answers in each.answers.values():
                total.add(HdrHistogram.decode(base64.b64encode(getattr(answers, kind))))
        return total

    def check(self) -> None:
        """No request is lost, and slices follow each other."""
        sent = ended = 0
        for before, each in zip([None, *self.slices], self.slices, strict=False):
            sent += each.sent
            ended += sum(answers.succeeded for answers in each.answers.values()) + sum(each.failures.values())
            assert sent == ended + each.under_way
            assert each.begin_s == (before.end_s if before else 0)
        assert self.slices[-1].under_way == 0


def plan(target: Target, **settings: Any) -> Plan:
    return Plan(target, (Request("/infer", b"body"),), **{"timeout_s": 5.0, "slice_s": 0.05, **settings})


async def generate(made: Plan, level: float, until: Callable[[Told], Any]) -> Told:
    """Run a generator in a thread until what it has told is enough; it has told no request twice, and lost none."""

    def run() -> Told:
        told = Told([])
        ending = False
        with Generator(made) as generator:
            generator.level(level)
            for each in generator.slices():
                told.slices.append(each)
                if not ending and until(told):
                    generator.end()
                    ending = True
        return told

    told = await asyncio.wait_for(asyncio.to_thread(run), 60)
    told.check()
    return told
