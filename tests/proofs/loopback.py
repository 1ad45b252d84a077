"""The gateway's whole way in one process: bytes of HTTP in and out, and a worker that answers at once."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from adapters import wire
from adapters.base import Endpoint
from adapters.tensors import DataType, Signature, Tensors, TensorSpec
from adapters.worker.client import WorkerClient
from gateway.api.endpoint import DialectEndpoint
from gateway.api.http import HttpProtocol
from gateway.api.open_inference import OpenInferenceHttp
from gateway.dataplane import DataPlane
from gateway.registry import Registry
from gateway.types import Deployment, ModelTable, Serving, Standing, State

DEPLOYMENT = Deployment("mlp", 1, "onnxruntime")
SIGNATURE = Signature((TensorSpec("x", DataType.FP32, (None, 64)),), (TensorSpec("y", DataType.FP32, (None, 10)),))
_DATE = [(b"date", b"Mon, 23 Nov 2026 12:00:00 GMT")]
_ID_AT = 8


class _Pipe(asyncio.Transport):
    """A transport that does nothing but count what is written."""

    def __init__(self, written: Callable[[Any], None]) -> None:
        super().__init__()
        self._written = written

    def write(self, data: Any) -> None:
        self._written(data)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class Loopback:
    """Connections that send one request over and over, and `mlp/1@onnxruntime`, which answers `outputs`."""

    def __init__(self, outputs: Tensors) -> None:
        self._answer = b"".join(wire.tensors_frame(wire.Kind.RESULT, 0, outputs))
        self._loop = asyncio.get_running_loop()
        self._left = 0

    async def run(self, request: bytes, connections: int, requests: int) -> None:
        """Send `requests` over so many connections, and wait for the answers."""
        registry = Registry(self._connect, drain_timeout_s=1.0)
        await registry.publish(DEPLOYMENT, Endpoint("onnxruntime", "", SIGNATURE, "onnxruntime"), Serving())
        standings = {DEPLOYMENT: Standing(State.READY)}
        registry.show({"mlp": ModelTable("mlp", ("onnxruntime",), {}, standings)})
        endpoint = DialectEndpoint([OpenInferenceHttp(DataPlane(registry))], 1 << 26, _nobody)
        config = uvicorn.Config(endpoint, http=HttpProtocol, lifespan="off", log_config=None, proxy_headers=False)
        config.load()
        state = ServerState()
        state.default_headers = _DATE
        self._left, done = requests, self._loop.create_future()
        for _ in range(connections):
            self._open(HttpProtocol(config, state, {}), request, done)
        await done

    def _open(self, protocol: HttpProtocol, request: bytes, done: asyncio.Future[None]) -> None:
        def answered(_: object) -> None:
            self._left -= 1
            if self._left > 0:
                self._loop.call_soon(protocol.data_received, request)
            elif not done.done():
                done.set_result(None)

        protocol.connection_made(_Pipe(answered))
        protocol.data_received(request)

    async def _connect(self, endpoint: Endpoint) -> WorkerClient:
        client, reader = WorkerClient(endpoint), wire.FrameReader()

        def answer(data: bytes) -> None:
            frames = bytearray()
            for frame in reader.feed(data):
                frames += self._answer
                struct.pack_into("<Q", frames, len(frames) - len(self._answer) + _ID_AT, frame.id)
            client.data_received(bytes(frames))

        client.connection_made(_Pipe(lambda data: self._loop.call_soon(answer, data)))
        return client


async def _nobody(scope: Any, receive: Any, send: Any) -> None:
    raise NotImplementedError
