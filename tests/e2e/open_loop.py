"""Requests that come at random moments, whether earlier ones have been answered or not: what the world does."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Asked:
    """One request: when it was sent, since the first one, and what became of it."""

    sent_s: float
    took_s: float
    status: int
    headers: Mapping[str, str]
    body: bytes


class Flood:
    """A client that costs little itself: as many connections as requests are under way, each used again."""

    def __init__(self, url: str, body: object) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname, parts.port
        data = json.dumps(body).encode()
        head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(data)}\r\n"
        self._request = f"{head}Content-Type: application/json\r\n\r\n".encode() + data
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._asked: list[Asked] = []
        self._begin_s = 0.0

    def run(self, per_s: float, for_s: float, seed: int = 1) -> list[Asked]:
        """Send so many requests per second, on average, and wait for the last answer."""
        return asyncio.run(self._run(per_s, for_s, seed))

    async def _run(self, per_s: float, for_s: float, seed: int) -> list[Asked]:
        dice = random.Random(seed)
        self._begin_s = next_s = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            while next_s < self._begin_s + for_s:
                next_s += dice.expovariate(per_s)
                await asyncio.sleep(next_s - time.perf_counter())
                tasks.create_task(self._ask())
        for _, writer in self._idle:
            writer.close()
        return self._asked

    async def _ask(self) -> None:
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection(*self._address)
        sent_s = time.perf_counter()
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        body = await reader.readexactly(int(headers["content-length"]))
        took_s = time.perf_counter() - sent_s
        self._asked.append(Asked(sent_s - self._begin_s, took_s, int(head[0].split()[1]), headers, body))
        self._idle.append((reader, writer))
