"""Whatever happens in whatever order: frontends agree with control, and nothing is let go while one uses it."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from adapters.errors import BackendUnavailable
from gateway.frontends import slot
from gateway.types import Deployment
from tests.gateway.frontends.world import ONE, TWO, FakeFrontend, World
from tests.waiting import turns, until

NUMBERS = (1, 2, 3)
SOME = st.sets(st.sampled_from(NUMBERS))


class Frontends(RuleBasedStateMachine):
    """Three frontends that are slow, die and come back, while control publishes, withdraws and shows."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.addresses = (f"a{number}" for number in itertools.count())
        self.published: list[tuple[Deployment, str]] = []
        self.publishing: dict[Deployment, asyncio.Task[None]] = {}
        self.withdrawing: list[asyncio.Task[None]] = []
        self.withdrawn: set[str] = set()
        self.requests: list[tuple[asyncio.Task[Any], Any]] = []
        self.world: World
        self.run(self._start())

    def run(self, act: Any) -> Any:
        async def done() -> Any:
            result = await act
            await turns(30)
            return result

        return self.runner.run(done())

    async def _start(self) -> None:
        self.world = World(len(NUMBERS))
        await self.world.group.start()
        await self.world.settled()

    @rule(deployment=st.sampled_from([ONE, TWO]), slow=SOME, out_of_reach=SOME)
    def publish(self, deployment: Deployment, slow: set[int], out_of_reach: set[int]) -> None:
        if deployment in self.publishing:
            return  # control loads a deployment once at a time
        self.run(self._publish(deployment, slow, out_of_reach if len(out_of_reach) == 1 else set()))

    async def _publish(self, deployment: Deployment, slow: set[int], out_of_reach: set[int]) -> None:
        address = next(self.addresses)
        self.world.gates |= {(number, address): asyncio.Event() for number in slow}
        self.world.unreachable |= {(number, address) for number in out_of_reach}

        async def publish() -> None:
            self.published.append((deployment, address))
            try:
                await self.world.publish(deployment, address)
            except BackendUnavailable:
                self.published.remove((deployment, address))
                self.withdrawn.add(address)
                raise
            finally:
                del self.publishing[deployment]

        self.publishing[deployment] = asyncio.create_task(publish())

    @rule()
    def let_connect(self) -> None:
        self.run(self._let_connect())

    async def _let_connect(self) -> None:
        for gate in self.world.gates.values():
            gate.set()
        self.world.gates.clear()

    @rule(data=st.data())
    @precondition(lambda self: self._withdrawable())
    def withdraw(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(self._withdrawable()))
        self.published.remove(chosen)
        self.run(self._withdraw(*chosen))

    def _withdrawable(self) -> list[tuple[Deployment, str]]:
        last = dict(self.published)
        return [(d, a) for d, a in self.published if not (d in self.publishing and last[d] == a)]

    async def _withdraw(self, deployment: Deployment, address: str) -> None:
        async def withdraw() -> None:
            await self.world.withdraw(deployment, address)
            self.withdrawn.add(address)

        self.withdrawing.append(asyncio.create_task(withdraw()))

    @rule(number=st.sampled_from(NUMBERS))
    def kill(self, number: int) -> None:
        self.run(self._kill(number))

    async def _kill(self, number: int) -> None:
        self.world[number].die()

    @rule(one=st.sampled_from(["READY", "LOADING", "FAILED"]), label=st.sampled_from([1, 2]))
    def show(self, one: str, label: int) -> None:
        self.run(self._show(one, label))

    async def _show(self, one: str, label: int) -> None:
        self.world.show({"stable": label}, v1=one, v2="READY")

    @rule(number=st.sampled_from(NUMBERS), deployment=st.sampled_from([ONE, TWO]))
    def ask(self, number: int, deployment: Deployment) -> None:
        self.run(self._ask(number, deployment))

    async def _ask(self, number: int, deployment: Deployment) -> None:
        frontend = self.world[number]
        lease = frontend.registry._leases.get(deployment)
        if lease is not None and frontend.alive:
            task = await frontend.begin_on(lease)
            self.requests.append((task, frontend.models[lease.endpoint.address]))

    @rule()
    def answer(self) -> None:
        self.run(self._answer())

    async def _answer(self) -> None:
        for _, model in self.requests:
            while model.running:
                model.finish()
                await asyncio.sleep(0)
        await asyncio.gather(*(task for task, _ in self.requests), return_exceptions=True)
        self.requests.clear()

    @invariant()
    def nothing_withdrawn_is_in_use(self) -> None:
        for frontend in self.world.frontends:
            for address in self.withdrawn & frontend.models.keys():
                assert not frontend.alive or not frontend.models[address].running, (frontend.number, address)

    @invariant()
    def who_listens_has_all_that_is_published(self) -> None:
        unreachable = self.world.unreachable
        for frontend in self.world.frontends:
            for deployment, address in self.published if frontend.alive and frontend.ports.accepts else []:
                if deployment not in self.publishing and (frontend.number, address) not in unreachable:
                    assert address in frontend.models, (frontend.number, address)
                    assert not frontend.models[address].closed, (frontend.number, address)

    @rule()
    def settle(self) -> None:
        """Let everything end, and compare."""
        self.run(self._settle())

    async def _settle(self) -> None:
        await self._let_connect()
        pending = [*self.publishing.values(), *self.withdrawing]
        while not all(task.done() for task in pending):
            await self._answer()
            await asyncio.sleep(0)
        self.withdrawing.clear()
        self.world.unreachable.clear()
        await self.world.settled()
        last = dict(self.published)
        await until(lambda: all(self._leases(each) == last for each in self.world.frontends))
        shown = self.world.group.tables
        await self.world.group.shown()
        # Who took over for one that is back hangs up a moment later.
        await until(lambda: all(each.ports.accepts == [each.number] for each in self.world.frontends))
        for frontend in self.world.frontends:
            opened = {address for address, model in frontend.models.items() if not model.closed}
            assert opened <= {address for _, address in self.published}, frontend.number
            assert frontend.registry.tables == shown

    def _leases(self, frontend: FakeFrontend) -> dict[Deployment, str]:
        return {each: lease.endpoint.address for each, lease in frontend.registry._leases.items()}

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            self.runner.run(self.world.group.close())
            self.runner.close()


def test_frontends_agree_with_control_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "_BEAT_S", 0.001)
    run_state_machine_as_test(Frontends, settings=settings(max_examples=40, stateful_step_count=25, deadline=None))
