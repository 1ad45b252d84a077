"""Keeps the deployments as the repository wants them, and as people asked by name: looks, compares, begins."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from adapters.base import Adapter, Batching, Endpoint
from adapters.errors import BackendUnavailable
from gateway.directives import Directive, overlaid
from gateway.errors import NotAllowed
from gateway.lifecycle import Frontend, Lifecycle, Record
from gateway.plans import Plan, Planner, wishes
from gateway.repository import ModelEntry, Snapshot, scan
from gateway.types import Deployment, ModelTable, Standing, State
from gateway.versions import Act, Actual, Wanted, Wish, next_steps

_log = logging.getLogger(__name__)

UNLOADED = "unloaded by request; a load by name, or a restart of Torii, brings it back"
"""The reason of what was unloaded by name."""


class ControlPlane:
    """One for each repository: the only one that starts and stops what serves models."""

    def __init__(
        self,
        root: Path,
        planner: Planner,
        adapters: Mapping[str, Adapter],
        frontend: Frontend,
        *,
        poll_s: float,
        load_timeout_s: float,
        warm_up: Callable[[Endpoint, Path | None, Batching], Awaitable[Endpoint]],
        on_change: Callable[[Record], None] = lambda record: None,
    ) -> None:
        self.root = root
        self.adapters = adapters
        self.repository = Snapshot()
        self.snapshot = Snapshot()
        self.wanted: Mapping[Deployment, Wanted] = {}
        self.scanned = asyncio.Event()
        self._split: Callable[[ModelTable], ModelTable] = lambda table: table
        self._planner = planner
        self._frontend = frontend
        self._poll_s = poll_s
        self._plans: dict[Deployment, Plan] = {}
        self._directives: dict[str, Directive] = {}
        self._looking = asyncio.Lock()
        self._wake = asyncio.Event()
        self._shown = asyncio.Event()
        self._stopping = False
        self._lifecycle = Lifecycle(
            adapters,
            frontend,
            load_timeout_s=load_timeout_s,
            warm_up=warm_up,
            on_change=on_change,
            show=self._show,
            wake=self._wake.set,
        )

    def split_by(self, split: Callable[[ModelTable], ModelTable]) -> None:
        """Say who puts the running experiments into a model's table: asked whenever tables are shown."""
        self._split = split

    @property
    def records(self) -> list[Record]:
        """Every deployment, in order of name."""
        return [record for _, record in sorted(self._lifecycle.records.items())]

    def record(self, deployment: Deployment) -> Record | None:
        """A deployment's record, if it has one."""
        return self._lifecycle.records.get(deployment)

    @property
    def settled(self) -> bool:
        """Whether all that the repository asked for is ready or failed for good."""
        return self.scanned.is_set() and not any(
            record.busy or record.retry_at_s is not None or record.state in (State.FOUND, State.LOADING)
            for record in self._lifecycle.records.values()
        )

    def stored(self, model: str) -> ModelEntry:
        """A model as it is in the repository.

        Raises:
            ModelNotFound: there is none of that name.
            NotAllowed: it was uploaded: its files are not in the repository.
            BackendUnavailable: its folder cannot be read just now.
        """
        if self.directive(model).upload is not None:
            raise NotAllowed(f"model '{model}' was uploaded: its files are not in the repository")
        return self.repository.entry(model)

    def tables(self) -> dict[str, ModelTable]:
        """What routing knows of every model."""
        models: dict[str, dict[Deployment, Standing]] = {name: {} for name in self.snapshot.models}
        for deployment, record in self._lifecycle.records.items():
            models.setdefault(deployment.model, {})[deployment] = record.standing
        return {
            name: self._split(ModelTable(name, self._planner.order(name), self._planner.labels(name), standings))
            for name, standings in models.items()
        }

    async def run(self) -> None:
        """Watch the repository until cancelled."""
        while True:
            try:
                async with self._looking:
                    await self._look()
            except OSError as error:
                _log.error("the repository %s cannot be read (%s); what serves goes on", self.root, error)
            except Exception:  # noqa: BLE001  # whatever stands in a folder must not end the watch over all others
                _log.exception("a look at the repository %s failed; what serves goes on", self.root)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._poll_s)
            self._wake.clear()

    @contextlib.asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """The time for a change by name, between two looks at the repository.

        Nothing else is begun meanwhile, and at the end requests go by the change.

        Raises:
            BackendUnavailable: the repository cannot be read.
        """
        async with self._looking:
            await self._look_for_caller()
            yield
            await self._look_for_caller()
            await self._frontend.shown()

    async def _look_for_caller(self) -> None:
        try:
            await self._look()
        except OSError as error:
            raise BackendUnavailable(f"the repository {self.root} cannot be read: {error.strerror or error}") from error

    async def _look(self) -> None:
        self.repository = await asyncio.to_thread(scan, self.root)
        if self._stopping:
            return
        self.snapshot = overlaid(self.repository, self._directives)
        self._reconcile()
        self.scanned.set()

    def _reconcile(self) -> None:
        now_s = time.monotonic()
        unreadable = self.snapshot.unreadable
        kept = {each: plan for each, plan in self._plans.items() if each.model in unreadable}
        self._plans = {**self._planner.plan(self.snapshot, now_s, self._directives), **kept}
        self.wanted = wishes(self._plans, self._directives)
        self._keep_records()
        actual = {
            each: Actual(record.state, record.tried, record.retry_at_s, record.busy)
            for each, record in self._lifecycle.records.items()
        }
        for deployment, act in next_steps(self.wanted, actual, now_s).items():
            if act is Act.LOAD:
                self._lifecycle.begin_load(self._plans[deployment])
            else:
                withdrawn = deployment in self.wanted and self.wanted[deployment].wish is Wish.WITHDRAWN
                self._lifecycle.begin_unload(self._lifecycle.records[deployment], UNLOADED if withdrawn else "")
        self._show()

    def _keep_records(self) -> None:
        """Begin the records of what is new, and end those of what is no longer withdrawn."""
        records = self._lifecycle.records
        for deployment, record in list(records.items()):
            wanted = self.wanted.get(deployment)
            if record.state is State.UNLOADED and not record.busy and not (wanted and wanted.wish is Wish.WITHDRAWN):
                del records[deployment]
        for deployment, wanted in self.wanted.items():
            if deployment in records or wanted.wish in (Wish.SPARE, Wish.STAY):
                continue
            if wanted.wish is Wish.WITHDRAWN:
                self._lifecycle.find(deployment, State.UNLOADED, UNLOADED)
            else:
                reason = "its files are still changing" if wanted.wish is Wish.WAIT else ""
                self._lifecycle.find(deployment, State.FOUND, reason)

    def show(self) -> None:
        """Have requests go by what is known now: experiments may have changed."""
        if self.scanned.is_set() and not self._stopping:
            self._show()

    def wake(self) -> None:
        """Look at the repository soon."""
        self._wake.set()

    def _show(self) -> None:
        self._frontend.show(self.tables())
        self._shown.set()
        self._shown = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds, and requests go by it; or until the gateway stops."""
        while not condition() and not self._stopping:
            await self._shown.wait()
        await self._frontend.shown()

    def directive(self, model: str) -> Directive:
        """What was asked of a model by name."""
        return self._directives.get(model, Directive())

    def direct(self, model: str, directive: Directive | None) -> None:
        """Have a directive count from the next look on, or none; it is for the time that `changing` gives."""
        if directive is None:
            self._directives.pop(model, None)
        else:
            self._directives[model] = directive

    def forgive(self, model: str, version: int | None) -> None:
        """Have what failed of a model, or of a version, loaded again at the next look."""
        for record in self._of(model, version):
            if record.reason and not record.busy:
                record.forgive()

    async def cancel_loads(self, model: str, version: int | None = None) -> None:
        """Give up the loads of a model, or of a version, that are under way; what serves goes on."""
        await asyncio.gather(*(self._lifecycle.cancel_load(record) for record in self._of(model, version)))

    def _of(self, model: str, version: int | None) -> list[Record]:
        return [
            each
            for each in self.records
            if each.deployment.model == model and version in (None, each.deployment.version)
        ]

    def uses(self, folder: Path) -> bool:
        """Whether anything is served, or being loaded, from files below a folder."""
        return self._lifecycle.uses(folder)

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nothing waits for, but `stop` does."""
        self._lifecycle.in_background(work)

    def on_death(self, endpoint: Endpoint, reason: str) -> None:
        """Told by an adapter that an endpoint ended by itself."""
        self._lifecycle.on_death(endpoint, reason)

    async def stop(self) -> None:
        """Withdraw every deployment, let running requests end, and stop every process."""
        self._stopping = True
        self._shown.set()
        await self._lifecycle.stop()
        await asyncio.gather(*(adapter.close() for adapter in self.adapters.values()))
