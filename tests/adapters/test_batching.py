"""Which waiting calls run together, and who gets which rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from adapters.base import Urgency
from adapters.batching import BatchQueue, Call, gather, scatter
from adapters.errors import InferenceFailed
from adapters.tensors import Tensor

_KINDS = {
    "floats": lambda rows: {"x": np.zeros((rows, 2), np.float32)},
    "doubles": lambda rows: {"x": np.zeros((rows, 2), np.float64)},
    "wide": lambda rows: {"x": np.zeros((rows, 3), np.float32)},
    "renamed": lambda rows: {"z": np.zeros((rows, 2), np.float32)},
    "two": lambda rows: {"x": np.zeros((rows, 2), np.float32), "y": np.zeros(rows, np.int64)},
    "uneven": lambda rows: {"x": np.zeros((rows, 2), np.float32), "y": np.zeros(rows + 1, np.int64)},
    "scalar": lambda rows: {"x": np.array(0.0, np.float32)},
    "nothing": lambda rows: {},
}
_WITHOUT_BATCH_AXIS = ("uneven", "scalar", "nothing")


class Queueing(RuleBasedStateMachine):
    """Any mix of callers that come, leave and are served while time goes by, beside a plain list of who waits."""

    @initialize(max_rows=st.integers(1, 8), max_delay_ns=st.sampled_from([0, 5, 20]))
    def open(self, max_rows: int, max_delay_ns: int) -> None:
        self.max_rows, self.max_delay_ns = max_rows, max_delay_ns
        self.queue = BatchQueue(max_rows, max_delay_ns)
        self.waiting: list[tuple[Call, str]] = []
        self.number, self.now_ns = 0, 100

    @rule(
        owner=st.sampled_from("ab"),
        kind=st.sampled_from(sorted(_KINDS)),
        rows=st.integers(0, 10),
        priority=st.sampled_from([5, 5, 5, 1, 9]),
        patience_ns=st.none() | st.integers(1, 30),
    )
    def add(self, owner: str, kind: str, rows: int, priority: int, patience_ns: int | None) -> None:
        self.number += 1
        deadline_ns = self.now_ns + patience_ns if patience_ns else 0
        call = Call((owner, self.number), _KINDS[kind](rows), self.now_ns, Urgency(deadline_ns, priority))
        self.queue.add(call)
        self.waiting.append((call, kind))
        self.waiting.sort(key=lambda each: each[0].urgency.priority)

    @rule(ns=st.integers(1, 12))
    def time_goes_by(self, ns: int) -> None:
        self.now_ns += ns

    @rule(max_rows=st.integers(1, 8))
    def the_limit_changes(self, max_rows: int) -> None:
        self.max_rows = self.queue.max_rows = max_rows

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(self.waiting))
        self.queue.cancel(gone[0].token)
        self.waiting.remove(gone)

    @rule()
    def cancel_one_that_is_not_there(self) -> None:
        self.queue.cancel(("a", 0))

    @rule(owner=st.sampled_from("ab"))
    def hang_up(self, owner: str) -> None:
        self.queue.cancel_where(owner)
        self.waiting = [each for each in self.waiting if each[0].token[0] != owner]

    @rule()
    def take(self) -> None:
        batch, late = self.queue.take(self.now_ns)
        assert all(0 < call.urgency.deadline_ns <= self.now_ns for call in late)
        self.waiting = [each for each in self.waiting if each[0] not in late]
        assert bool(batch) == bool(self.waiting)
        if not batch:
            return
        assert not any(call.is_late(self.now_ns) for call in batch), "what is late is not run"
        taken = [each for each in self.waiting if each[0] in batch]
        assert batch[0] is self.waiting[0][0], "the most pressing goes first, and of these the oldest"
        assert [call for call, _ in taken] == batch, "in order, none twice, none invented"
        self.waiting = [each for each in self.waiting if each[0] not in batch]
        kind = taken[0][1]
        assert {each for _, each in taken} == {kind}, "only calls of one kind together"
        if len(batch) > 1:
            assert kind not in _WITHOUT_BATCH_AXIS
            assert sum(call.rows or 0 for call in batch) <= self.max_rows
        if kind not in _WITHOUT_BATCH_AXIS:
            room = self.max_rows - sum(call.rows or 0 for call in batch)
            left = [call.rows or 0 for call, each in self.waiting if each == kind and not call.is_late(self.now_ns)]
            assert not [rows for rows in left if 0 < rows <= room], "whoever fits goes along"

    @invariant()
    def nobody_is_lost(self) -> None:
        if hasattr(self, "queue"):
            assert len(self.queue) == len(self.waiting)

    @invariant()
    def nobody_waits_for_company_for_longer_than_is_allowed_nor_for_none(self) -> None:
        if not hasattr(self, "queue"):
            return
        wait_ns = self.queue.wait_ns(self.now_ns)
        if not self.waiting:
            assert wait_ns is None
            return
        assert wait_ns is not None
        first, kind = self.waiting[0]
        rows = sum(call.rows or 0 for call, each in self.waiting if each == kind)
        if not self.max_delay_ns or self.max_rows == 1 or first.rows is None or rows >= self.max_rows:
            assert wait_ns == 0
        ends_ns = self.now_ns + wait_ns
        for call, _ in self.waiting if wait_ns else []:
            assert ends_ns <= call.sent_ns + self.max_delay_ns
            assert not call.is_late(ends_ns), "nobody is made late by waiting"

    def teardown(self) -> None:
        """Every caller that did not leave is served in the end, each once."""
        if hasattr(self, "queue"):
            while self.waiting:
                self.take()
            assert self.queue.take(self.now_ns) == ([], [])


TestQueueing = Queueing.TestCase
TestQueueing.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


def call(token: object, *values: float, name: str = "x") -> Call:
    return Call(token, {name: np.array(values, np.float32)})


def test_a_call_larger_than_the_limit_runs_alone() -> None:
    queue = BatchQueue(2)
    queue.add(call("small", 1))
    queue.add(call("huge", 1, 2, 3))
    queue.add(call("late", 4))
    assert [[each.token for each in queue.take(0)[0]] for _ in range(2)] == [["small", "late"], ["huge"]]


def test_a_limit_of_one_row_batches_nothing() -> None:
    queue = BatchQueue(1)
    for token in range(3):
        queue.add(call(token, 1))
    assert [[each.token for each in queue.take(0)[0]] for _ in range(4)] == [[0], [1], [2], []]


def test_a_call_that_is_cancelled_leaves_its_batch_mates() -> None:
    queue = BatchQueue(8)
    for token in "abc":
        queue.add(call(token, 1))
    queue.cancel("b")
    assert [each.token for each in queue.take(0)[0]] == ["a", "c"]


def test_calls_that_do_not_fit_the_oldest_keep_their_place_before_later_ones() -> None:
    queue = BatchQueue(2)
    queue.add(call("x1", 1))
    queue.add(call("z1", 1, name="z"))
    queue.add(call("x2", 1))
    queue.add(call("z2", 1, name="z"))
    queue.add(call("x3", 1))
    assert [[each.token for each in queue.take(0)[0]] for _ in range(3)] == [["x1", "x2"], ["z1", "z2"], ["x3"]]


def test_the_most_pressing_is_served_first_and_takes_along_whoever_fits() -> None:
    queue = BatchQueue(2)
    for token, priority in (("low", 9), ("first", 5), ("second", 5), ("high", 1), ("higher", 0)):
        queue.add(Call(token, {"x": np.zeros(1)}, urgency=Urgency(0, priority)))
    batches = [[each.token for each in queue.take(0)[0]] for _ in range(3)]
    assert batches == [["higher", "high"], ["first", "second"], ["low"]]


def test_a_call_past_its_deadline_is_given_back_and_not_run() -> None:
    queue = BatchQueue(8)
    for token, deadline_ns in (("late", 10), ("in time", 11), ("patient", 0), ("just late", 10)):
        queue.add(Call(token, {"x": np.zeros(1)}, urgency=Urgency(deadline_ns)))
    batch, late = queue.take(10)
    assert [each.token for each in batch] == ["in time", "patient"]
    assert [each.token for each in late] == ["late", "just late"]


def test_a_batch_waits_for_more_rows_until_it_is_full_or_its_time_is_over() -> None:
    queue = BatchQueue(2, max_delay_ns=50)
    assert queue.wait_ns(0) is None
    queue.add(Call("a", {"x": np.zeros(1)}, sent_ns=100))
    assert [queue.wait_ns(now_ns) for now_ns in (110, 149, 150, 200)] == [40, 1, 0, 0]
    queue.add(Call("other", {"z": np.zeros(1)}, sent_ns=120))
    assert queue.wait_ns(120) == 30, "what cannot run with it does not fill it"
    queue.add(Call("b", {"x": np.zeros(1)}, sent_ns=130))
    assert queue.wait_ns(130) == 0
    assert [each.token for each in queue.take(130)[0]] == ["a", "b"]
    assert queue.wait_ns(130) == 40


def test_a_call_that_has_no_time_to_wait_for_company_is_not_made_to() -> None:
    queue = BatchQueue(8, max_delay_ns=50)
    queue.add(Call("patient", {"x": np.zeros(1)}, sent_ns=100, urgency=Urgency(deadline_ns=1000)))
    assert queue.wait_ns(110) == 40
    queue.add(Call("in a hurry", {"x": np.zeros(1)}, sent_ns=110, urgency=Urgency(deadline_ns=150)))
    assert queue.wait_ns(110) == 0


def test_a_batch_is_never_larger_than_its_limit_however_its_calls_are_cut() -> None:
    """BentoML#3710 and #3859: requests of several rows made batches beyond max_batch_size."""
    queue = BatchQueue(10)
    for token, rows in enumerate([4, 4, 4, 3, 1, 9, 1, 2]):
        queue.add(Call(token, {"x": np.zeros(rows)}))
    batches = []
    while queue:
        batches.append([each.rows or 0 for each in queue.take(0)[0]])
    assert [sum(rows) for rows in batches] == [10, 9, 9]
    assert sorted(rows for batch in batches for rows in batch) == [1, 1, 2, 3, 4, 4, 4, 9]


