"""What TorchServe's management API tells of models: which there are, their artifacts, processes and queues."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import psutil

from adapters.base import Scalable
from gateway.controlplane import ControlPlane
from gateway.errors import ModelNotFound, VersionNotReady
from gateway.front import Front, Publication
from gateway.protocols import torchserve_models as words
from gateway.protocols.torchserve import missing, read_target, registered_table, registered_versions
from gateway.types import Deployment, ModelTable, State, Target


class TorchServeModels:
    """A model's version is described by the deployment that answers for it, unless `@backend` names one."""

    def __init__(self, control: ControlPlane, front: Front) -> None:
        self._control = control
        self._front = front

    def page(self, limit: int, start: int) -> dict[str, Any]:
        """A page of the registered models, with the artifact of each one's default version."""
        urls: dict[str, str] = {}
        for name, table in self._front.tables.items():
            version = words.default_version(table)
            if version is not None:
                urls[name] = self._url(_preferred(_of(table, version)))
        return words.list_models(urls, limit, start)

    async def describe(self, model: str, version: str | None) -> list[dict[str, Any]]:
        """The default version, one version, or `all`.

        Raises:
            Refusal: it is not there.
            BackendUnavailable: its TorchServe is not.
        """
        tables = self._front.tables
        target = read_target(model, None if version == "all" else version, tables)
        table = registered_table(target, tables)
        if version == "all":
            numbers = registered_versions(table)
        else:
            if refusal := missing(target, table):
                raise refusal
            numbers = [target.version or words.default_version(table, target.backend) or 0]
        described = (_of(table, number, target.backend) for number in numbers)
        return [await self._describe(model, _preferred(each)) for each in described if each]

    async def _describe(self, model: str, deployment: Deployment) -> dict[str, Any]:
        told: Mapping[str, Any] = {"minWorkers": 1, "maxWorkers": 1, "workers": []}
        with contextlib.suppress(ModelNotFound, VersionNotReady):
            published = self._front.published(Target(deployment.model, deployment.version, None, deployment.backend))
            adapter = self._control.adapters[deployment.executor]
            if isinstance(adapter, Scalable):
                told = await adapter.workers(published.endpoint)
            else:
                told = await asyncio.to_thread(_processes, published, await self._waiting(deployment))
        at_startup = deployment in self._front.at_startup
        return words.describe(model, deployment.version, self._url(deployment), told, at_startup)

    async def _waiting(self, deployment: Deployment) -> int:
        told = (await self._front.statistics()).get(deployment)
        return told.load.waiting if told else 0

    def _url(self, deployment: Deployment) -> str:
        """A deployment's artifact, by its path in the repository."""
        entry = self._control.snapshot.models.get(deployment.model)
        files = entry.versions.get(deployment.version) if entry else None
        artifact = files.artifacts.get(deployment.backend) if files else None
        if artifact is None or not artifact.path.is_relative_to(self._control.root):
            return f"{deployment.model}/{deployment.version}"
        return str(artifact.path.relative_to(self._control.root))


def _of(table: ModelTable, version: int, backend: str | None = None) -> Mapping[Deployment, tuple[bool, int]]:
    """The deployments of a version, each with its rank: who answers comes first, then who is preferred."""
    order = {name: rank for rank, name in enumerate(table.backends)}
    return {
        each: (standing.state is not State.READY, order.get(each.backend, len(order)))
        for each, standing in table.standings.items()
        if each.version == version and backend in (None, each.backend)
    }


def _preferred(ranks: Mapping[Deployment, tuple[bool, int]]) -> Deployment:
    return min(ranks, key=lambda each: ranks[each])


def _processes(published: Publication, waiting: int) -> dict[str, Any]:
    """What is known of a deployment whose process is Torii's own. Blocking: /proc."""
    endpoint, limits = published.endpoint, published.serving.limits
    workers = []
    if endpoint.pid is not None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(endpoint.pid)
            workers.append(words.describe_worker(endpoint.pid, process.create_time(), process.memory_info().rss))
    max_rows = endpoint.remote.get("max_rows")
    queue = waiting, limits.max_queue
    return words.describe_processes(
        endpoint.runtime, int(max_rows) if max_rows else None, limits.timeout_ms, queue, workers
    )
