"""Several frontends as one: what control says goes to each, and is done when each has done it."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from adapters.base import Endpoint
from adapters.errors import BackendUnavailable
from gateway.errors import VersionNotReady
from gateway.experiments.recording import Increment
from gateway.front import FrontendStanding, Publication
from gateway.frontends import messages as m
from gateway.frontends.evidence import Take
from gateway.frontends.logs import write
from gateway.frontends.member import Gone, Member
from gateway.frontends.slot import Slot, Spawn
from gateway.modelaccess import ModelAccess
from gateway.routing import choose
from gateway.shown import Shown
from gateway.statistics import Load, StatisticsSnapshot, merged
from gateway.types import Deployment, ModelTable, Serving, Target
from gateway.versions import Restarts

_log = logging.getLogger(__name__)

_REPORT_S: Final = 1.0
"""What whoever asks for statistics waits for a frontend; then its last report counts."""

_REFUSE_S: Final = 1.0
"""What a stop waits for a frontend to have stopped listening."""


class Listening(Protocol):
    """The ports on which the frontends listen."""

    inference_url: str
    grpc_address: str

    def close(self) -> None:
        """Refuse connections from now on, whoever still has the sockets."""
        ...


class FrontendGroup:
    """A lifecycle.Frontend and a Front. A frontend that dies is waited for no longer; its successor gets all it had."""

    def __init__(self, count: int, spawn: Spawn, listening: Listening, drain_timeout_s: float) -> None:
        self._count = count
        self._listening = listening
        self.inference_url = listening.inference_url
        self.grpc_address = listening.grpc_address
        self._slots = [Slot(number, spawn, self, drain_timeout_s) for number in range(1, count + 1)]
        self._members: dict[int, Member] = {}
        self._shown = Shown()
        self._told = False
        self._published: list[Publication] = []
        self._past: dict[Deployment, StatisticsSnapshot] = {}
        self._models: ModelAccess
        self._take: Take
        self._stopping = False
        self._keeping: list[asyncio.Task[None]] = []
        self._background: set[asyncio.Task[None]] = set()

    # What control tells it: lifecycle.Frontend.

    def show(self, tables: Mapping[str, ModelTable]) -> None:
        """See lifecycle.Frontend; only what has changed is sent."""
        before, settled = self._shown.tables, self._shown.settled
        changed = {name: table for name, table in tables.items() if before.get(name) != table}
        gone = [name for name in before if name not in tables]
        self._shown.show(tables)
        if self._told and not changed and not gone and settled == self._shown.settled:
            return
        self._told = True
        self._past = self._of_what_is_there(self._past)
        for member in self._members.values():
            member.show(m.Show(changed, gone, self._shown.settled))

    async def shown(self) -> None:
        """See lifecycle.Frontend."""
        await _all([asyncio.ensure_future(member.shown()) for member in self._members.values()])

    async def publish(self, deployment: Deployment, endpoint: Endpoint, serving: Serving) -> None:
        """See lifecycle.Frontend; raises BackendUnavailable where a frontend cannot connect, and none uses it then."""
        publication = Publication(deployment, endpoint, serving)
        self._published.append(publication)
        try:
            await _all([member.publish(self._share(publication)) for member in self._members.values()])
        except BaseException:
            await self.withdraw(deployment, endpoint)
            raise

    async def withdraw(self, deployment: Deployment, endpoint: Endpoint) -> None:
        """See lifecycle.Frontend."""
        self._published = [
            each for each in self._published if (each.deployment, each.endpoint) != (deployment, endpoint)
        ]
        drains = [member.withdraw(deployment, endpoint) for member in self._members.values()]
        await asyncio.gather(*drains, return_exceptions=True)  # what a frontend cannot let go ends with its endpoint

    def _share(self, publication: Publication) -> Publication:
        """What one frontend gets of a deployment: its part of the limits, which are the whole gateway's."""
        serving = publication.serving
        limits = replace(
            serving.limits,
            max_in_flight=-(-serving.limits.max_in_flight // self._count),
            max_queue=-(-serving.limits.max_queue // self._count),
        )
        caching = replace(serving.caching, max_bytes=serving.caching.max_bytes // self._count)
        return replace(publication, serving=replace(serving, limits=limits, caching=caching))

    # What becomes of frontends: slot.Group.

    async def join(self, member: Member) -> None:
        """See slot.Group."""
        if self._stopping:
            raise Gone("the gateway is stopping")
        # Until it is a member nothing is awaited: what is said from then on comes behind what it gets now.
        handed = [(each, member.publish(self._share(each))) for each in self._published]
        if self._told:
            member.show(m.Show(dict(self._shown.tables), [], self._shown.settled))
        self._members[member.number] = member
        await asyncio.gather(*(task for _, task in handed), return_exceptions=True)
        for publication, task in handed:
            if isinstance(error := task.exception(), BackendUnavailable):
                _log.warning("frontend %d: %s: %s; trying again", member.number, publication.deployment, error)
                self._in_background(self._insist(member, publication))
        await member.shown()
        member.serving = True
        await self._share_out(member)
        _log.info("frontend %d serves", member.number)

    async def _insist(self, member: Member, publication: Publication) -> None:
        """Have a frontend connect to what it could not reach when it joined; until then it refuses requests for it."""
        attempts = 1
        while True:
            await asyncio.sleep(Restarts.delay_s(attempts + 1))
            if self._members.get(member.number) is not member or publication not in self._published:
                return
            if self._latest(publication.deployment) != publication:
                continue  # another takes the requests, and may give them back
            try:
                await member.publish(self._share(publication))
            except BackendUnavailable:
                attempts += 1
            except Gone:
                return
            else:
                return

    def leave(self, member: Member) -> None:
        """See slot.Group."""
        if self._members.get(member.number) is member:
            del self._members[member.number]
        for deployment, told in self._of_what_is_there(member.statistics).items():
            past = self._past.get(deployment, StatisticsSnapshot())
            self._past[deployment] = replace(merged([past, told]), load=Load())  # what it held is gone with it
        if not self._stopping:
            self._in_background(self._share_out())

    async def _share_out(self, newcomer: Member | None = None) -> None:
        """Have each listening socket served by one frontend: its own, or another while that is not there."""
        serving = [each for _, each in sorted(self._members.items()) if each.serving]
        if self._stopping or not serving:
            return
        shares = {each.number: [each.number] for each in serving}
        orphans = [number for number in range(1, self._count + 1) if number not in shares]
        for orphan, foster in zip(orphans, itertools.cycle(serving), strict=False):
            shares[foster.number].append(orphan)
        asked = {each: each.accept(share) for each in serving if (share := shares[each.number]) != each.accepts}
        if newcomer in asked:
            await asked[newcomer]

    async def respond(self, number: int, act: m.Act) -> object:
        """See slot.Group."""
        match act:
            case m.Log():
                write(f"frontend {number}", act)
            case m.Evidence():
                self._take(act.increments)
            case m.Index():
                return await self._models.index(act.ready_only)
            case m.Load():
                await self._models.load(act.model, act.version, act.overrides)
            case m.Unload():
                await self._models.unload(act.model, act.version)
            case m.TellStatistics():
                return list((await self.statistics()).items())
            case _:
                raise TypeError(f"{type(act).__name__} is nothing that control does")
        return None

    # What is asked about it: front.Front.

    @property
    def tables(self) -> Mapping[str, ModelTable]:
        """See Front.tables."""
        return self._shown.tables

    @property
    def ready(self) -> bool:
        """See Front.ready."""
        return self._shown.ready and any(member.serving for member in self._members.values())

    @property
    def at_startup(self) -> frozenset[Deployment]:
        """See Front.at_startup."""
        return self._shown.at_startup

    def published(self, target: Target) -> Publication:
        """See Front.published."""
        deployment = choose(target, self._shown.tables)
        latest = self._latest(deployment)
        if latest is None:
            raise VersionNotReady(f"{deployment} is being withdrawn")
        return latest

    def _latest(self, deployment: Deployment) -> Publication | None:
        return next((each for each in reversed(self._published) if each.deployment == deployment), None)

    async def statistics(self) -> Mapping[Deployment, StatisticsSnapshot]:
        """See Front.statistics; of frontends that died, what they had reported counts."""
        await self._refresh()
        told: dict[Deployment, list[StatisticsSnapshot]] = {each: [past] for each, past in self._past.items()}
        for member in self._members.values():
            for deployment, snapshot in member.statistics.items():
                told.setdefault(deployment, []).append(snapshot)
        return {deployment: merged(snapshots) for deployment, snapshots in told.items()}

    async def collect(self) -> None:
        """See Front.collect; what comes too late is taken when it comes."""
        asked = [member.collect() for member in self._members.values()]
        for each in asked:
            each.add_done_callback(self._collected)
        if asked:
            await asyncio.wait(asked, timeout=_REPORT_S)

    def _collected(self, task: asyncio.Task[list[Increment]]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._take(task.result())

    async def standings(self) -> list[FrontendStanding]:
        """See Front.standings."""
        await self._refresh()
        return [self._standing(slot) for slot in self._slots]

    def _standing(self, slot: Slot) -> FrontendStanding:
        member = self._members.get(slot.number)
        if member is None:
            return FrontendStanding(slot.number, slot.pid, False, 0, slot.deaths)
        return FrontendStanding(slot.number, slot.pid, member.serving, member.requests, slot.deaths)

    async def _refresh(self) -> None:
        if reports := [member.report() for member in self._members.values()]:
            await asyncio.wait(reports, timeout=_REPORT_S)

    def _of_what_is_there(
        self, statistics: Mapping[Deployment, StatisticsSnapshot]
    ) -> dict[Deployment, StatisticsSnapshot]:
        there = self._shown.deployments() | {each.deployment for each in self._published}
        return {each: told for each, told in statistics.items() if each in there}

    # From start to end.

    def open(self, models: ModelAccess, take: Take) -> None:
        """Say what the frontends may do to models, and who gets what they have noted of experiments."""
        self._models = models
        self._take = take

    async def start(self) -> Sequence[asyncio.Task[None]]:
        """Have every frontend started; gives the tasks that end only with it."""
        self._keeping = [asyncio.create_task(slot.keep(), name=f"frontend {slot.number}") for slot in self._slots]
        return self._keeping

    async def wait_ready(self) -> None:
        """Wait until all that was there at the start has been taken care of, and each frontend has joined or died."""
        await self._shown.wait_settled()
        await asyncio.gather(*(slot.tried.wait() for slot in self._slots))

    def stop(self) -> None:
        """Not ready from now on, and no new connections over HTTP."""
        self._stopping = True
        self._shown.stop()
        for slot in self._slots:
            slot.ending = True
        for member in self._members.values():
            member.refuse()

    async def drain(self) -> None:
        """Take no new requests, and return once the last is answered."""
        members = list(self._members.values())
        if members:  # they have been told by `stop`, and need time to take the last that the kernel has accepted
            await asyncio.wait([each.refuse() for each in members], timeout=_REFUSE_S)
        self._listening.close()
        await asyncio.gather(*(each.drain() for each in members), return_exceptions=True)
        await self.collect()

    async def close(self) -> None:
        """End every frontend."""
        self._stopping = True
        for slot in self._slots:
            slot.ending = True  # a cancellation may be lost where its frontend dies in the same moment
        for task in (*self._keeping, *self._background):
            task.cancel()
        await asyncio.gather(*self._keeping, *self._background, return_exceptions=True)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _all(tasks: Sequence[asyncio.Future[None]]) -> None:
    """Wait until every frontend has done something, or is gone; raises what the first could not do."""
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for error in results:
        if isinstance(error, BaseException) and not isinstance(error, Gone):
            raise error
