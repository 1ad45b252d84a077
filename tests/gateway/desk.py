"""A server that answers when it is let, and a Batcher in front of it."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from adapters.base import ROUTINE, Batching, Urgency
from adapters.errors import BackendUnavailable, InvalidInput
from adapters.tensors import DataType, Signature, Tensors, TensorSpec
from gateway.batcher import Batcher
from tests.waiting import turns

FREE = (None, None)


class Server:
    """Doubles x when it is let; a negative number fails the whole batch, as servers do it."""

    signature = Signature((TensorSpec("x", DataType.FP32, FREE),), (TensorSpec("y", DataType.FP32, FREE),))

    def __init__(self) -> None:
        self.running: list[asyncio.Future[None]] = []
        self.seen: list[list[float]] = []
        self.urgencies: list[Urgency] = []
        self.cancelled = 0
        self.closed = False

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
        x = inputs["x"]
        done = asyncio.get_running_loop().create_future()
        self.running.append(done)
        self.seen.append(x[:, 0].tolist())
        self.urgencies.append(urgency)
        try:
            await done
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running.remove(done)
        if (x < 0).any():
            raise InvalidInput("a negative number")
        return {"y": x * 2}

    def finish(self, error: BaseException | None = None) -> None:
        """Answer what runs for longest."""
        if error is None:
            self.running[0].set_result(None)
        else:
            self.running[0].set_exception(error)

    async def aclose(self) -> None:
        self.closed = True
        for each in self.running:
            if not each.done():
                each.set_exception(BackendUnavailable("closed"))


class Desk:
    """A Batcher, its server, and who asks."""

    def __init__(self, max_rows: int = 8, at_once: int = 1, **batching: Any) -> None:
        self.server = Server()
        self.batcher = Batcher(self.server, max_rows, Batching(**batching), at_once)

    async def ask(self, *values: float, width: int = 1, urgency: Urgency = ROUTINE) -> asyncio.Task[Tensors]:
        x = np.repeat(np.array(values, np.float32)[:, None], width, axis=1)
        task = asyncio.create_task(self.batcher.infer({"x": x}, urgency))
        await turns()
        return task

    async def busy(self) -> asyncio.Task[Tensors]:
        """Have the server work on something, so that what comes next waits."""
        return await self.ask(1000.0)

    async def finish(self, error: BaseException | None = None) -> None:
        self.server.finish(error)
        await turns()


def y(task: asyncio.Task[Tensors]) -> list[float]:
    """The first column of what a caller got."""
    rows: list[float] = task.result()["y"][:, 0].tolist()
    return rows
