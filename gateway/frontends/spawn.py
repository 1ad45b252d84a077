"""Starts frontend processes, on ports that outlive each of them."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import msgspec

from adapters.process import Child, python_argv, python_environment
from gateway.config import Settings
from gateway.frontends.charge import Charge
from gateway.ports import address, hold, listen_together, url


class SharedPorts:
    """One socket for each frontend on HTTP's port, and gRPC's port, on which each listens by itself.

    The sockets stay open here: connections wait in them while no frontend is there.
    """

    def __init__(self, settings: Settings) -> None:
        """Binds them; raises PortTaken."""
        self.sockets = listen_together(settings.host, settings.http_port, "http_port", settings.frontends)
        self._held = hold(settings.host, settings.grpc_port, "grpc_port")
        self.inference_url = url(self.sockets[0])
        self.grpc_address = address(self._held)
        self.grpc_port: int = self._held.getsockname()[1]

    def close(self) -> None:
        """Refuse connections from now on, whoever still has the sockets."""
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._held.close()


class FrontendProcess:
    """A slot.Process."""

    def __init__(self, child: Child, end: socket.socket) -> None:
        self.end = end
        self._child = child
        self._silencing = asyncio.create_task(child.discard_stdout())

    @property
    def pid(self) -> int:
        """See slot.Process."""
        return self._child.pid

    async def wait(self) -> str:
        """See slot.Process."""
        return await self._child.wait()

    async def stop(self, grace_s: float) -> None:
        """See slot.Process."""
        await self._child.stop(grace_s)


class Spawner:
    """A slot.Spawn."""

    def __init__(self, settings: Settings, ports: SharedPorts) -> None:
        self._settings = settings
        self._ports = ports

    async def __call__(self, number: int) -> FrontendProcess:
        """See slot.Spawn."""
        ours, theirs = socket.socketpair()
        with theirs:
            settings = self._settings
            charge = Charge(
                number=number,
                link=theirs.fileno(),
                sockets=[each.fileno() for each in self._ports.sockets],
                host=settings.host,
                grpc_port=self._ports.grpc_port,
                max_body_bytes=settings.max_body_bytes,
                drain_timeout_s=settings.drain_timeout_s,
                log_level=settings.log_level,
            )
            try:
                child = await Child.start(
                    python_argv("gateway.frontends.main"),
                    name=f"frontend {number}",
                    env=python_environment(),
                    pass_fds=(charge.link, *charge.sockets),
                )
            except BaseException:
                ours.close()
                raise
        await child.send_line(msgspec.json.encode(charge))  # it fits into the pipe: nothing is waited for
        return FrontendProcess(child, ours)
