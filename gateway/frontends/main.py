"""A frontend process: answers requests, and does what control says, until control hangs up.

It is started by `gateway.frontends.spawn`, which writes a `Charge` to its stdin.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys

import msgspec
import uvloop

from adapters.connect import connect
from gateway.collecting import collect_rarely
from gateway.frontends.charge import Charge
from gateway.frontends.evidence import pass_on
from gateway.frontends.link import Link
from gateway.frontends.logs import LinkHandler
from gateway.frontends.messages import Evidence, Hello
from gateway.frontends.orders import Orders
from gateway.frontends.remote import RemoteAccess
from gateway.frontends.servers import InferenceServers
from gateway.logs import quieten
from gateway.registry import Registry


class InheritedPorts:
    """The listening sockets that came with the charge, and gRPC's port, taken with the first of them."""

    def __init__(self, servers: InferenceServers, charge: Charge) -> None:
        self._servers = servers
        self._charge = charge
        self._sockets = {number: socket.socket(fileno=each) for number, each in enumerate(charge.sockets, start=1)}
        self._starting: asyncio.Task[None] | None = None

    async def accept(self, numbers: list[int]) -> None:
        """See orders.Ports."""
        if self._starting is None and numbers:
            self._starting = asyncio.create_task(self._start())
        if self._starting is not None:
            await asyncio.shield(self._starting)
            await self._servers.accept({number: self._sockets[number] for number in numbers})

    async def _start(self) -> None:
        self._servers.bind(self._charge.host, self._charge.grpc_port)
        await self._servers.start()

    async def drain(self) -> None:
        """See orders.Ports."""
        if self._starting is not None:
            await self._servers.drain()


async def serve(charge: Charge) -> None:
    """Serve until control hangs up."""
    link = await Link.open(socket.socket(fileno=charge.link))
    logging.basicConfig(level=charge.log_level.upper(), handlers=[LinkHandler(link)], force=True)
    quieten()
    registry = Registry(connect, charge.drain_timeout_s)
    servers = InferenceServers(
        registry,
        RemoteAccess(link),
        max_body_bytes=charge.max_body_bytes,
        drain_timeout_s=charge.drain_timeout_s,
    )
    orders = Orders(registry, InheritedPorts(servers, charge))
    calming = asyncio.create_task(_collect_rarely(registry))
    passing_on = asyncio.create_task(pass_on(registry.recorder, lambda increments: link.tell(Evidence(increments))))
    link.tell(Hello())
    await link.serve(orders.respond)
    calming.cancel()
    passing_on.cancel()
    await registry.close()


async def _collect_rarely(registry: Registry) -> None:
    await registry.wait_ready()
    collect_rarely()


def main() -> None:
    """Entry point of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    charge = msgspec.json.decode(sys.stdin.buffer.readline(), type=Charge)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(charge))
    os._exit(0)  # gRPC's threads end with their servers, or are of no use


if __name__ == "__main__":
    main()
