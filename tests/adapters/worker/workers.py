"""Real workers, and the means to hold them in the middle of a run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from adapters.base import ROUTINE, Artifact, Batching, Endpoint, Urgency
from adapters.tensors import Tensor
from adapters.worker.adapter import LocalRuntime, WorkerAdapter
from adapters.worker.client import WorkerClient
from tests.waiting import turns, until

GATED = LocalRuntime("gated", "tests.adapters.worker.sessions:GatedRuntime", (), "")
MEETING = LocalRuntime("meeting", "tests.adapters.worker.sessions:MeetingRuntime", (), "")
LONELY = LocalRuntime("lonely", "tests.adapters.worker.sessions:LonelyRuntime", (), "")


def artifact(path: Path, max_rows: int | None = None, **options: Any) -> Artifact:
    """An artifact as the gateway would describe it."""
    return Artifact("model", 1, "any", path, "0" * 64, options, batching=Batching(max_rows))


class Workers:
    """Adapters over one folder of sockets, and what they reported."""

    def __init__(self, sockets: Path) -> None:
        self.sockets = sockets
        self.deaths: list[tuple[Endpoint, str]] = []
        self._adapters: list[WorkerAdapter] = []
        self._clients: list[WorkerClient] = []

    def adapter(self, local: LocalRuntime) -> WorkerAdapter:
        """An adapter that is closed with the test."""
        adapter = WorkerAdapter(local, self.sockets, lambda endpoint, reason: self.deaths.append((endpoint, reason)))
        self._adapters.append(adapter)
        return adapter

    async def connect(self, endpoint: Endpoint) -> WorkerClient:
        """A connection that is closed with the test."""
        client = await WorkerClient.connect(endpoint)
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """Close all of it."""
        for client in self._clients:
            await client.aclose()
        for adapter in self._adapters:
            await adapter.close()


class Gated:
    """A worker whose model runs when the test says so: each run waits at a named pipe."""

    def __init__(self, workers: Workers, gate: Path, adapter: WorkerAdapter, endpoint: Endpoint) -> None:
        self.workers = workers
        self.gate = gate
        self.adapter = adapter
        self.endpoint = endpoint
        self.pid: int = endpoint.pid or 0

    @classmethod
    async def load(
        cls, workers: Workers, gate: Path, max_rows: int, *, timeout_ms: int | None = None, **batching: Any
    ) -> Gated:
        """Load it; its warm-up run passes, the gate comes after. `batching` are those of Batching."""
        adapter = workers.adapter(GATED)
        wanted = replace(artifact(gate), batching=Batching(max_rows, **batching), timeout_ms=timeout_ms)
        endpoint = await adapter.load(wanted)
        os.mkfifo(gate)
        return cls(workers, gate, adapter, endpoint)

    async def client(self) -> WorkerClient:
        """A connection to it."""
        return await self.workers.connect(self.endpoint)

    async def begin(
        self, client: WorkerClient, *values: float, urgency: Urgency = ROUTINE
    ) -> asyncio.Task[dict[str, Tensor]]:
        """A request whose bytes are on their way to the worker."""
        task = asyncio.create_task(client.infer({"x": np.array(values, np.float32)}, urgency))
        await turns()
        return task

    async def running(self) -> Callable[[], None]:
        """Wait until a run of the model has come to the gate; gives what lets it pass."""

        def opened() -> list[int]:
            try:
                return [os.open(self.gate, os.O_WRONLY | os.O_NONBLOCK)]
            except OSError:  # nobody reads it yet
                return []

        (descriptor,) = await until(opened)
        return lambda: os.close(descriptor)

    def open(self) -> None:
        """Take the gate away: from now on, whatever comes runs."""
        self.gate.unlink()
