"""TorchServe's management API: models of the repository registered, scaled and unregistered by name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from adapters.base import Endpoint, Scalable
from adapters.errors import InvalidInput
from gateway.controlplane import ControlPlane
from gateway.errors import ModelNotFound, VersionNotReady
from gateway.front import Front, Publication
from gateway.labels import Labels
from gateway.modelcontrol import ModelControl
from gateway.protocols import torchserve_models as words
from gateway.protocols.torchserve import (
    Refusal,
    missing,
    read_target,
    registered_table,
    registered_versions,
    version_not_found,
)
from gateway.types import ModelTable, State, Target

_log = logging.getLogger(__name__)

_START_S: Final = 120.0
_POLL_S: Final = 0.1
_STABLE: Final = "stable"
_BACKEND: Final = "torchserve"
_COMING: Final = (State.FOUND, State.LOADING)


class TorchServeManagement:
    """What the routes do. A model's version stands for all its backends, unless `@backend` names one."""

    def __init__(self, control: ControlPlane, front: Front, models: ModelControl, labels: Labels) -> None:
        self._control = control
        self._front = front
        self._models = models
        self._labels = labels
        self._working: set[asyncio.Task[Any]] = set()

    async def register(self, url: str, model_name: str | None, workers: int, synchronous: bool) -> tuple[int, str]:
        """Load what `url` names; gives HTTP's status and a sentence.

        Raises:
            Refusal: there is no such model, or it is served already.
            ServingError: the request is refused, or the load failed.
        """
        earlier = dict(self._front.tables)
        model, version = await self._in_repository(url)
        if model_name not in (None, "", model):
            raise InvalidInput(f"model_name: expected '{model}', the name of its folder, got {model_name!r:.80}")
        self._check_unregistered(model, version, earlier.get(model))
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

    def _check_unregistered(self, model: str, version: int | None, earlier: ModelTable | None) -> None:
        """Raises Refusal where nothing was left to be loaded before the caller had the repository looked at."""
        table = self._front.tables.get(model)
        if table is None or earlier is None:
            return
        asked = [earlier.standings.get(each) for each in table.standings if version in (None, each.version)]
        served = version or words.default_version(table)
        if served and asked and all(each and each.state is State.READY and not each.reason for each in asked):
            raise words.already_registered(model, served)

    def _backends(self, model: str, version: int | None) -> set[str]:
        versions = self._control.repository.models[model].versions
        return {each for number, files in versions.items() if version in (None, number) for each in files.artifacts}

    async def _load(self, model: str, version: int | None, workers: int) -> str:
        await self._models.load(model, version)
        table = self._front.tables[model]
        number = version or words.default_version(table) or 0
        if workers > 1:
            published = self._front.published(Target(model, number, None, _BACKEND))
            await self._scale(published, workers, workers, wait=True)
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
        target = self._target(model, version)
        if refusal := missing(target, self._table(target)):
            raise refusal
        if not synchronous and self._is_coming(target):
            self._quietly(self._scale_once_loaded(target, minimum, maximum), f"scaling of {model}")
            return 202, words.IN_PROGRESS
        await self._scale_once_loaded(target, minimum, maximum, wait=synchronous)
        return (200, words.scaled(model, target.version, minimum)) if synchronous else (202, words.IN_PROGRESS)

    async def _scale_once_loaded(self, target: Target, minimum: int, maximum: int, wait: bool = False) -> None:
        await self._control.until(lambda: not self._is_coming(target))
        try:
            published = self._front.published(target)
        except VersionNotReady as error:
            number = target.version or words.default_version(self._table(target), target.backend) or 0
            raise words.failed_to_start(target.model, number, str(error)) from None
        await self._scale(published, minimum, maximum, wait)

    async def _scale(self, published: Publication, minimum: int, maximum: int, wait: bool) -> None:
        deployment = published.deployment
        adapter = self._control.adapters[deployment.executor]
        if not isinstance(adapter, Scalable):
            if minimum > 1:
                raise InvalidInput(
                    f"min_worker: expected 1, got {minimum}: {deployment} runs in one process, which batches what comes"
                )
            return
        await adapter.scale(published.endpoint, minimum, maximum)
        if wait:
            try:
                async with asyncio.timeout(_START_S):
                    await _until_there(adapter, published.endpoint, minimum, maximum)
            except TimeoutError:
                reason = f"they were not ready within {_START_S:g} s"
                raise words.failed_to_start(deployment.model, deployment.version, reason) from None

    def _is_coming(self, target: Target) -> bool:
        """Whether what a target asks for is being loaded, and nothing of it answers yet."""
        table = self._front.tables.get(target.model)
        version = target.version or (words.default_version(table, target.backend) if table else None)
        states = {
            standing.state
            for each, standing in (table.standings.items() if table else ())
            if each.version == version and target.backend in (None, each.backend)
        }
        return State.READY not in states and not states.isdisjoint(_COMING)

    async def set_default(self, model: str, version: str) -> str:
        """Move the label `stable`; raises Refusal and ServingError."""
        target = self._target(model, None)
        table = self._table(target)
        _check_all_backends(target)
        try:
            number = self._target(model, version).version
        except Refusal:
            number = None
        if number is None or number not in registered_versions(table):
            raise words.no_version_to_set(model, version)
        await self._labels.set(model, _STABLE, number)
        return words.default_set(model, number)

    async def unregister(self, model: str, version: str | None) -> str:
        """Unload a version, the default one only as the last; raises Refusal and ServingError."""
        target = self._target(model, version)
        table = self._table(target)
        _check_all_backends(target)
        versions = registered_versions(table)
        if target.version not in (None, *versions):
            raise version_not_found(model, str(target.version))
        if len(versions) > 1 and target.version in (None, words.default_version(table)):
            raise words.cannot_remove_default(model)
        await self._models.unload(model, target.version)
        return words.unregistered(model)

    def _target(self, model: str, version: str | None) -> Target:
        return read_target(model, version, self._front.tables)

    def _table(self, target: Target) -> ModelTable:
        return registered_table(target, self._front.tables)


def _check_all_backends(target: Target) -> None:
    if target.backend is not None:
        raise InvalidInput(
            f"model_name: expected '{target.model}': a version comes, goes and moves on all its backends"
        )


async def _until_there(adapter: Scalable, endpoint: Endpoint, minimum: int, maximum: int) -> None:
    """Wait until so many workers are ready."""
    while True:
        workers = (await adapter.workers(endpoint)).get("workers") or []
        if minimum <= len(workers) <= maximum and all(each["status"] == "READY" for each in workers):
            return
        await asyncio.sleep(_POLL_S)