def _model(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    x = inputs["x"]
    return {"doubled": x * 2, "sums": x.sum(1), "named": np.array([f"{row[0]:.0f}".encode() for row in x], object)}


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_every_caller_gets_what_it_would_have_got_alone(rows: list[int]) -> None:
    numbers = iter(range(1000))
    calls = [
        Call(index, {"x": np.array([[next(numbers), index] for _ in range(count)], np.float32).reshape(count, 2)})
        for index, count in enumerate(rows)
    ]
    answers = scatter(_model(gather(calls)), calls)
    assert len(answers) == len(calls)
    for each, answer in zip(calls, answers, strict=True):
        alone = _model(each.inputs)
        assert answer.keys() == alone.keys()
        for name, tensor in answer.items():
            assert tensor.shape == alone[name].shape
            assert tensor.tolist() == alone[name].tolist()


@pytest.mark.parametrize("output", [np.float32(1.0), np.zeros(2), np.zeros((4, 3)), np.zeros((1, 3))])
def test_an_output_without_a_row_for_each_row_is_the_model_s_failure(output: Tensor) -> None:
    calls = [call("a", 1, 2), call("b", 3)]
    with pytest.raises(InferenceFailed, match=r"'y' of a batch of 3 rows .* no batch axis there; set \[batching\]"):
        scatter({"fine": np.zeros(3), "y": np.asarray(output)}, calls)


@pytest.mark.parametrize("output", [np.array(1.0), np.zeros(7)])
def test_a_call_that_ran_alone_gets_whatever_the_model_answered(output: Tensor) -> None:
    (answer,) = scatter({"y": output}, [call("a", 1, 2)])
    assert answer.keys() == {"y"}
    assert answer["y"] is output


SIZES = (1, 4, 16)


@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.sampled_from([SIZES, (3, 5), (40,)]))
def test_a_batch_is_filled_up_with_its_own_rows_and_its_answer_cut_back(
    rows: list[int], sizes: tuple[int, ...]
) -> None:
    calls = [Call(index, {"x": np.full((count, 2), index + 1, np.float32)}) for index, count in enumerate(rows)]
    inputs = gather(calls, sizes)
    total = sum(rows)
    wanted = min((size for size in sizes if size >= total), default=total) if total else 0
    assert inputs["x"].shape == (wanted, 2)
    assert inputs["x"].dtype == np.float32
    there = {index + 1 for index, count in enumerate(rows) if count}
    assert set(inputs["x"].ravel().tolist()) == there, "copies of its own rows, and never zeros"
    for each, answer in zip(calls, scatter(_model(inputs), calls, sizes), strict=True):
        assert {name: tensor.tolist() for name, tensor in answer.items()} == {
            name: tensor.tolist() for name, tensor in _model(each.inputs).items()
        }


def test_texts_and_several_inputs_are_filled_up_alike() -> None:
    inputs = gather([Call(0, {"x": np.array([b"a", b"b", b"c"], object), "y": np.arange(6).reshape(3, 2)})], SIZES)
    assert inputs["x"].tolist() == [b"a", b"b", b"c", b"a"]
    assert inputs["y"].tolist() == [[0, 1], [2, 3], [4, 5], [0, 1]]


@pytest.mark.parametrize("x", [np.zeros((17, 2)), np.array(1.0)], ids=["larger than the largest size", "no rows"])
def test_what_fits_no_size_runs_as_it_is(x: Tensor) -> None:
    only = [Call(0, {"x": x})]
    assert gather(only, SIZES)["x"] is x
    (answer,) = scatter({"y": x}, only, SIZES)
    assert answer["y"] is x


def test_a_filled_up_batch_whose_answer_has_not_a_row_for_each_is_the_model_s_failure() -> None:
    with pytest.raises(InferenceFailed, match="'y' of a batch of 4 rows has shape"):
        scatter({"y": np.zeros(3)}, [call("a", 1, 2, 3)], SIZES)
