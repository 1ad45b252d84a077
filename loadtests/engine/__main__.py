"""`python -m loadtests.engine`: a generator; see plan.py for what it reads and writes."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from typing import Final

import msgspec
import uvloop

from loadtests.engine.generating import Generating
from loadtests.engine.messages import LENGTH_BYTES, Unpacker, pack
from loadtests.engine.plan import Command, Ended, Plan

_GARBAGE: Final = (50_000, 20, 100)
"""Collected seldom: a collection keeps requests waiting, and hardly anything here is a cycle."""


class _Commands(asyncio.Protocol):
    """The standard input; where it closes, whoever gave the orders is gone."""

    def __init__(self, generating: Generating, gone: asyncio.Event) -> None:
        self._generating = generating
        self._gone = gone
        self._unpacker: Unpacker[Command] = Unpacker(Command)

    def data_received(self, data: bytes) -> None:
        for command in self._unpacker.feed(data):
            self._generating.obey(command)

    def connection_lost(self, error: Exception | None) -> None:
        self._gone.set()


async def _generate(plan: Plan) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_write_pipe(asyncio.Protocol, sys.stdout.buffer)
    gone = asyncio.Event()
    generating = Generating(plan, lambda message: transport.write(pack(message)))
    await loop.connect_read_pipe(lambda: _Commands(generating, gone), sys.stdin.buffer)
    running, orphaned = asyncio.create_task(generating.run()), asyncio.create_task(gone.wait())
    await asyncio.wait({running, orphaned}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
        transport.close()
        await asyncio.wait_for(gone.wait(), plan.timeout_s)  # its parent reads the rest, and closes


def _read_plan() -> Plan | None:
    plan = _read(int.from_bytes(_read(LENGTH_BYTES)))
    return msgspec.msgpack.decode(plan, type=Plan) if plan else None


def _read(count: int) -> bytes:
    """So many bytes of the standard input, and no more: commands follow. Nothing where it ends before that."""
    data = b""
    while len(data) < count:
        part = os.read(0, count - len(data))
        if not part:
            return b""
        data += part
    return data


def main() -> int:
    """Carry out the plan on the standard input."""
    plan = _read_plan()
    if plan is None:
        return 0
    try:
        if plan.core is not None:
            os.sched_setaffinity(0, {plan.core})
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GARBAGE)
        uvloop.run(_generate(plan))
    except Exception as error:  # noqa: BLE001  # the parent is to hear of it, whatever it is
        os.write(1, pack(Ended(f"{type(error).__name__}: {error}"[:1000])))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
