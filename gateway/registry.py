"""A frontend's table of deployments: who is ready, the connections to them, and who is using one right now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeAlias

from adapters.base import Endpoint, Servable
from adapters.errors import ServingError
from gateway.admission import ConcurrencyLimit
from gateway.answers import Answers, kept_answers, with_answers
from gateway.batcher import batched
from gateway.errors import VersionNotReady
from gateway.experiments.assignment import Assigner, Assignment
from gateway.experiments.recording import Recorder
from gateway.kept_answers import KeptAnswers
from gateway.routing import choose
from gateway.shown import Shown
from gateway.statistics import Statistics, StatisticsSnapshot
from gateway.types import Caller, Deployment, ModelTable, Serving, Target, TrafficSplit

_log = logging.getLogger(__name__)

Connect: TypeAlias = Callable[[Endpoint], Awaitable[Servable]]
Able: TypeAlias = Callable[[Endpoint], bool]


@dataclass(slots=True, eq=False)
class Lease(AbstractContextManager["Lease"]):
    """A deployment in use: it is not unloaded before every lease on it has ended.

    One object for each published endpoint, entered once by each request. `statistics` are the deployment's: what
    replaces this endpoint has the same.
    """

    deployment: Deployment
    endpoint: Endpoint
    serving: Serving
    servable: ConcurrencyLimit | Answers
    statistics: Statistics
    _users: int = 0
    _retired: bool = False
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __enter__(self) -> Lease:
        self._users += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._users -= 1
        if self._retired and not self._users:
            self._idle.set()

    @property
    def busy(self) -> bool:
        """Whether anybody uses it just now."""
        return self._users > 0

    async def drained(self) -> None:
        """Wait until the last user has left; nobody new comes once this is called."""
        self._retired = True
        if self._users:
            await self._idle.wait()


class Registry:
    """Told by the control plane what there is; asked by requests for a lease."""

    def __init__(self, connect: Connect, drain_timeout_s: float) -> None:
        self._connect = connect
        self._drain_timeout_s = drain_timeout_s
        self._shown = Shown()
        self._leases: dict[Deployment, Lease] = {}
        self._replaced: list[Lease] = []
        self._routes: dict[Target, Deployment] = {}
        self._statistics: dict[Deployment, Statistics] = {}
        self._kept: dict[Deployment, KeptAnswers] = {}
        self._assigners: dict[str, list[Assigner]] = {}
        self.recorder = Recorder()

    @property
    def tables(self) -> Mapping[str, ModelTable]:
        """The models as routing sees them."""
        return self._shown.tables

    @property
    def at_startup(self) -> frozenset[Deployment]:
        """What was ready once all that was there at the start had been loaded or had failed."""
        return self._shown.at_startup

    @property
    def ready(self) -> bool:
        """Whether all that was there at the start has been loaded or has failed; no later load changes that."""
        return self._shown.ready

    async def wait_ready(self) -> None:
        """Wait until `ready`."""
        await self._shown.wait_settled()

    def settle(self) -> None:
        """Be ready: this frontend came when all that was there at the start had been taken care of."""
        self._shown.settle()

    def stop(self) -> None:
        """Say from now on that this frontend is not ready, so that nobody sends it more."""
        self._shown.stop()

    @property
    def busy(self) -> bool:
        """Whether any request is under way."""
        return any(lease.busy for lease in (*self._leases.values(), *self._replaced))

    def lease(self, target: Target) -> Lease:
        """The deployment that answers a target, to be entered before it is used.

        Raises:
            ModelNotFound: nothing of that name.
            VersionNotReady: it is there, but cannot answer.
        """
        deployment = self._routes.get(target)
        if deployment is None:
            # Only what was found is remembered: targets are the callers', and there is no end to wrong ones.
            deployment = self._routes[target] = choose(target, self._shown.tables)
        lease = self._leases.get(deployment)
        if lease is None:
            raise VersionNotReady(f"{deployment} is being withdrawn")
        return lease

    def is_split(self, target: Target) -> bool:
        """Whether an experiment may have a say in who answers a target: it names a model, and no more."""
        return target.model in self._assigners and target == Target(target.model)

    def assign(
        self, target: Target, caller: Caller | None, parameters: Mapping[str, Any], able: Able | None = None
    ) -> Assignment | None:
        """The variant for a request of the running experiment that it takes part in; None where there is none.

        What not every variant's endpoint is `able` to do takes part in none.

        Raises:
            InvalidInput: it chooses a variant that there is not.
        """
        assigners = self._assigners.get(target.model)
        if assigners is None or target.version is not None or target.label is not None or target.backend is not None:
            return None
        for assigner in assigners:
            if not assigner.wants or assigner.takes(caller, parameters):
                if able is not None and not all(self._is(able, each) for each in assigner.targets):
                    return None
                return assigner.assign(caller, parameters)
        return None

    def _is(self, able: Able, target: Target) -> bool:
        try:
            return able(self.lease(target).endpoint)
        except ServingError:
            return True  # it is not there: that is for the guardrails to see

    def show(self, tables: Mapping[str, ModelTable]) -> None:
        """Replace the tables. What they call READY has been published before."""
        self._shown.show(tables)
        self._routes.clear()
        self._split(tables)
        for gone in self._statistics.keys() - self._shown.deployments() - self._leases.keys():
            del self._statistics[gone]
            self._kept.pop(gone, None)

    def _split(self, tables: Mapping[str, ModelTable]) -> None:
        splits = {(name, each.experiment): each for name, table in tables.items() for each in table.splits}
        self._assigners = {
            name: [self._assigner(name, each) for each in table.splits]
            for name, table in tables.items()
            if table.splits
        }
        self.recorder.keep_only(splits)

    def _assigner(self, model: str, split: TrafficSplit) -> Assigner:
        """One that goes on where its split does: it knows the units that come often."""
        notes = self.recorder.notes(model, split)
        there = self._assigners.get(model, ())
        return next((each for each in there if each.belongs_to(notes)), None) or Assigner(notes)

    async def shown(self) -> None:
        """See lifecycle.Frontend: here, requests go by a table as soon as it is shown."""

    def statistics(self) -> dict[Deployment, StatisticsSnapshot]:
        """What each deployment has done since it was first published, restarts and reloads included."""
        return {deployment: each.snapshot() for deployment, each in self._statistics.items()}

    async def publish(self, deployment: Deployment, endpoint: Endpoint, serving: Serving) -> None:
        """Connect to an endpoint and give it all further requests for its deployment.

        An endpoint that is replaced by this goes on with the requests that it has, until it is withdrawn.

        Raises:
            BackendUnavailable: the endpoint cannot be reached; what was published before stays.
        """
        client = await self._connect(endpoint)
        servable = batched(client, endpoint, serving.batching)
        limits = serving.limits
        limited = ConcurrencyLimit(servable, limits.max_in_flight, limits.max_queue, direct=client)
        if replaced := self._leases.get(deployment):
            self._replaced.append(replaced)
        statistics = self._statistics.setdefault(deployment, Statistics())
        statistics.follow(servable)
        statistics.watch(limited)
        kept = self._kept[deployment] = kept_answers(endpoint, serving, self._kept.get(deployment))
        answering = with_answers(limited, serving, kept, statistics)
        self._leases[deployment] = Lease(deployment, endpoint, serving, answering, statistics)

    async def withdraw(self, deployment: Deployment, endpoint: Endpoint) -> None:
        """Send nothing more to an endpoint, wait for its last answer (for the drain time at most), and let it go.

        Where it had replaced one that is not withdrawn yet, that one gets the further requests again.
        """
        lease = self._take(deployment, endpoint)
        if lease is None:
            return
        try:
            await asyncio.wait_for(lease.drained(), self._drain_timeout_s)
        except TimeoutError:
            _log.warning("%s: requests still run after %.0f s of draining", deployment, self._drain_timeout_s)
        finally:
            await lease.servable.aclose()

    def _take(self, deployment: Deployment, endpoint: Endpoint) -> Lease | None:
        lease = self._leases.get(deployment)
        if lease is not None and lease.endpoint == endpoint:
            del self._leases[deployment]
            if earlier := next((each for each in reversed(self._replaced) if each.deployment == deployment), None):
                self._replaced.remove(earlier)
                self._leases[deployment] = earlier
            return lease
        lease = next((each for each in self._replaced if each.endpoint == endpoint), None)
        if lease is not None:
            self._replaced.remove(lease)
        return lease

    async def close(self) -> None:
        """Close every connection, drained or not."""
        for lease in (*self._leases.values(), *self._replaced):
            await lease.servable.aclose()
        self._leases.clear()
        self._replaced.clear()
