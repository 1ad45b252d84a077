"""The inference ports of one frontend: HTTP and gRPC over one registry."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

from gateway.api import app as inference_app
from gateway.dataplane import DataPlane
from gateway.grpc_api import open_inference, tf_serving, torchserve
from gateway.grpc_api.server import GrpcServer
from gateway.httpserver import HttpServer
from gateway.modelaccess import ModelAccess
from gateway.ports import PortTaken
from gateway.registry import Registry


class InferenceServers:
    """Both servers, in the running event loop."""

    def __init__(self, registry: Registry, models: ModelAccess, *, max_body_bytes: int, drain_timeout_s: float) -> None:
        self._drain_timeout_s = drain_timeout_s
        dataplane = DataPlane(registry)
        self._http = HttpServer(inference_app.build(dataplane, models, max_body_bytes), drain_timeout_s)
        services = [
            *open_inference.services(dataplane, models),
            *tf_serving.services(dataplane),
            *torchserve.services(dataplane),
        ]
        self._grpc = GrpcServer(registry, services, max_message_bytes=max_body_bytes)
        self._serving: asyncio.Task[None] | None = None

    def bind(self, host: str, port: int) -> int:
        """Take gRPC's port, 0 for a free one; gives its number. Raises PortTaken."""
        try:
            return self._grpc.bind(host, port)
        except RuntimeError as error:
            raise PortTaken(f"grpc_port: cannot listen on {host} port {port}: {error}") from None

    async def start(self) -> asyncio.Task[None]:
        """Begin to answer, over HTTP on what `accept` says; the task ends after `drain`."""
        self._serving = await self._http.start()
        await self._grpc.start()
        return self._serving

    async def accept(self, listening: Mapping[int, socket.socket]) -> None:
        """See HttpServer.accept."""
        await self._http.accept(listening)

    async def drain(self) -> None:
        """Take no new requests, and return once those that run are answered, or their time is up."""
        await self._http.stop()
        over = [asyncio.create_task(self._grpc.stop(self._drain_timeout_s)), *filter(None, [self._serving])]
        await asyncio.wait(over)
