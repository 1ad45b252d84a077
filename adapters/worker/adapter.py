"""Control side of the local runtimes: one worker process for each deployment, watched until it is told to stop."""

from __future__ import annotations

import asyncio
import itertools
import logging
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import msgspec

from adapters.base import Artifact, Endpoint, OnDeath
from adapters.errors import BackendDied, LoadFailed
from adapters.process import Child, python_argv, python_environment
from adapters.worker.job import Job, Ready, Refused

_log = logging.getLogger(__name__)

_STOP_GRACE_S = 2.0
_SHORTEST_RUN_LIMIT_S = 10.0  # to start anew takes seconds, too: what is merely slow for its deadline may well end


@dataclass(frozen=True, slots=True)
class LocalRuntime:
    """What the control side knows of a local runtime, without importing it.

    `modules` are the packages any one of which will do; `extra` is the extra of torii-gateway that installs one.
    """

    backend: str
    runtime: str
    modules: tuple[str, ...]
    extra: str


ONNX_RUNTIME = LocalRuntime("onnxruntime", "adapters.onnx_runtime:OnnxRuntime", ("onnxruntime",), "onnx")
TFLITE = LocalRuntime("tflite", "adapters.tflite:TfliteRuntime", ("ai_edge_litert", "tflite_runtime"), "tflite")
ECHO = LocalRuntime("echo", "adapters.echo:EchoRuntime", (), "")


class WorkerAdapter:
    """An Adapter whose endpoints are worker processes."""

    def __init__(self, local: LocalRuntime, sockets: Path, on_death: OnDeath) -> None:
        """`sockets` is a private folder with a short path: a Unix socket's address holds about 100 characters."""
        self.backend = local.backend
        self._local = local
        self._sockets = sockets
        self._on_death = on_death
        self._numbers = itertools.count(1)
        self._loading: set[asyncio.Task[Child]] = set()
        self._children: dict[str, Child] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}

    def missing(self) -> str | None:
        """See Adapter.missing."""
        modules = self._local.modules
        if not modules or any(find_spec(module) for module in modules):
            return None
        return f"{modules[0]} is not installed: pip install 'torii-gateway[{self._local.extra}]'"

    async def load(self, artifact: Artifact) -> Endpoint:
        """Start a worker and wait until it has loaded the artifact; see Adapter.load."""
        address = self._sockets / f"{self.backend[:4]}{next(self._numbers)}"
        start = Child.start(python_argv("adapters.worker.main"), name=str(artifact), env=python_environment())
        starting = asyncio.create_task(start, name=f"start {artifact}")
        self._loading.add(starting)
        try:
            child = await starting
            try:
                ready = await self._hand_over(child, artifact, address)
            except BaseException:  # a cancelled load must not leave a process behind
                await child.stop(grace_s=0)
                raise
        finally:
            self._loading.discard(starting)
        endpoint = Endpoint(
            self.backend,
            f"unix:{address}",
            ready.signature,
            ready.runtime,
            child.pid,
            {"max_rows": str(ready.max_rows), "instances": str(ready.instances)},
        )
        self._children[endpoint.address] = child
        self._watches[endpoint.address] = asyncio.create_task(self._watch(child, endpoint), name=f"watch {artifact}")
        return endpoint

    async def _hand_over(self, child: Child, artifact: Artifact, address: Path) -> Ready:
        golden = str(artifact.golden) if artifact.golden else None
        job = Job(
            self._local.runtime,
            str(artifact.path),
            str(address),
            dict(artifact.options),
            golden,
            artifact.batching,
            _run_limit_s(artifact),
        )
        await child.send_line(msgspec.json.encode(job))
        line = await child.read_line()
        if not line:
            raise BackendDied(f"the worker died while loading: {await child.wait()}")
        answer = msgspec.json.decode(line, type=Ready | Refused)
        if isinstance(answer, Refused):
            raise LoadFailed(answer.reason)
        return answer

    async def _watch(self, child: Child, endpoint: Endpoint) -> None:
        reason = await child.wait()
        self._children.pop(endpoint.address, None)
        self._watches.pop(endpoint.address, None)
        _remove(endpoint)
        self._on_death(endpoint, f"the worker died: {reason}")

    async def unload(self, endpoint: Endpoint) -> None:
        """Stop the endpoint's worker; its memory goes back with it."""
        if watch := self._watches.pop(endpoint.address, None):
            watch.cancel()
        if child := self._children.pop(endpoint.address, None):
            await child.stop(_STOP_GRACE_S)
        _remove(endpoint)

    async def close(self) -> None:
        """Stop every worker; loads that are under way fail with BackendDied."""
        for watch in self._watches.values():
            watch.cancel()
        started = await asyncio.gather(*self._loading, return_exceptions=True)  # a process may be about to be there
        children = [*self._children.values(), *(each for each in started if isinstance(each, Child))]
        await asyncio.gather(*(child.stop(_STOP_GRACE_S) for child in children))
        self._children.clear()
        self._watches.clear()


def _run_limit_s(artifact: Artifact) -> float | None:
    """Beyond this a run has lost all that could wait for it, and then as long again."""
    if artifact.timeout_ms is None:
        return None
    return max(2 * artifact.timeout_ms / 1000, _SHORTEST_RUN_LIMIT_S)


def _remove(endpoint: Endpoint) -> None:
    Path(endpoint.address.removeprefix("unix:")).unlink(missing_ok=True)
