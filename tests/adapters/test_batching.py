"""Which waiting calls run together, and who gets which rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

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
    """Any mix of callers that come, leave and are served, beside a plain list of who waits."""

    @initialize(max_rows=st.integers(1, 8))
    def open(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self.queue = BatchQueue(max_rows)
        self.waiting: list[tuple[Call, str]] = []
        self.number = 0

    @rule(owner=st.sampled_from("ab"), kind=st.sampled_from(sorted(_KINDS)), rows=st.integers(0, 10))
    def add(self, owner: str, kind: str, rows: int) -> None:
        self.number += 1
        call = Call((owner, self.number), _KINDS[kind](rows))
        self.queue.add(call)
        self.waiting.append((call, kind))

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
        batch = self.queue.take()
        assert bool(batch) == bool(self.waiting)
        if not batch:
            return
        tokens = [call.token for call in batch]
        taken = [each for each in self.waiting if each[0].token in tokens]
        assert batch[0] is self.waiting[0][0], "the oldest call goes first"
        assert [call for call, _ in taken] == batch, "in order of arrival, none twice, none invented"
        self.waiting = [each for each in self.waiting if each[0].token not in tokens]
        kind = taken[0][1]
        assert {each for _, each in taken} == {kind}, "only calls of one kind together"
        if len(batch) > 1:
            assert kind not in _WITHOUT_BATCH_AXIS
            assert sum(call.rows or 0 for call in batch) <= self.max_rows
        if kind not in _WITHOUT_BATCH_AXIS:
            room = self.max_rows - sum(call.rows or 0 for call in batch)
            left = [call.rows or 0 for call, each in self.waiting if each == kind]
            assert not [rows for rows in left if 0 < rows <= room], "whoever fits goes along"

    @invariant()
    def nobody_is_lost(self) -> None:
        if hasattr(self, "queue"):
            assert len(self.queue) == len(self.waiting)

    def teardown(self) -> None:
        """Every caller that did not leave is served in the end, each once."""
        if hasattr(self, "queue"):
            while self.waiting:
                self.take()
            assert self.queue.take() == []


TestQueueing = Queueing.TestCase
TestQueueing.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def call(token: object, *values: float, name: str = "x") -> Call:
    return Call(token, {name: np.array(values, np.float32)})


def test_a_call_larger_than_the_limit_runs_alone() -> None:
    queue = BatchQueue(2)
    queue.add(call("small", 1))
    queue.add(call("huge", 1, 2, 3))
    queue.add(call("late", 4))
    assert [[each.token for each in queue.take()] for _ in range(2)] == [["small", "late"], ["huge"]]


def test_a_limit_of_one_row_batches_nothing() -> None:
    queue = BatchQueue(1)
    for token in range(3):
        queue.add(call(token, 1))
    assert [[each.token for each in queue.take()] for _ in range(4)] == [[0], [1], [2], []]


def test_a_call_that_is_cancelled_leaves_its_batch_mates() -> None:
    queue = BatchQueue(8)
    for token in "abc":
        queue.add(call(token, 1))
    queue.cancel("b")
    assert [each.token for each in queue.take()] == ["a", "c"]


def test_calls_that_do_not_fit_the_oldest_keep_their_place_before_later_ones() -> None:
    queue = BatchQueue(2)
    queue.add(call("x1", 1))
    queue.add(call("z1", 1, name="z"))
    queue.add(call("x2", 1))
    queue.add(call("z2", 1, name="z"))
    queue.add(call("x3", 1))
    assert [[each.token for each in queue.take()] for _ in range(3)] == [["x1", "x2"], ["z1", "z2"], ["x3"]]


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
