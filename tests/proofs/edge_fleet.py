"""Thousands of devices that ask, download, check themselves and report: over real sockets, on one event loop."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

_BASE = "/edge/v1"


class Connection:
    """One keep-alive connection of HTTP/1.1, for answers with a Content-Length."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, bytes]:
        """Status and body; asked again on a new connection where the server has closed this one."""
        head = f"{method} {_BASE}/{path} HTTP/1.1\r\nHost: edge\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        for attempt in range(30):
            try:
                if self._writer is None:
                    self._reader, self._writer = await asyncio.open_connection(*self._address)
                self._writer.write(head.encode() + body)
                return await self._answer()
            except (OSError, asyncio.IncompleteReadError):
                self.close()
                if attempt == 29:
                    raise
                await asyncio.sleep(0.3)  # it is being started again
        raise AssertionError

    async def _answer(self) -> tuple[int, bytes]:
        assert self._reader is not None
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        return status, await self._reader.readexactly(length) if status not in (204, 304) else b""

    def close(self) -> None:
        """Let go of it."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


@dataclass
class Device:
    """A device and what it has. `ever` are the versions that it has had installed."""

    id: str
    version: int | None = None
    sha256: str = ""
    ever: set[int] = field(default_factory=set)


@dataclass
class Fleet:
    """Devices of one model. `fails` says how likely a version fails its self-check on a device."""

    host: str
    port: int
    model: str
    devices: list[Device]
    fails: dict[int, float] = field(default_factory=dict)
    at_once: int = 64
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    wrong: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, host: str, port: int, model: str, count: int) -> Fleet:
        """So many devices, with ids as clients make them."""
        made = random.Random(20261123)
        return cls(host, port, model, [Device(f"{made.getrandbits(128):032x}") for _ in range(count)])

    def versions(self) -> Counter[int | None]:
        """How many devices have which version."""
        return Counter(each.version for each in self.devices)

    async def census(self) -> dict[str, int]:
        """Which version each device is told to have; none installs it or reports."""
        told: dict[str, int] = {}

        async def ask(connection: Connection, device: Device) -> None:
            if (offer := await self._offer(connection, device)) is not None:
                told[device.id] = offer["version"]

        await self._each(ask)
        return told

    async def round(self, while_true: Callable[[], bool] = lambda: True) -> None:
        """Every device asks once, in an order by chance, and takes what it is given."""

        async def poll(connection: Connection, device: Device) -> None:
            if while_true() and (offer := await self._offer(connection, device)) is not None:
                await self._take(connection, device, offer)

        await self._each(poll)

    async def _take(self, connection: Connection, device: Device, offer: dict[str, Any]) -> None:
        if offer["sha256"] == device.sha256:
            return
        folder, _, name = offer["target"].rpartition("/")
        status, body = await connection.ask("GET", f"targets/{folder}/{offer['sha256']}.{name}")
        if status != 200 or hashlib.sha256(body).hexdigest() != offer["sha256"]:
            self.wrong.append(f"{offer['target']}: {status}, {len(body)} bytes")
            return
        known = offer["version"] in device.ever
        device.version, device.sha256 = offer["version"], offer["sha256"]
        device.ever.add(offer["version"])
        if not known:
            passed = self.chance.random() >= self.fails.get(offer["version"], 0.0)
            await self._report(connection, device, offer, passed)

    async def _report(self, connection: Connection, device: Device, offer: dict[str, Any], passed: bool) -> None:
        told = {key: offer[key] for key in ("model", "version", "target")}
        reports = [
            {**told, "id": device.id, "kind": "installed"},
            {**told, "id": device.id, "kind": "self_check", "passed": passed, "latency_ms": [2.5, 3.0]},
        ]
        body = json.dumps({"reports": reports}).encode()
        status, answer = await connection.ask("POST", "reports", body, "Content-Type: application/json\r\n")
        if status != 202 or json.loads(answer)["refused"]:
            self.wrong.append(f"reports: {status} {answer[:200]!r}")

    async def _offer(self, connection: Connection, device: Device) -> dict[str, Any] | None:
        query = {"os": "android", "runtime": "tflite", "ram_mb": "4096", "app": "2.1.0", "id": device.id}
        if device.sha256:
            query["have"] = device.sha256
        status, body = await connection.ask("GET", f"models/{self.model}/check?{urlencode(query)}")
        if status != 200:
            self.wrong.append(f"check: {status} {body[:200]!r}")
            return None
        offer: dict[str, Any] = json.loads(body)
        return offer

    async def _each(self, act: Callable[[Connection, Device], Awaitable[None]]) -> None:
        waiting = list(self.devices)
        self.chance.shuffle(waiting)

        async def work(queue: Iterable[Device]) -> None:
            connection = Connection(self.host, self.port)
            for device in queue:
                await act(connection, device)
            connection.close()

        shared = iter(waiting)
        await asyncio.gather(*(work(shared) for _ in range(self.at_once)))
