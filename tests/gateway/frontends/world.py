"""A group of frontends without processes: real links, registries and orders, in one event loop."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from adapters.base import Endpoint
from adapters.errors import BackendUnavailable
from gateway.experiments.recording import Increment
from gateway.frontends import messages as m
from gateway.frontends.group import FrontendGroup
from gateway.frontends.link import Link
from gateway.frontends.orders import Orders
from gateway.frontends.remote import RemoteAccess
from gateway.ports import PortTaken
from gateway.protocols.model_repository import IndexEntry, Readiness
from gateway.registry import Lease, Registry
from gateway.statistics import StatisticsSnapshot
from gateway.types import Deployment, Limits, ModelTable, Serving, Standing, State, Target
from tests.gateway.fakes import HeldServable, X, endpoint
from tests.waiting import until

DEFAULT = Target("m")
ONE, TWO = (Deployment("m", version, "onnxruntime") for version in (1, 2))


class FakePorts:
    """orders.Ports that only remembers."""

    def __init__(self, taken: bool) -> None:
        self.accepts: list[int] = []
        self.drained = False
        self.taken = taken

    async def accept(self, numbers: list[int]) -> None:
        """See Ports."""
        if self.taken:
            raise PortTaken("grpc_port: cannot listen")
        self.accepts = numbers

    async def drain(self) -> None:
        """See Ports."""
        self.drained = True


class FakeFrontend:
    """A slot.Process: one life of a frontend. `hold` is set to keep it from doing what control says."""

    def __init__(self, number: int, pid: int, world: World) -> None:
        self.number = number
        self.pid = pid
        self.world = world
        self.end, self._theirs = socket.socketpair()
        self.models: dict[str, HeldServable] = {}
        self.registry = Registry(self._connect, drain_timeout_s=60.0)
        self.ports = FakePorts(world.taken)
        self.held = world.held
        self.told: list[m.Act] = []
        self.models_of_control: RemoteAccess
        self._release = asyncio.Event()
        self._died: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._link: Link | None = None
        self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        self._link = await Link.open(self._theirs)
        self.models_of_control = RemoteAccess(self.link)
        orders = Orders(self.registry, self.ports)

        async def respond(act: m.Act) -> object:
            self.told.append(act)
            if isinstance(act, self.held):
                await self._release.wait()
            return await orders.respond(act)

        if not self.world.mute:
            self.link.tell(m.Hello())
        try:
            await self.link.serve(respond)
        finally:
            self.die("exit code 0")

    async def _connect(self, to: Endpoint) -> HeldServable:
        if gate := self.world.gates.get((self.number, to.address)):
            await gate.wait()
        if (self.number, to.address) in self.world.unreachable:
            raise BackendUnavailable("nobody listens there")
        model = self.models[to.address] = HeldServable(to.address)
        return model

    def hold(self, *acts: type[m.Act]) -> None:
        """Have it wait with what it is told of these kinds."""
        self.held = acts

    def release(self) -> None:
        """Have it do what it waited with."""
        self.held = ()
        self._release.set()

    def die(self, how: str = "killed by SIGKILL") -> None:
        """End it, as its process's death would."""
        if not self._died.done():
            self._died.set_result(how)
            self._running.cancel()
            if self._link is None:
                self._theirs.close()
            else:
                self._link.close()

    @property
    def is_linked(self) -> bool:
        """Whether it has come so far as to have a link."""
        return self._link is not None

    @property
    def link(self) -> Link:
        """Its end of the link."""
        assert self._link is not None
        return self._link

    async def wait(self) -> str:
        """See slot.Process."""
        return await asyncio.shield(self._died)

    async def stop(self, grace_s: float) -> None:
        """See slot.Process."""
        self.die("stopped")

    @property
    def alive(self) -> bool:
        """Whether it has not died."""
        return not self._died.done()

    def answers(self, target: Target) -> str:
        """The address that would answer a target here."""
        return self.registry.lease(target).endpoint.address

    async def begin(self, target: Target = DEFAULT) -> asyncio.Task[str]:
        """A request that runs; gives the address of who answered."""
        return await self.begin_on(self.registry.lease(target))

    async def begin_on(self, lease: Lease) -> asyncio.Task[str]:
        """A request that runs on a lease."""

        async def request() -> str:
            with lease:
                await lease.servable.infer(X)
                lease.statistics.succeeded(1, 1000)
                return lease.endpoint.address

        task = asyncio.create_task(request())
        model = self.models[lease.endpoint.address]
        running = len(model.running)
        await until(lambda: len(model.running) > running)
        return task


