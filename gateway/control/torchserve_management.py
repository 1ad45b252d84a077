"""TorchServe's management API: models of the repository registered, described, scaled and unregistered by name."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import psutil

from adapters.base import Endpoint, Scalable
from adapters.errors import InvalidInput
from gateway.controlplane import ControlPlane
from gateway.errors import ModelNotFound, VersionNotReady
from gateway.labels import Labels
from gateway.modelcontrol import ModelControl
from gateway.protocols import torchserve_models as words
from gateway.protocols.torchserve import (
    Refusal,
    missing,
    model_not_found,
    read_target,
    registered_versions,
    version_not_found,
)
from gateway.registry import Lease, Registry
from gateway.types import Deployment, ModelTable, State, Target

_log = logging.getLogger(__name__)

_START_S: Final = 120.0
_POLL_S: Final = 0.1
_STABLE: Final = "stable"
_BACKEND: Final = "torchserve"
_COMING: Final = (State.FOUND, State.LOADING)


class TorchServeManagement:
    """What the routes do. A model's version stands for all its backends, unless `@backend` names one."""

    def __init__(self, control: ControlPlane, registry: Registry, models: ModelControl, labels: Labels) -> None:
        self._control = control
        self._registry = registry
        self._models = models
        self._labels = labels
        self._working: set[asyncio.Task[Any]] = set()

    def page(self, limit: int, start: int) -> dict[str, Any]:
        """A page of the registered models, with the artifact of each one's default version."""
        urls = {}
        for name, table in self._registry.tables.items():
            version = words.default_version(table)
            if version is not None:
                urls[name] = self._url(_preferred(table, version, None))
        return words.list_models(urls, limit, start)

    async def describe(self, model: str, version: str | None) -> list[dict[str, Any]]:
        """The default version, one version, or `all`; raises Refusal where it is not there."""
        target = read_target(model, None if version == "all" else version)
        table = self._table(target) if version == "all" else self._find(target)
        numbers = [target.version or words.default_version(table, target.backend) or 0]
        if version == "all":
            numbers = registered_versions(table)
        return [await self._describe(model, _preferred(table, number, target.backend)) for number in numbers]

    async def _describe(self, model: str, deployment: Deployment) -> dict[str, Any]:
        told: Mapping[str, Any] = {"minWorkers": 1, "maxWorkers": 1, "workers": []}
        with contextlib.suppress(ModelNotFound, VersionNotReady):
            lease = self._registry.lease(Target(deployment.model, deployment.version, None, deployment.backend))
            adapter = self._control.adapters[deployment.backend]
            if isinstance(adapter, Scalable):
                told = await adapter.workers(lease.endpoint)
            else:
                told = await asyncio.to_thread(_processes, lease)
        at_startup = deployment in self._registry.at_startup
        return words.describe(model, deployment.version, self._url(deployment), told, at_startup)

    async def register(self, url: str, model_name: str | None, workers: int, synchronous: bool) -> tuple[int, str]:
        """Load what `url` names; gives HTTP's status and a sentence.

        Raises:
            Refusal: there is no such model, or it is served already.
            ServingError: the request is refused, or the load failed.
        """
        model, version = await self._in_repository(url)
        if model_name not in (None, "", model):
            raise InvalidInput(f"model_name: expected '{model}', the name of its folder, got {model_name!r:.80}")
        self._check_unregistered(model, version)
        count = max(workers, 1)
        words.check_workers(count, count)
        if count > 1 and self._backends(model, version) != {_BACKEND}:
            raise InvalidInput(
                f"initial_workers: expected 1, got {workers}: {model} is not TorchServe's alone; register it, and then "
                f"scale {model}@{_BACKEND}"
            )
        if synchronous:
            return 200, await self._load(model, version, count)
        self._quietly(self._load(model, version, count), f"registration of {model}")
        return 202, words.IN_PROGRESS

    async def _in_repository(self, url: str) -> tuple[str, int | None]:
        model, version = words.read_place(url)
        async with self._control.changing():  # which looks at the repository
            there = self._control.repository
            if model not in there.models:
                model = words.without_suffix(model)
            try:
                entry = there.entry(model)
            except ModelNotFound:
                raise words.not_found_at(url) from None
        if version is not None and version not in entry.versions:
            raise words.not_found_at(url)
        return model, version

    def _check_unregistered(self, model: str, version: int | None) -> None:
        """Raises Refusal where nothing is left to be loaded."""
        table = self._registry.tables.get(model)
        if table is None:
            return
        asked = {each: s for each, s in table.standings.items() if version in (None, each.version)}
        served = version or words.default_version(table)
        if served and asked and all(s.state in (State.READY, *_COMING) and not s.reason for s in asked.values()):
            raise words.already_registered(model, served)

    def _backends(self, model: str, version: int | None) -> set[str]:
        versions = self._control.repository.models[model].versions
        return {each for number, files in versions.items() if version in (None, number) for each in files.artifacts}

    async def _load(self, model: str, version: int | None, workers: int) -> str:
        await self._models.load(model, version)
        table = self._registry.tables[model]
        number = version or words.default_version(table) or 0
        if workers > 1:
            lease = self._registry.lease(Target(model, number, None, _BACKEND))
            await self._scale(lease, workers, workers, wait=True)
        return words.registered(model, number, workers)

    def _quietly(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        """Do something that nobody waits for."""

        def done(task: asyncio.Task[Any]) -> None:
            self._working.discard(task)
            if not task.cancelled() and (error := task.exception()):
                _log.warning("%s: %s", name, error)

        task = asyncio.create_task(work, name=name)
        self._working.add(task)
        task.add_done_callback(done)

    async def scale(
        self, model: str, version: str | None, minimum: int, maximum: int, synchronous: bool
    ) -> tuple[int, str]:
        """Have a deployment keep so many workers; gives HTTP's status and a sentence.

        Raises:
            Refusal: it is not there, or the workers did not come up.
            InvalidInput: its backend cannot keep so many.
        """
        words.check_workers(minimum, maximum)
        target = read_target(model, version)
        self._find(target)
        if not synchronous and self._is_coming(target):
            self._quietly(self._scale_once_loaded(target, minimum, maximum), f"scaling of {model}")
            return 202, words.IN_PROGRESS
        await self._scale_once_loaded(target, minimum, maximum, wait=synchronous)
        return (200, words.scaled(model, target.version, minimum)) if synchronous else (202, words.IN_PROGRESS)

    async def _scale_once_loaded(self, target: Target, minimum: int, maximum: int, wait: bool = False) -> None:
        await self._control.until(lambda: not self._is_coming(target))
        try:
            lease = self._registry.lease(target)
        except VersionNotReady as error:
            number = target.version or words.default_version(self._table(target), target.backend) or 0
            raise words.failed_to_start(target.model, number, str(error)) from None
        await self._scale(lease, minimum, maximum, wait)

    async def _scale(self, lease: Lease, minimum: int, maximum: int, wait: bool) -> None:
        deployment = lease.deployment
        adapter = self._control.adapters[deployment.backend]
        if not isinstance(adapter, Scalable):
            if minimum > 1:
                raise InvalidInput(
                    f"min_worker: expected 1, got {minimum}: {deployment} runs in one process, which batches what comes"
                )
            return
        await adapter.scale(lease.endpoint, minimum, maximum)
        if wait:
            try:
                async with asyncio.timeout(_START_S):
                    await _until_there(adapter, lease.endpoint, minimum, maximum)
            except TimeoutError:
                reason = f"they were not ready within {_START_S:g} s"
                raise words.failed_to_start(deployment.model, deployment.version, reason) from None

    def _is_coming(self, target: Target) -> bool:
        """Whether what a target asks for is being loaded, and nothing of it answers yet."""
        table = self._registry.tables.get(target.model)
        version = target.version or (words.default_version(table, target.backend) if table else None)
        states = {
            standing.state
            for each, standing in (table.standings.items() if table else ())
            if each.version == version and target.backend in (None, each.backend)
        }
        return State.READY not in states and not states.isdisjoint(_COMING)

    async def set_default(self, model: str, version: str) -> str:
        """Move the label `stable`; raises Refusal and ServingError."""
        target = read_target(model, None)
        table = self._table(target)
        _check_all_backends(target)
        try:
            number = read_target(model, version).version
        except Refusal:
            number = None
        if number is None or number not in registered_versions(table):
            raise words.no_version_to_set(model, version)
        await self._labels.set(model, _STABLE, number)
        return words.default_set(model, number)

    async def unregister(self, model: str, version: str | None) -> str:
        """Unload a version, the default one only as the last; raises Refusal and ServingError."""
        target = read_target(model, version)
        table = self._table(target)
        _check_all_backends(target)
        versions = registered_versions(table)
        if target.version not in (None, *versions):
            raise version_not_found(model, str(target.version))
        if len(versions) > 1 and target.version in (None, words.default_version(table)):
            raise words.cannot_remove_default(model)
        await self._models.unload(model, target.version)
        return words.unregistered(model)

    def _table(self, target: Target) -> ModelTable:
        """A target's model; raises Refusal where nothing of it is registered."""
        table = self._registry.tables.get(target.model)
        if table is None or not registered_versions(table):
            raise model_not_found(target.model)
        return table

    def _find(self, target: Target) -> ModelTable:
        """As `_table`; raises Refusal also where the version or the backend is not there."""
        table = self._table(target)
        if refusal := missing(target, table):
            raise refusal
        return table

    def _url(self, deployment: Deployment) -> str:
        """A deployment's artifact, by its path in the repository."""
        entry = self._control.snapshot.models.get(deployment.model)
        files = entry.versions.get(deployment.version) if entry else None
        artifact = files.artifacts.get(deployment.backend) if files else None
        if artifact is None or not artifact.path.is_relative_to(self._control.root):
            return f"{deployment.model}/{deployment.version}"
        return str(artifact.path.relative_to(self._control.root))


def _check_all_backends(target: Target) -> None:
    if target.backend is not None:
        raise InvalidInput(
            f"model_name: expected '{target.model}': a version comes, goes and moves on all its backends"
        )


def _preferred(table: ModelTable, version: int, backend: str | None) -> Deployment:
    """The deployment of a version that answers, or would if it could."""
    order = {name: rank for rank, name in enumerate(table.backends)}

    def rank(deployment: Deployment) -> tuple[bool, int]:
        ready = table.standings[deployment].state is State.READY
        return not ready, order.get(deployment.backend, len(order))

    return min(
        (each for each in table.standings if each.version == version and backend in (None, each.backend)), key=rank
    )


def _processes(lease: Lease) -> dict[str, Any]:
    """What is known of a deployment whose process is Torii's own. Blocking: /proc."""
    endpoint, limits = lease.endpoint, lease.limits
    workers = []
    if endpoint.pid is not None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(endpoint.pid)
            workers.append(words.describe_worker(endpoint.pid, process.create_time(), process.memory_info().rss))
    max_rows = endpoint.remote.get("max_rows")
    queue = lease.servable.waiting, limits.max_queue
    return words.describe_processes(
        endpoint.runtime, int(max_rows) if max_rows else None, limits.timeout_ms, queue, workers
    )


async def _until_there(adapter: Scalable, endpoint: Endpoint, minimum: int, maximum: int) -> None:
    """Wait until so many workers are ready."""
    while True:
        workers = (await adapter.workers(endpoint)).get("workers") or []
        if minimum <= len(workers) <= maximum and all(each["status"] == "READY" for each in workers):
            return
        await asyncio.sleep(_POLL_S)
