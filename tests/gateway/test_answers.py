"""Requests that are not run: their answer is kept from an equal one, or an equal one is running."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from adapters.base import ROUTINE, Endpoint, Urgency
from adapters.errors import DeadlineExceeded, InferenceFailed
from adapters.tensors import Tensors
from gateway.dataplane import DataPlane
from gateway.errors import Overloaded
from gateway.registry import Registry
from gateway.statistics import StatisticsSnapshot
from gateway.types import Caching, Deployment, InferRequest, Limits, ModelTable, Serving, Standing, State, Target
from tests.gateway.fakes import HeldServable, QuickServable, endpoint
from tests.waiting import turns, until

ONE = Deployment("m", 1, "onnxruntime")
TABLES = {"m": ModelTable("m", ("onnxruntime",), {}, {ONE: Standing(State.READY)})}
KEEPING, JOINING, BOTH = Caching(100_000), Caching(join=True), Caching(100_000, join=True)


class Gateway:
    """A data plane over models without processes, one for each endpoint's address; an address is its digest, too."""

    def __init__(self, caching: Caching, held: bool = True, **limits: int) -> None:
        self.caching, self.held, self.limits = caching, held, Limits(**limits)
        self.models: dict[str, Held] = {}
        self.registry = Registry(self._connect, drain_timeout_s=60)
        self.dataplane = DataPlane(self.registry)

    async def _connect(self, to: Endpoint) -> Held:
        model = Held(len(self.models)) if self.held else Quick(len(self.models))
        self.models[to.address] = model
        return model

    async def publish(self, address: str = "a", digest: str | None = None) -> Held:
        serving = Serving(self.limits, caching=self.caching, digest=address if digest is None else digest)
        await self.registry.publish(ONE, endpoint(address), serving)
        self.registry.show(TABLES)
        return self.models[address]

    def ask(self, x: float, **options: float | tuple[str, ...]) -> asyncio.Task[float]:
        async def answer() -> float:
            inputs = {"x": np.array([x], np.float32)}
            request = InferRequest(Target("m"), inputs, **options)  # type: ignore[arg-type]
            return float((await self.dataplane.infer(request)).outputs["y"][0])

        return asyncio.create_task(answer())

    @property
    def told(self) -> StatisticsSnapshot:
        return self.registry.statistics()[ONE]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Hits, misses, joined."""
        told = self.told
        return told.inference_stats.cache_hit.count, told.inference_stats.cache_miss.count, told.joined


class Held(HeldServable):
    """y = 2 x + 1000 n for the n-th that was connected to."""

    def finish_all(self) -> None:
        for each in self.running:
            each.set_result(None)

    def __init__(self, number: int) -> None:
        super().__init__()
        self.offset = 1000 * number

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
        outputs = await super().infer(inputs, urgency)
        return {**outputs, "y": outputs["y"] + np.float32(self.offset)}


class Quick(Held, QuickServable):
    """The same, at once."""


async def test_an_equal_request_gets_the_same_answer_and_is_not_run() -> None:
    gateway = Gateway(KEEPING, held=False)
    model = await gateway.publish()
    answers = [await gateway.ask(x) for x in (1, 1, 2, 1, 2)]
    assert answers == [2, 2, 4, 2, 4]
    assert len(model.seen) == 2
    assert gateway.counts == (3, 2, 0)
    told = gateway.told
    assert (told.inference_stats.success.count, told.inference_count, told.execution_count) == (5, 5, 2)
    assert 0 < told.load.kept_bytes < 100_000


async def test_it_is_off_unless_asked_for() -> None:
    gateway = Gateway(Caching(), held=False)
    model = await gateway.publish()
    await asyncio.gather(*(gateway.ask(1) for _ in range(3)))
    assert len(model.seen) == 3
    assert gateway.counts == (0, 0, 0)


async def test_an_answer_that_is_kept_holds_whatever_outputs_are_asked_for() -> None:
    gateway = Gateway(KEEPING, held=False)
    model = await gateway.publish()
    assert await gateway.ask(1, outputs=("y",)) == 2
    response = await gateway.dataplane.infer(InferRequest(Target("m"), {"x": np.ones(1, np.float32)}, outputs=("x",)))
    assert {name: each.tolist() for name, each in response.outputs.items()} == {"x": [1.0]}
    assert len(model.seen) == 1


async def test_errors_are_not_kept() -> None:
    gateway = Gateway(KEEPING)
    model = await gateway.publish()
    first = gateway.ask(1)
    await turns()
    model.finish(InferenceFailed("no"))
    with pytest.raises(InferenceFailed):
        await first
    second = gateway.ask(1)
    await turns()
    model.finish()
    assert await second == 2


async def test_what_is_kept_is_answered_though_the_deployment_is_full() -> None:
    gateway = Gateway(KEEPING, max_in_flight=1, max_queue=0)
    model = await gateway.publish()
    first = gateway.ask(1)
    await turns()
    model.finish()
    await first
    running = gateway.ask(2)
    await turns()
    with pytest.raises(Overloaded):
        await gateway.ask(3)
    gateway.registry.lease(Target("m")).servable.check(9, 0.0001)  # so nobody may be refused unread
    assert await gateway.ask(1) == 2
    model.finish()
    await running


@pytest.mark.parametrize("caching", [KEEPING, BOTH])
async def test_other_content_never_gives_the_earlier_one_s_answers(caching: Caching) -> None:
    gateway = Gateway(caching)
    old = await gateway.publish("old")
    first, late = gateway.ask(1), gateway.ask(2)
    await turns()
    old.finish()
    await first
    new = await gateway.publish("new")
    asked = [gateway.ask(1), gateway.ask(2)]
    await turns()
    old.finish()  # an answer of the earlier content, while the new one serves
    assert await late == 4
    new.finish_all()
    assert await asyncio.gather(*asked) == [1002, 1004]
    again = [gateway.ask(1), gateway.ask(2)]
    assert await asyncio.gather(*again) == [1002, 1004]


async def test_a_worker_that_was_restarted_finds_what_was_kept() -> None:
    gateway = Gateway(KEEPING, held=False)
    await gateway.publish("a", digest="same")
    await gateway.ask(1)
    await gateway.registry.withdraw(ONE, endpoint("a"))
    model = await gateway.publish("b", digest="same")
    assert await gateway.ask(1) == 2
    assert model.seen == []


async def test_content_that_nobody_can_name_is_not_taken_for_the_same() -> None:
    gateway = Gateway(KEEPING, held=False)
    await gateway.publish("a", digest="")
    await gateway.ask(1)
    await gateway.publish("b", digest="")
    assert await gateway.ask(1) == 1002


async def test_what_was_kept_goes_with_its_deployment() -> None:
    gateway = Gateway(KEEPING, held=False)
    await gateway.publish("a")
    await gateway.ask(1)
    await gateway.registry.withdraw(ONE, endpoint("a"))
    gateway.registry.show({})
    model = await gateway.publish("a")
    await gateway.ask(1)
    assert len(model.seen) == 1
    assert gateway.counts == (0, 1, 0)


@pytest.mark.parametrize("caching", [JOINING, BOTH])
async def test_equal_requests_in_flight_share_one_run(caching: Caching) -> None:
    gateway = Gateway(caching)
    model = await gateway.publish()
    equal, other = [gateway.ask(1) for _ in range(4)], gateway.ask(2)
    await turns()
    assert len(model.running) == 2
    model.finish_all()
    assert await asyncio.gather(*equal) == [2] * 4
    assert await other == 4
    assert gateway.counts[2] == 3
    assert (gateway.told.inference_stats.success.count, gateway.told.execution_count) == (5, 2)


async def test_without_a_store_the_next_equal_request_is_run_again() -> None:
    gateway = Gateway(JOINING)
    model = await gateway.publish()
    for _ in range(2):
        equal = [gateway.ask(1) for _ in range(2)]
        await turns()
        model.finish()
        await asyncio.gather(*equal)
    assert len(model.seen) == 2


async def test_who_leaves_does_not_take_the_run_from_the_others() -> None:
    gateway = Gateway(JOINING)
    model = await gateway.publish()
    first, second, third = (gateway.ask(1) for _ in range(3))
    await turns()
    first.cancel()
    second.cancel()
    await turns()
    assert (first.cancelled(), second.cancelled(), len(model.running)) == (True, True, 1)
    model.finish()
    assert await third == 2


@pytest.mark.parametrize("moments_later", range(6))
async def test_once_all_have_left_the_run_is_dropped_and_nobody_joins_it_any_more(moments_later: int) -> None:
    gateway = Gateway(JOINING)
    model = await gateway.publish()
    callers = [gateway.ask(1) for _ in range(2)]
    await turns()
    for each in callers:
        each.cancel()
    for _ in range(moments_later):
        await asyncio.sleep(0)
    late = gateway.ask(1)
    await turns()
    assert len(model.running) == 1
    model.finish()
    assert await late == 2


async def test_each_keeps_its_own_deadline() -> None:
    gateway = Gateway(JOINING)
    model = await gateway.publish()
    hurried, patient = gateway.ask(1, timeout_ms=5), gateway.ask(1)
    with pytest.raises(DeadlineExceeded):
        await hurried
    assert len(model.running) == 1
    model.finish()
    assert await patient == 2


async def test_the_run_ends_with_the_deployment_s_time() -> None:
    gateway = Gateway(JOINING, timeout_ms=10)
    model = await gateway.publish()
    with pytest.raises(DeadlineExceeded):
        await gateway.ask(1)
    await until(lambda: not model.running)


async def test_an_error_goes_to_all_who_joined() -> None:
    gateway = Gateway(BOTH)
    model = await gateway.publish()
    equal = [gateway.ask(1) for _ in range(3)]
    await turns()
    model.finish(InferenceFailed("no"))
    for each in equal:
        with pytest.raises(InferenceFailed):
            await each
    assert gateway.told.ends == {"InferenceFailed": 3}


async def test_what_is_shared_cannot_be_written_to() -> None:
    gateway = Gateway(JOINING)
    model = await gateway.publish()
    request = InferRequest(Target("m"), {"x": np.ones(1, np.float32)})
    tasks = [asyncio.create_task(gateway.dataplane.infer(request)) for _ in range(2)]
    await turns()
    model.finish()
    for task in tasks:
        assert not any(each.flags.writeable for each in (await task).outputs.values())


async def test_large_inputs_are_hashed_elsewhere_and_found_again() -> None:
    gateway = Gateway(Caching(2**30), held=False)
    model = await gateway.publish()
    for _ in range(2):
        await gateway.dataplane.infer(InferRequest(Target("m"), {"x": np.ones(2**19, np.float32)}))
    assert len(model.seen) == 1


class NeverTheWrongAnswer(RuleBasedStateMachine):
    """Requests, reloads, callers who leave, answers, in any order: each answer is of the content that served then."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.gateway = Gateway(BOTH, max_in_flight=2, max_queue=3)
        self.asked: list[tuple[asyncio.Task[float], float]] = []
        self.addresses: list[str] = []
        self.reload()

    def settle(self) -> None:
        self.loop.run_until_complete(turns(12))

    @rule()
    def reload(self) -> None:
        self.addresses.append(f"address-{len(self.addresses)}")
        self.loop.run_until_complete(self.gateway.publish(self.addresses[-1]))

    @rule(x=st.integers(0, 2))
    def ask(self, x: int) -> None:
        async def begin() -> asyncio.Task[float]:
            return self.gateway.ask(x)

        task = self.loop.run_until_complete(begin())
        self.asked.append((task, 2 * x + 1000 * (len(self.addresses) - 1)))
        self.settle()

    @precondition(lambda self: any(not task.done() for task, _ in self.asked))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from([task for task, _ in self.asked if not task.done()])).cancel()
        self.settle()

    @rule(data=st.data(), fails=st.booleans())
    def finish(self, data: st.DataObject, fails: bool) -> None:
        running = [each for each in self.gateway.models.values() if each.running]
        if running:
            data.draw(st.sampled_from(running)).finish(InferenceFailed("no") if fails else None)
            self.settle()

    def teardown(self) -> None:
        for _ in range(100):
            for model in self.gateway.models.values():
                while model.running and not model.running[0].done():
                    model.finish()
                    self.settle()
        for task, answer in self.asked:
            assert task.done()
            if not task.cancelled() and not isinstance(task.exception(), InferenceFailed | Overloaded):
                assert task.result() == answer
        self.loop.close()


TestNeverTheWrongAnswer = NeverTheWrongAnswer.TestCase
