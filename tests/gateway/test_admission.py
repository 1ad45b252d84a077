"""How many requests a deployment takes at once: never more, in order, and nobody is forgotten."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from adapters.base import ROUTINE, Urgency
from adapters.errors import DeadlineExceeded, InferenceFailed
from adapters.tensors import Tensors
from gateway.admission import ConcurrencyLimit
from gateway.errors import Overloaded
from gateway.pace import Pace
from gateway.statistics import Load
from tests.gateway.fakes import SIGNATURE, HeldServable, X
from tests.waiting import turns


async def begin(limit: ConcurrencyLimit, count: int) -> list[asyncio.Task[Tensors]]:
    """Requests that hold 0, 1, 2, … each begun after the other."""
    tasks = [asyncio.create_task(limit.infer({"x": np.array([number], np.float32)})) for number in range(count)]
    await turns()
    return tasks


def running(model: HeldServable) -> list[int]:
    return [int(inputs["x"][0]) for inputs in model.seen]


async def finish(model: HeldServable) -> None:
    model.finish()
    await turns()


async def test_so_many_run_and_the_rest_waits_its_turn_in_order() -> None:
    model = HeldServable()
    tasks = await begin(ConcurrencyLimit(model, 2, 10), 5)
    for begun in ([0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]):
        assert running(model) == begun
        await finish(model)
    assert model.most_at_once == 2
    assert [(await task)["x"].tolist() for task in tasks] == [[0.0], [1.0], [2.0], [3.0], [4.0]]


async def test_who_waits_is_counted() -> None:
    model = HeldServable()
    limit = ConcurrencyLimit(model, 2, 10)
    await begin(limit, 5)
    for left in (3, 2, 1, 0, 0, 0):
        assert limit.waiting == left
        if model.running:
            await finish(model)


async def test_nobody_overtakes_those_who_wait() -> None:
    model = HeldServable()
    limit = ConcurrencyLimit(model, 1, 10)
    await begin(limit, 2)
    model.finish()
    late = asyncio.create_task(limit.infer({"x": np.array([9], np.float32)}))
    await turns()
    assert running(model) == [0, 1]
    await finish(model)
    assert running(model) == [0, 1, 9]
    await finish(model)
    await late


async def test_who_finds_the_queue_full_is_told_when_to_come_back() -> None:
    model = HeldServable()
    limit = ConcurrencyLimit(model, 2, 1)
    tasks = await begin(limit, 4)
    with pytest.raises(Overloaded, match="2 requests are running and 1 waiting") as raised:
        await tasks[3]
    assert raised.value.retry_after_s > 0
    for _ in range(3):
        await finish(model)
    assert [task.done() for task in tasks[:3]] == [True] * 3


async def test_without_a_queue_the_limit_alone_counts() -> None:
    model = HeldServable()
    limit = ConcurrencyLimit(model, 1, 0)
    first, second = await begin(limit, 2)
    assert isinstance(second.exception(), Overloaded)
    await finish(model)
    await first
    third = asyncio.create_task(limit.infer(X))
    await turns()
    await finish(model)
    await third


async def test_a_request_that_fails_hands_its_place_on() -> None:
    model = HeldServable()
    tasks = await begin(ConcurrencyLimit(model, 1, 5), 2)
    model.finish(InferenceFailed("no"))
    await turns()
    assert isinstance(tasks[0].exception(), InferenceFailed)
    assert running(model) == [0, 1]
    await finish(model)
    await tasks[1]


async def test_a_caller_that_leaves_while_it_runs_hands_its_place_on() -> None:
    model = HeldServable()
    tasks = await begin(ConcurrencyLimit(model, 1, 5), 2)
    tasks[0].cancel()
    await turns()
    assert running(model) == [0, 1]
    await finish(model)
    await tasks[1]


async def test_a_caller_that_leaves_the_queue_gives_its_place_in_it_back() -> None:
    model = HeldServable()
    limit = ConcurrencyLimit(model, 1, 2)
    tasks = await begin(limit, 3)
    for task in tasks[1:]:
        task.cancel()
    await turns()
    late = [asyncio.create_task(limit.infer(X)) for _ in range(2)]
    await turns()
    assert not any(task.done() for task in late), "the queue is empty: nobody is refused"
    for _ in range(3):
        await finish(model)
    assert all(task.done() for task in late)


async def test_a_caller_that_leaves_at_the_moment_of_its_turn_hands_it_on() -> None:
    model = HeldServable()
    limit = ConcurrencyLimit(model, 1, 5)
    first, leaves, last = await begin(limit, 3)
    model.finish()
    while not first.done():  # noqa: ASYNC110  # turn by turn, to be there at the very moment
        await asyncio.sleep(0)
    leaves.cancel()
    await turns()
    assert running(model) in ([0, 2], [0, 1, 2])
    await finish(model)
    assert last.done()
    again = asyncio.create_task(limit.infer(X))
    await turns()
    await finish(model)
    await again


def pressing(limit: ConcurrencyLimit, number: int, priority: int = 5, deadline_ns: int = 0) -> asyncio.Task[Tensors]:
    """A request that holds its number."""
    return asyncio.create_task(limit.infer({"x": np.array([number], np.float32)}, Urgency(deadline_ns, priority)))


async def test_the_more_pressing_overtake_those_who_wait_and_equals_keep_their_order() -> None:
    model = HeldServable()
    limit = ConcurrencyLimit(model, 1, 10)
    tasks = [pressing(limit, number, priority) for number, priority in enumerate((9, 5, 9, 1, 5, 1))]
    await turns()
    for begun in ([0], [0, 3], [0, 3, 5], [0, 3, 5, 1], [0, 3, 5, 1, 4], [0, 3, 5, 1, 4, 2]):
        assert running(model) == begun
        await finish(model)
    await asyncio.gather(*tasks)


async def test_where_the_queue_is_full_the_latest_of_those_who_press_least_gives_way_to_one_who_presses_more() -> None:
    model = HeldServable()
    limit = ConcurrencyLimit(model, 1, 3)
    runs, stays, eight, nine = (pressing(limit, number, priority) for number, priority in enumerate((9, 7, 8, 9)))
    await turns()
    first = pressing(limit, 4, 1)
    await turns()
    with pytest.raises(Overloaded, match="a more pressing one took this one's place"):
        await nine
    last = pressing(limit, 5, 8)
    await turns()
    with pytest.raises(Overloaded, match="1 requests are running and 3 waiting: no more may wait"):
        await last
    assert not eight.done(), "an equal gives way to nobody"
    for _ in range(4):
        await finish(model)
    await asyncio.gather(runs, stays, eight, first)
    assert running(model) == [0, 4, 1, 2]


async def test_who_finds_its_time_up_when_its_turn_comes_is_passed_over_and_never_run() -> None:
    now_ns = [10**12]
    model = HeldServable()
    limit = ConcurrencyLimit(model, 1, 10, lambda: now_ns[0])
    runs = pressing(limit, 0)
    late, late_too, in_time = (pressing(limit, number, 5, 10**12 + number * 10**9) for number in (1, 2, 3))
    await turns()
    now_ns[0] += 2 * 10**9
    await finish(model)
    assert running(model) == [0, 3]
    for task in (late, late_too):
        assert isinstance(task.exception(), DeadlineExceeded)
    await finish(model)
    await asyncio.gather(runs, in_time)
    assert limit.load == Load(0, 0)


def learned(limit: ConcurrencyLimit, now_ns: list[int], answer_ms: int) -> None:
    """Have it know that an answer comes every so many milliseconds, while two are running."""
    limit._pace.began(now_ns[0])
    for _ in range(40):
        now_ns[0] += answer_ms * 10**6
        limit._pace.answered(now_ns[0], 2)


async def test_who_would_be_late_is_told_so_at_once_and_when_to_come_back() -> None:
    now_ns = [10**12]
    model = HeldServable()
    limit = ConcurrencyLimit(model, 2, 10, lambda: now_ns[0])
    learned(limit, now_ns, answer_ms=100)
    for number in range(4):  # two run, two wait
        pressing(limit, number, 5, now_ns[0] + 10**10)
    await turns()
    hurried = pressing(limit, 4, 5, now_ns[0] + 200 * 10**6)  # four answers and its own would take half a second
    patient = pressing(limit, 5, 5, now_ns[0] + 900 * 10**6)
    pressed = pressing(limit, 6, 1, now_ns[0] + 350 * 10**6)  # only those that run go before it
    await turns()
    with pytest.raises(Overloaded, match="2 requests are running and 2 waiting: this one would be late by") as raised:
        await hurried
    assert 0.2 < raised.value.retry_after_s < 0.4
    assert (patient.done(), pressed.done()) == (False, False)
    model.finish()
    await turns()
    assert running(model) == [0, 1, 6]


async def test_who_would_be_late_is_refused_though_nobody_waits() -> None:
    now_ns = [10**12]
    model = HeldServable()
    limit = ConcurrencyLimit(model, 10, 10, lambda: now_ns[0])
    learned(limit, now_ns, answer_ms=100)
    for number in range(4):
        pressing(limit, number, 5, now_ns[0] + 10**10)
    await turns()
    with pytest.raises(Overloaded, match="4 requests are running and 0 waiting"):
        await pressing(limit, 4, 5, now_ns[0] + 200 * 10**6)
    with pytest.raises(Overloaded):
        await limit.let_through(lambda servable: servable.infer(X), Urgency(now_ns[0] + 200 * 10**6))
    assert limit.load == Load(4, 0)


async def test_who_has_become_too_late_while_it_waited_is_refused_when_its_turn_comes() -> None:
    now_ns = [10**12]
    model = HeldServable()
    limit = ConcurrencyLimit(model, 2, 10, lambda: now_ns[0])
    learned(limit, now_ns, answer_ms=100)
    pressing(limit, 0)
    pressing(limit, 1)
    waits = pressing(limit, 2, 5, now_ns[0] + 500 * 10**6)
    await turns()
    assert not waits.done()
    now_ns[0] += 450 * 10**6
    await finish(model)
    assert isinstance(waits.exception(), Overloaded)
    assert running(model) == [0, 1]


async def test_check_says_in_advance_who_would_be_refused_and_changes_nothing() -> None:
    now_ns = [10**12]
    model = HeldServable()
    limit = ConcurrencyLimit(model, 1, 2, lambda: now_ns[0])
    limit.check(9, 0.001)
    await begin(limit, 3)
    with pytest.raises(Overloaded, match="no more may wait"):
        limit.check()
    limit.check(priority=1)  # it would take another one's place
    learned(limit, now_ns, answer_ms=100)
    with pytest.raises(Overloaded, match="this one would be late"):
        limit.check(priority=5, timeout_s=0.1)
    with pytest.raises(Overloaded, match="no more may wait"):
        limit.check(priority=5, timeout_s=10)
    assert limit.load == Load(1, 2)
    assert running(model) == [0]


async def test_what_only_one_kind_of_servable_can_goes_to_it_directly_under_the_same_limit() -> None:
    model, client = HeldServable("batched"), HeldServable("direct")
    limit = ConcurrencyLimit(model, 1, 10, direct=client)
    tasks = [asyncio.create_task(limit.let_through(lambda servable: servable.infer(X))), *await begin(limit, 1)]
    await turns()
    assert (len(client.running), len(model.running), limit.load) == (1, 0, Load(1, 1))
    await finish(client)
    await finish(model)
    await asyncio.gather(*tasks)


class NumberedServable(HeldServable):
    """Its requests run until they are let go by number."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[int, asyncio.Future[None]] = {}

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
        number = int(inputs["x"][0])
        self.places[number] = asyncio.get_running_loop().create_future()
        self.most_at_once = max(self.most_at_once, len(self.places))
        try:
            await self.places[number]
        finally:
            del self.places[number]
        return inputs


