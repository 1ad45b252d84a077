"""The gRPC server of the inference port: every protocol's services, health and reflection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gateway.grpc_api.pools import JoinedPools
from gateway.registry import Registry

_log = logging.getLogger(__name__)

_HEAD_BYTES: Final = 1 << 20
"""What a message may have besides tensors: REST's limit is for a body of the same tensors."""

_WINDOW_BYTES: Final = 1 << 22
"""What a caller may send ahead. gRPC would find that out by a ping with every request: as much work as the request."""


_ACCEPTORS: Final = 16
"""Servers on the one port, each of which takes one new call in a turn of the event loop."""


class GrpcServer:
    """One gRPC port in the running event loop.

    A `grpc.aio` server takes its next call once the event loop has seen the last: one call in each turn, however many
    wait, and so batches of one. Several servers share the port, and the kernel shares the connections out among them.
    """

    def __init__(self, registry: Registry, services: Sequence[Any], max_message_bytes: int) -> None:
        """`services` are generic handlers, as `calls.service` makes them."""
        self._registry = registry
        with _patient_threads():
            self._servers = [_make(max_message_bytes) for _ in range(_ACCEPTORS)]
        self._health = health.aio.HealthServicer()
        names = [each.service_name() for each in services]
        self._names = [health.OVERALL_HEALTH, *names]
        shown = (*names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        for server in self._servers:
            server.add_generic_rpc_handlers(tuple(services))
            health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
            reflection.enable_server_reflection(shown, server, JoinedPools())
        self._watching: asyncio.Task[None] | None = None

    def bind(self, host: str, port: int) -> int:
        """Take a port, 0 for a free one; gives its number. Raises RuntimeError where it is taken."""
        where = f"[{host}]" if ":" in host else host
        for server in self._servers:
            port = server.add_insecure_port(f"{where}:{port}")
        return port

    async def start(self) -> None:
        """Begin to answer; health follows the registry."""
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        for server in self._servers:
            await server.start()
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
        await asyncio.gather(*(server.stop(grace_s) for server in self._servers))


def _make(max_message_bytes: int) -> Any:
    return grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", max_message_bytes + _HEAD_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 1),
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", _WINDOW_BYTES),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        )
    )


@contextlib.contextmanager
def _patient_threads() -> Iterator[None]:
    """Threads that are started within do not interrupt the event loop on its own core.

    gRPC's threads wake several times for each call; each time, the loop would lose the core with work in its hands.
    """
    if not hasattr(os, "SCHED_BATCH"):
        yield
        return
    before, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, before, parameters)
