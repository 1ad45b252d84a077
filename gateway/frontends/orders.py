"""What a frontend does when control tells it to."""

from __future__ import annotations

import asyncio
from typing import Protocol
from weakref import WeakValueDictionary

from adapters.errors import BackendUnavailable
from gateway.frontends import messages as m
from gateway.ports import PortTaken
from gateway.registry import Registry
from gateway.types import Deployment


class Ports(Protocol):
    """Where a frontend takes requests."""

    async def accept(self, numbers: list[int]) -> None:
        """Take connections from these listening sockets, and from no others; raises PortTaken."""
        ...

    async def drain(self) -> None:
        """Take no new requests, and return once those that run are answered."""
        ...


class Orders:
    """Control's word, carried out on a registry and its ports."""

    def __init__(self, registry: Registry, ports: Ports) -> None:
        self._registry = registry
        self._ports = ports
        self._turns: WeakValueDictionary[Deployment, asyncio.Lock] = WeakValueDictionary()

    async def respond(self, act: m.Act) -> object:
        """Do it; gives the answer. To be begun in the order of the calls."""
        match act:
            case m.Show():
                self._show(act)
            case m.Publish():
                async with self._turn(act.deployment):
                    await self._registry.publish(act.deployment, act.endpoint, act.serving)
            case m.Withdraw():
                async with self._turn(act.deployment):
                    pass  # what was to be published before is now, or never will be
                await self._registry.withdraw(act.deployment, act.endpoint)
            case m.Report():
                return list(self._registry.statistics().items())
            case m.Collect():
                return self._registry.recorder.take()
            case m.Accept():
                await self._accept(act.sockets)
            case m.Refuse():
                self._registry.stop()
                await self._accept([])
            case m.Drain():
                self._registry.stop()
                await self._ports.drain()
            case _:
                raise TypeError(f"{type(act).__name__} is nothing that a frontend does")
        return None

    def _turn(self, deployment: Deployment) -> asyncio.Lock:
        """Of one deployment, endpoints are published in the order in which they came: the last one counts."""
        return self._turns.setdefault(deployment, asyncio.Lock())

    def _show(self, act: m.Show) -> None:
        tables = {**self._registry.tables, **act.tables}
        for name in act.gone:
            tables.pop(name, None)
        self._registry.show(tables)
        if act.settled:
            self._registry.settle()

    async def _accept(self, numbers: list[int]) -> None:
        try:
            await self._ports.accept(numbers)
        except (PortTaken, OSError) as error:
            raise BackendUnavailable(str(error)) from error
