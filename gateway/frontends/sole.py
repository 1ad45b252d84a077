"""The only frontend, in the control plane's own process and event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from adapters.base import Endpoint
from adapters.connect import connect
from gateway.config import Settings
from gateway.front import LocalFront
from gateway.frontends.evidence import Take, pass_on
from gateway.frontends.servers import InferenceServers
from gateway.modelaccess import ModelAccess
from gateway.ports import join_address, listen, url
from gateway.registry import Registry
from gateway.types import Deployment, ModelTable, Serving


class SoleFrontend(LocalFront):
    """A frontend without a link: control's word is a call."""

    def __init__(self, settings: Settings) -> None:
        """Binds HTTP's port; raises PortTaken. To be made inside a running event loop."""
        super().__init__(Registry(connect, settings.drain_timeout_s))
        self._settings = settings
        self._listening = listen(settings.host, settings.http_port, "http_port")
        # gRPC binds by itself, later, and says no more of a port that is taken than that it is.
        listen(settings.host, settings.grpc_port, "grpc_port").close()
        self.inference_url = url(self._listening)
        self.grpc_address = ""
        self._servers: InferenceServers
        self._take: Take
        self._passing_on: asyncio.Task[None] | None = None

    def open(self, models: ModelAccess, take: Take) -> None:
        """Build the servers, and bind gRPC's port; raises PortTaken. `take` gets what is noted of experiments."""
        self._take = take
        settings = self._settings
        self._servers = InferenceServers(
            self.registry,
            models,
            max_body_bytes=settings.max_body_bytes,
            drain_timeout_s=settings.drain_timeout_s,
        )
        port = self._servers.bind(settings.host, settings.grpc_port)
        self.grpc_address = join_address(settings.host, port)

    async def start(self) -> list[asyncio.Task[None]]:
        """Begin to answer; gives the tasks that end only with it."""
        task = await self._servers.start()
        await self._servers.accept({1: self._listening})
        self._passing_on = asyncio.create_task(pass_on(self.registry.recorder, self._take), name="evidence")
        return [task]

    async def wait_ready(self) -> None:
        """Wait until all that was there at the start has been loaded or has failed."""
        await self.registry.wait_ready()

    def show(self, tables: Mapping[str, ModelTable]) -> None:
        """See lifecycle.Frontend."""
        self.registry.show(tables)

    async def shown(self) -> None:
        """See lifecycle.Frontend."""
        await self.registry.shown()

    async def publish(self, deployment: Deployment, endpoint: Endpoint, serving: Serving) -> None:
        """See lifecycle.Frontend."""
        await self.registry.publish(deployment, endpoint, serving)

    async def withdraw(self, deployment: Deployment, endpoint: Endpoint) -> None:
        """See lifecycle.Frontend."""
        await self.registry.withdraw(deployment, endpoint)

    async def collect(self) -> None:
        """See Front.collect."""
        if increments := self.registry.recorder.take():
            self._take(increments)

    def stop(self) -> None:
        """Not ready from now on."""
        self.registry.stop()

    async def drain(self) -> None:
        """Take no new connections, and return once the requests that run are answered."""
        self._listening.close()
        await self._servers.drain()
        if self._passing_on is not None:
            self._passing_on.cancel()
            await asyncio.wait([self._passing_on])

    async def close(self) -> None:
        """Let every connection to an endpoint go."""
        await self.registry.close()
