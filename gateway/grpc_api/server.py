"""The gRPC server of the inference port: every protocol's services, health and reflection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gateway.grpc_api.pools import JoinedPools
from gateway.registry import Registry

_log = logging.getLogger(__name__)

_HEAD_BYTES: Final = 1 << 20
"""What a message may have besides tensors: REST's limit is for a body of the same tensors."""


class GrpcServer:
    """One gRPC server in the running event loop."""

    def __init__(self, registry: Registry, services: Sequence[Any], max_message_bytes: int) -> None:
        """`services` are generic handlers, as `calls.service` makes them."""
        self._registry = registry
        self._server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", max_message_bytes + _HEAD_BYTES),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
                ("grpc.http2.max_pings_without_data", 0),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            )
        )
        self._health = health.aio.HealthServicer()
        self._server.add_generic_rpc_handlers(tuple(services))
        names = [each.service_name() for each in services]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._names = [health.OVERALL_HEALTH, *names]
        reflection.enable_server_reflection(
            (*names, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server, JoinedPools()
        )
        self._watching: asyncio.Task[None] | None = None

    def bind(self, host: str, port: int) -> int:
        """Take a port, 0 for a free one; gives its number. Raises RuntimeError where it is taken."""
        where = f"[{host}]" if ":" in host else host
        taken: int = self._server.add_insecure_port(f"{where}:{port}")
        return taken

    async def start(self) -> None:
        """Begin to answer; health follows the registry."""
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._server.start()
        self._watching = asyncio.create_task(self._watch(), name="gRPC health")

    async def _watch(self) -> None:
        await self._registry.wait_ready()
        await self._say(health_pb2.HealthCheckResponse.SERVING)

    async def _say(self, serving: Any) -> None:
        for name in self._names:
            await self._health.set(name, serving)

    async def stop(self, grace_s: float) -> None:
        """Not serving from now on; calls that run get `grace_s` to end."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)