class FakeAccess:
    """A ModelAccess that remembers, and fails with what a test says."""

    def __init__(self, group: FrontendGroup) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.statistics = group.statistics

    async def load(self, model: str, version: int | None = None, overrides: Mapping[str, object] | None = None) -> None:
        """See ModelAccess."""
        self._ask("load", model, version, overrides)

    async def unload(self, model: str, version: int | None = None) -> None:
        """See ModelAccess."""
        self._ask("unload", model, version)

    async def index(self, ready_only: bool = False) -> list[IndexEntry]:
        """See ModelAccess."""
        self._ask("index", ready_only)
        return [IndexEntry("m", "1", Readiness.READY, ""), IndexEntry("n", None, Readiness.UNAVAILABLE, "no version")]

    def _ask(self, *asked: Any) -> None:
        self.asked.append(asked)
        if self.error is not None:
            raise self.error


class World:
    """The group, and all that a test does to its frontends."""

    inference_url, grpc_address = "http://127.0.0.1:1", "127.0.0.1:2"

    def __init__(self, count: int = 2) -> None:
        self.mute = False
        self.unstartable = 0
        self.taken = False
        self.held: tuple[type[m.Act], ...] = ()
        self.gates: dict[tuple[int, str], asyncio.Event] = {}
        self.unreachable: set[tuple[int, str]] = set()
        self.lives: dict[int, list[FakeFrontend]] = defaultdict(list)
        self.closed = False
        self._pids = itertools.count(1000)
        self.group = FrontendGroup(count, self._spawn, self, drain_timeout_s=60.0)
        self.access = FakeAccess(self.group)
        self.noted: list[Increment] = []
        self.group.open(self.access, self.noted.extend)

    def close(self) -> None:
        """The listening sockets are shut."""
        self.closed = True

    async def _spawn(self, number: int) -> FakeFrontend:
        if self.unstartable:
            self.unstartable -= 1
            raise OSError("no process left to be had")
        life = FakeFrontend(number, next(self._pids), self)
        self.lives[number].append(life)
        return life

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        """All frontends up."""
        await self.group.start()
        try:
            await self.settled()
            yield self
        finally:
            await self.group.close()

    async def settled(self) -> None:
        """Wait until every frontend serves."""
        await until(lambda: all(member.serving for member in self.members()) and self._complete())

    def _complete(self) -> bool:
        return len(self.members()) == len(self.group._slots)

    def members(self) -> list[Any]:
        """What the group knows of those that have joined."""
        return list(self.group._members.values())

    def __getitem__(self, number: int) -> FakeFrontend:
        """The present life of a frontend."""
        return self.lives[number][-1]

    @property
    def frontends(self) -> list[FakeFrontend]:
        """The present lives of all."""
        return [lives[-1] for lives in self.lives.values()]

    async def publish(self, deployment: Deployment, address: str, limits: Limits | None = None) -> None:
        """See lifecycle.Frontend."""
        await self.group.publish(deployment, endpoint(address), Serving(limits or Limits()))

    async def withdraw(self, deployment: Deployment, address: str) -> None:
        """See lifecycle.Frontend."""
        await self.group.withdraw(deployment, endpoint(address))

    def show(self, labels: Mapping[str, int] | None = None, model: str = "m", **states: str) -> None:
        """States by version: `v1="READY"`."""
        there = {
            Deployment(model, int(name[1:]), "onnxruntime"): Standing(State(state)) for name, state in states.items()
        }
        table = ModelTable(model, ("onnxruntime",), dict(labels or {}), there)
        self.group.show({**self.group.tables, model: table})

    async def revive(self, number: int) -> FakeFrontend:
        """Kill a frontend, and wait until its successor serves."""
        before = len(self.lives[number])
        self[number].die()
        await until(lambda: len(self.lives[number]) > before)
        await self.settled()
        return self[number]


async def counts(world: World) -> dict[Deployment, int]:
    """Rows that were answered, by deployment."""
    told: Mapping[Deployment, StatisticsSnapshot] = await world.group.statistics()
    return {each: snapshot.inference_count for each, snapshot in told.items()}
