"""Control side of TF Serving: one server for all SavedModels, one the user's own or one that Torii starts."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.base import Artifact, Endpoint, OnDeath
from adapters.errors import (
    BackendDied,
    BackendUnavailable,
    DeadlineExceeded,
    InferenceFailed,
    InvalidInput,
    LoadFailed,
    ServingError,
)

if TYPE_CHECKING:
    from adapters.tfserving.catalog import Catalog
    from adapters.tfserving.model_service import ModelService
    from adapters.tfserving.server import Server

# What speaks gRPC is imported when the first model is loaded: a gateway without TensorFlow models does without it.

_STOP_GRACE_S = 5.0
_LAST_WORDS_S = 2.0
_NEEDED = {"tensorflow_serving": "tensorflow-serving-api", "tensorflow": "tensorflow"}


@dataclass(slots=True)
class _Backend:
    """The TF Serving in use: `server` is None where it is the user's, `catalog` where Torii may not configure it."""

    service: ModelService
    address: str
    runtime: str
    catalog: Catalog | None = None
    server: Server | None = None
    watch: asyncio.Task[None] | None = None
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    died: str = ""


class TfServingAdapter:
    """An Adapter whose endpoints are models in a TF Serving.

    With `endpoint` ("host:port") it is that server. Torii serves what it finds there, under the model's own name and
    version, and changes nothing; with `manage` it replaces that server's configuration by its own, for which the server
    must see `folder` and the artifacts under the same paths. Without `endpoint` Torii starts a server for itself alone.
    """

    backend = "tfserving"

    def __init__(
        self,
        folder: Path,
        on_death: OnDeath,
        endpoint: str | None = None,
        manage: bool = False,
        load_limit_s: float = 300.0,
    ) -> None:
        """`folder` is private to this adapter, with a short path: a Unix socket's address holds 107 bytes."""
        self._load_limit_s = load_limit_s
        self._folder = folder
        self._on_death = on_death
        self._configured = endpoint
        self._manage = manage
        self._backend: _Backend | None = None
        self._starting = asyncio.Lock()

    def missing(self) -> str | None:
        """See Adapter.missing."""
        for module, package in _NEEDED.items():
            if find_spec(module) is None:
                return f"{package} is not installed: pip install 'torii-gateway[tensorflow]'"
        return None

    async def load(self, artifact: Artifact) -> Endpoint:
        """Have the artifact loaded, or find it in a server that Torii may not configure; see Adapter.load."""
        async with self._starting:
            backend = self._backend = self._backend or await self._open()
        try:
            if backend.catalog is None:
                return await self._adopt(backend, artifact)
            return await self._place(backend, backend.catalog, artifact)
        except (BackendUnavailable, DeadlineExceeded) as error:
            raise await _with_last_words(backend, error) from error
        except (InvalidInput, InferenceFailed) as error:
            raise LoadFailed(str(error)) from error

    async def _place(self, backend: _Backend, catalog: Catalog, artifact: Artifact) -> Endpoint:
        model = await catalog.add(artifact)
        try:
            endpoint = await self._describe(backend, artifact, model.name)
        except BaseException:
            catalog.drop(model.name)
            raise
        if self._backend is not backend:  # it died, and whoever is told of deaths was told without this endpoint
            raise BackendUnavailable("TF Serving is gone")
        backend.endpoints[model.name] = endpoint
        return endpoint

    async def unload(self, endpoint: Endpoint) -> None:
        """Take the model out of TF Serving; one that Torii may not configure is left as it is."""
        backend, name = self._backend, endpoint.remote["model"]
        if backend is not None and backend.catalog is not None and name in backend.endpoints:
            del backend.endpoints[name]
            await backend.catalog.remove(name)

    async def close(self) -> None:
        """Stop the server, if Torii started it; have a managed one unload Torii's models."""
        async with self._starting:
            backend, self._backend = self._backend, None
        if backend is None:
            return
        if backend.watch:
            backend.watch.cancel()
        if backend.server is None and backend.catalog:
            await backend.catalog.clear()
        await _close(backend)

    async def _open(self) -> _Backend:
        from adapters.tfserving.catalog import Catalog
        from adapters.tfserving.model_service import ModelService
        from adapters.tfserving.server import start

        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._configured:
            service = ModelService(self._configured)
            backend = _Backend(service, self._configured, f"TensorFlow Serving at {self._configured}")
            if not self._manage:
                return backend
        else:
            server = await start(self._folder)
            service = server.service
            backend = _Backend(service, server.address, server.runtime, server=server)
            backend.watch = asyncio.create_task(self._watch(backend, server), name="watch TF Serving")
        staging = self._folder / "staged"
        await asyncio.to_thread(shutil.rmtree, staging, ignore_errors=True)  # of a gateway that was killed
        backend.catalog = Catalog(service, staging, self._load_limit_s)
        return backend

    async def _watch(self, backend: _Backend, server: Server) -> None:
        backend.died = await server.child.wait()
        if self._backend is backend:
            self._backend = None
        for endpoint in backend.endpoints.values():
            self._on_death(endpoint, f"TF Serving died: {backend.died}")
        await _close(backend)

    async def _describe(self, backend: _Backend, artifact: Artifact, name: str) -> Endpoint:
        from adapters.tfserving.signatures import choose_signature

        signatures = await backend.service.signatures(name, artifact.version)
        asked = artifact.options.get("signature_name")
        if asked is not None and not isinstance(asked, str):
            raise LoadFailed(f"signature_name: expected a text, got {asked!r}")
        signature_name, signature = choose_signature(signatures, asked)
        remote = {"model": name, "version": str(artifact.version), "signature_name": signature_name}
        pid = backend.server.child.pid if backend.server else None
        return Endpoint(self.backend, backend.address, signature, backend.runtime, pid, remote)

    async def _adopt(self, backend: _Backend, artifact: Artifact) -> Endpoint:
        """The endpoint of a version that the server has by itself."""
        statuses = await backend.service.status(artifact.model)
        if (artifact.version, "AVAILABLE") not in [(each.version, each.state) for each in statuses]:
            has = ", ".join(f"{each.version} {each.state}" for each in statuses)
            raise BackendUnavailable(  # it may be loaded there any time
                f"{backend.runtime}: expected version {artifact.version} of model '{artifact.model}' to be AVAILABLE, "
                f"got {has or 'no such model'}; Torii does not change that server's configuration unless it is told "
                "to manage it"
            )
        return await self._describe(backend, artifact, artifact.model)


async def _with_last_words(backend: _Backend, error: ServingError) -> BackendUnavailable:
    """The error, or how the server ended where that is what was behind it: told after the deaths of its endpoints."""
    if backend.watch is not None:
        await asyncio.wait({backend.watch}, timeout=_LAST_WORDS_S)
    if backend.died:
        return BackendDied(f"TF Serving died while it was loading this model: {backend.died}")
    return BackendUnavailable(str(error))


async def _close(backend: _Backend) -> None:
    if backend.catalog:
        await backend.catalog.close()
    if backend.server:
        await backend.server.stop(_STOP_GRACE_S)
    else:
        await backend.service.aclose()
