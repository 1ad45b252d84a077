"""Models, backends and frontends that do what a test tells them to."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from adapters.base import ROUTINE, Artifact, Endpoint, Urgency
from adapters.errors import BackendUnavailable
from adapters.tensors import DataType, Signature, Tensors, TensorSpec

SIGNATURE = Signature(
    (TensorSpec("x", DataType.FP32, (None,)),),
    (TensorSpec("x", DataType.FP32, (None,)), TensorSpec("y", DataType.FP32, (None,))),
)
X = {"x": np.ones(1, np.float32)}


class HeldServable:
    """A Servable whose requests run until they are let go, first come first."""

    signature = SIGNATURE

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.running: list[asyncio.Future[None]] = []
        self.seen: list[Tensors] = []
        self.most_at_once = 0
        self.closed = False

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
        """See Servable.infer."""
        done = asyncio.get_running_loop().create_future()
        self.running.append(done)
        self.seen.append(inputs)
        self.most_at_once = max(self.most_at_once, len(self.running))
        try:
            await done
        finally:
            self.running.remove(done)
        return {"x": inputs["x"], "y": inputs["x"] * 2}

    def finish(self, error: Exception | None = None) -> None:
        """Answer the request that runs for longest."""
        if error is None:
            self.running[0].set_result(None)
        else:
            self.running[0].set_exception(error)

    async def aclose(self) -> None:
        """See Servable.aclose."""
        self.closed = True
        for each in self.running:
            if not each.done():
                each.set_exception(BackendUnavailable("closed"))


class QuickServable(HeldServable):
    """A Servable that answers at once."""

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
        """See Servable.infer."""
        if self.closed:
            raise BackendUnavailable("closed")
        self.seen.append(inputs)
        return {"x": inputs["x"], "y": inputs["x"] * 2}


def endpoint(address: str, backend: str = "onnxruntime") -> Endpoint:
    """An endpoint of the fake model."""
    return Endpoint(backend, address, SIGNATURE, "fake 1", 1)


class FakeAdapter:
    """An Adapter without processes: loads at once unless held, and fails with what `failures` has for a model's text.

    `failures` maps the artifact's content to what a load of it raises, again and again.
    """

    def __init__(self, backend: str = "onnxruntime") -> None:
        self.backend = backend
        self.lacks: str | None = None
        self.failures: dict[str, Exception] = {}
        self.hold: asyncio.Event | None = None
        self.loads: list[Artifact] = []
        self.live: dict[str, str] = {}
        self.unloaded: list[str] = []
        self.closed = False
        self._numbers = itertools.count(1)

    def missing(self) -> str | None:
        """See Adapter.missing."""
        return self.lacks

    async def load(self, artifact: Artifact) -> Endpoint:
        """See Adapter.load; addresses are `DEPLOYMENT#1`, `#2`, …"""
        self.loads.append(artifact)
        content = artifact.path.read_text() if artifact.path.is_file() else ""
        if self.hold is not None:
            await self.hold.wait()
        if error := self.failures.get(content):
            raise error
        address = f"{artifact}#{next(self._numbers)}"
        self.live[address] = content
        return endpoint(address, self.backend)

    async def unload(self, endpoint: Endpoint) -> None:
        """See Adapter.unload."""
        self.live.pop(endpoint.address, None)
        self.unloaded.append(endpoint.address)

    async def close(self) -> None:
        """See Adapter.close."""
        self.closed = True
        self.live.clear()


async def no_warm_up(endpoint: Endpoint, *_: Any) -> Endpoint:
    """Instead of gateway.warmup, which may add to what the adapter knows of its endpoint."""
    return replace(endpoint, remote={**endpoint.remote, "max_rows": "1"})


def states(records: Any) -> Mapping[str, str]:
    """Deployments by name, with their states."""
    return {str(record.deployment): str(record.state) for record in records}