class NothingForetold(Pace):
    def late_ns(self, now_ns: int, running: int, ahead: int, deadline_ns: int) -> float:
        return 0.0


class AsItShouldBe(RuleBasedStateMachine):
    """Requests that come, leave, are answered and run out of time, in any order, compared with plain lists.

    What is foretold has tests of its own; here nothing is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now_ns = 10**12
        self.model = NumberedServable()
        self.tasks: dict[int, asyncio.Task[Tensors]] = {}
        self.waits: list[tuple[int, int, int]] = []  # priority, number, deadline
        self.runs: list[int] = []
        self.ended: dict[int, type[Exception]] = {}

    @initialize(max_in_flight=st.integers(1, 3), max_queue=st.integers(0, 4))
    def limits(self, max_in_flight: int, max_queue: int) -> None:
        self.max_in_flight, self.max_queue = max_in_flight, max_queue
        self.limit = ConcurrencyLimit(self.model, max_in_flight, max_queue, lambda: self.now_ns)
        self.limit._pace = NothingForetold()

    def settle(self) -> None:
        self.loop.run_until_complete(turns(6))

    @rule(priority=st.integers(1, 9), seconds=st.none() | st.integers(1, 5))
    def come(self, priority: int, seconds: int | None) -> None:
        number = len(self.tasks)
        deadline_ns = self.now_ns + seconds * 10**9 if seconds else 0
        inputs = {"x": np.array([number], np.float32)}
        self.tasks[number] = self.loop.create_task(self.limit.infer(inputs, Urgency(deadline_ns, priority)))
        if len(self.runs) < self.max_in_flight:
            self.runs.append(number)
        elif len(self.waits) < self.max_queue:
            self.waits.append((priority, number, deadline_ns))
        elif self.waits and max(self.waits)[0] > priority:
            self.ended[max(self.waits)[1]] = Overloaded
            self.waits.remove(max(self.waits))
            self.waits.append((priority, number, deadline_ns))
        else:
            self.ended[number] = Overloaded
        self.settle()

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), how=st.sampled_from(["answer", "fail", "leave"]))
    def end(self, data: st.DataObject, how: str) -> None:
        number = data.draw(st.sampled_from(self.runs))
        place = self.model.places[number]
        if how == "leave":
            self.tasks[number].cancel()
        elif how == "fail":
            place.set_exception(InferenceFailed("no"))
        else:
            place.set_result(None)
        self.runs.remove(number)
        while self.waits:
            _, waiting, deadline_ns = first = min(self.waits)
            self.waits.remove(first)
            if deadline_ns and deadline_ns <= self.now_ns:
                self.ended[waiting] = DeadlineExceeded
                continue
            self.runs.append(waiting)
            break
        self.settle()
        assert self.tasks[number].done()

    @precondition(lambda self: self.waits)
    @rule(data=st.data())
    def leave_the_queue(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(self.waits))
        self.tasks[gone[1]].cancel()
        self.waits.remove(gone)
        self.settle()

    @rule(seconds=st.integers(1, 3))
    def pass_time(self, seconds: int) -> None:
        self.now_ns += seconds * 10**9

    @invariant()
    def is_as_it_should_be(self) -> None:
        if not hasattr(self, "limit"):
            return
        assert set(self.model.places) == set(self.runs)
        assert self.limit.load == Load(len(self.runs), len(self.waits))
        assert self.model.most_at_once <= self.max_in_flight
        for number, kind in self.ended.items():
            assert isinstance(self.tasks[number].exception(), kind)

    def teardown(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        self.settle()
        if self.tasks:
            assert all(task.done() for task in self.tasks.values())
            assert self.limit.load == Load(0, 0), "every place is free again"
        self.loop.close()


TestAsItShouldBe = AsItShouldBe.TestCase


async def test_it_is_a_servable_like_the_one_that_it_wraps() -> None:
    model = HeldServable()
    limit = ConcurrencyLimit(model, 1, 1)
    assert limit.signature == SIGNATURE
    await limit.aclose()
    assert model.closed


@pytest.mark.parametrize(("had_ns", "refused"), [(1_000, False), (50_000_000, True)])
async def test_requests_that_never_had_a_chance_say_nothing_of_the_model(had_ns: int, refused: bool) -> None:
    model, now_ns = HeldServable(), 10**9
    limit = ConcurrencyLimit(model, 100, 100, clock=lambda: now_ns)
    for _ in range(9):
        hurried = asyncio.create_task(limit.infer(X, Urgency(now_ns + had_ns)))
        await turns()
        now_ns += had_ns
        hurried.cancel()
        await turns()
    one, other = (asyncio.create_task(limit.infer(X, Urgency(now_ns + 10**10))) for _ in range(2))
    await turns()
    assert other.done() == refused
    while model.running:
        await finish(model)
    ended = await asyncio.gather(one, other, return_exceptions=True)
    assert isinstance(ended[1], Overloaded) == refused
