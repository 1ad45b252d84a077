"""A place for a frontend process: started, attended, buried, and started again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

from adapters.errors import BackendUnavailable
from gateway.frontends import messages as m
from gateway.frontends.link import Link
from gateway.frontends.member import Gone, Member
from gateway.versions import Restarts

_log = logging.getLogger(__name__)

_START_S: Final = 60.0
"""Until a new process says hello."""

_EXIT_S: Final = 2.0
"""Until a process has ended that has lost its link."""

_BEAT_S: Final = 2.0
"""Between two reports: each shows that the frontend lives, and is what is left of it when it dies."""


class Process(Protocol):
    """A frontend's process; `end` is this side's end of the link."""

    @property
    def pid(self) -> int:
        """The process id."""
        ...

    @property
    def end(self) -> socket.socket:
        """This side's end of the link."""
        ...

    async def wait(self) -> str:
        """Wait for its end, and say how it ended."""
        ...

    async def stop(self, grace_s: float) -> None:
        """End it."""
        ...


Spawn: TypeAlias = Callable[[int], Awaitable[Process]]
"""Starts a frontend of that number; raises OSError."""


class Group(Protocol):
    """Who the frontend in a slot belongs to."""

    async def join(self, member: Member) -> None:
        """Hand everything over to a new frontend, and have it listen; raises Gone and BackendUnavailable."""
        ...

    def leave(self, member: Member) -> None:
        """Count a frontend out."""
        ...

    async def respond(self, number: int, act: m.Act) -> object:
        """Do what a frontend asks for."""
        ...


class Slot:
    """Keeps one frontend alive."""

    def __init__(self, number: int, spawn: Spawn, group: Group, drain_timeout_s: float) -> None:
        self.number = number
        self.pid: int | None = None
        self.deaths = 0
        self.tried = asyncio.Event()
        self.ending = False
        self._spawn = spawn
        self._group = group
        self._drain_timeout_s = drain_timeout_s
        self._restarts = Restarts()

    async def keep(self) -> None:
        """Have a frontend here, until cancelled, or until one dies while `ending`."""
        while not self.ending:
            reason = await self._live()
            if self.ending:
                return
            self.deaths += 1
            self.tried.set()
            # However often it dies: nobody else does its work.
            delay_s = self._restarts.died(time.monotonic())
            delay_s = Restarts.MAX_DELAY_S if delay_s is None else delay_s
            when = f"in {delay_s:g} s" if delay_s else "at once"
            _log.error("frontend %d died (%s); it is started again %s", self.number, reason, when)
            await asyncio.sleep(delay_s)

    async def _live(self) -> str:
        """One frontend's life; gives how it ended."""
        try:
            process = await self._spawn(self.number)
        except OSError as error:
            return f"it could not be started: {error}"
        link = await Link.open(process.end)
        member = Member(self.number, link, self._drain_timeout_s)
        hello = asyncio.Event()

        async def respond(act: m.Act) -> object:
            if isinstance(act, m.Hello):
                hello.set()
                return None
            return await self._group.respond(self.number, act)

        attending = asyncio.create_task(self._attend(member, hello), name=f"frontend {self.number}")
        serving = asyncio.create_task(link.serve(respond), name=f"link of frontend {self.number}")
        self.pid = process.pid
        try:
            await asyncio.wait((attending, serving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.pid = None
            self._group.leave(member)
            link.close()
            attending.cancel()
            await asyncio.wait((attending, serving))
            how = await _bury(process, at_once=member.hung)
        failure = None if attending.cancelled() else attending.exception()
        return how if failure is None or isinstance(failure, Gone) else f"{failure}: {how}"

    async def _attend(self, member: Member, hello: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(_START_S):
                await hello.wait()
        except TimeoutError:
            member.hung = True
            raise TimeoutError(f"it was not there after {_START_S:g} s") from None
        await self._group.join(member)
        self.tried.set()
        while True:
            await asyncio.sleep(_BEAT_S)
            try:
                await member.report()
            except BackendUnavailable as error:  # it lives: it said so
                _log.warning("frontend %d cannot say what it has done: %s", self.number, error)


async def _bury(process: Process, at_once: bool) -> str:
    if not at_once:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _EXIT_S)
    await process.stop(0)
    return await process.wait()
