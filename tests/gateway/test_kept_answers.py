"""Kept answers: equal requests have equal keys and no others, and the store never outgrows its bytes."""

from __future__ import annotations

import sys
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from adapters.tensors import Tensor, Tensors
from gateway.kept_answers import KeptAnswers, Keys
from tests.strategies import same, tensors

INPUTS = st.dictionaries(st.text(max_size=3), tensors(), max_size=3)
KEYS = Keys("content")


def equal(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)


@given(INPUTS, INPUTS)
def test_keys_are_equal_where_the_requests_are_and_nowhere_else(one: Tensors, other: Tensors) -> None:
    assert (KEYS.key(one) == KEYS.key(other)) == equal(one, other)


@given(INPUTS)
def test_neither_the_order_of_inputs_nor_where_they_lie_in_memory_matters(inputs: Tensors) -> None:
    elsewhere = {name: np.array(tensor, order="F") for name, tensor in reversed(inputs.items())}
    assert KEYS.key(elsewhere) == KEYS.key(inputs)


def strings(*texts: bytes) -> Tensor:
    array = np.empty(len(texts), np.object_)
    array[:] = texts
    return array


NAN = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
NEARLY_EQUAL: list[tuple[Tensors, Tensors]] = [
    ({"x": np.zeros(4, np.float32)}, {"x": np.zeros(4, np.int32)}),
    ({"x": np.zeros((2, 3))}, {"x": np.zeros((3, 2))}),
    ({"x": np.zeros(1)}, {"x": np.zeros(())}),
    ({"x": np.zeros((0, 2))}, {"x": np.zeros((2, 0))}),
    ({"x": np.zeros(1)}, {"x": np.full(1, -0.0)}),
    ({"x": NAN[:1]}, {"x": NAN[1:]}),
    ({"x": strings(b"ab", b"c")}, {"x": strings(b"a", b"bc")}),
    ({"x": strings(b"", b"\1\0\0\0a")}, {"x": strings(b"\0\0\0\0", b"a")}),
    ({"x": strings(b"\1\2")}, {"x": np.array([1, 2], np.uint8)}),
    ({"a": np.zeros(1, np.uint8), "b": np.ones(1, np.uint8)}, {"a": np.ones(1, np.uint8), "b": np.zeros(1, np.uint8)}),
    ({"a": np.zeros(2, np.uint8)}, {"a": np.zeros(1, np.uint8), "b": np.zeros(1, np.uint8)}),
    ({}, {"": np.zeros(0, np.uint8)}),
]


@pytest.mark.parametrize(("one", "other"), NEARLY_EQUAL)
def test_what_is_nearly_equal_is_not(one: Tensors, other: Tensors) -> None:
    assert KEYS.key(one) != KEYS.key(other)


def test_equal_nans_are_equal_here() -> None:
    assert KEYS.key({"x": NAN}) == KEYS.key({"x": NAN.copy()})


def test_another_content_has_other_keys() -> None:
    assert Keys("a").key({"x": NAN}) != Keys("b").key({"x": NAN})


class SameAsADict(RuleBasedStateMachine):
    """Compared with a plain dict in order of use; each answer has one array of so many bytes."""

    MAX_BYTES = 20_000

    def __init__(self) -> None:
        super().__init__()
        self.store = KeptAnswers("content", self.MAX_BYTES)
        self.kept: OrderedDict[bytes, Tensor] = OrderedDict()

    @rule(number=st.integers(0, 9), size=st.integers(0, 6000), fill=st.integers(0, 255))
    def keep(self, number: int, size: int, fill: int) -> None:
        key, array = bytes([number]), np.full(size, fill, np.uint8)
        self.store.keep(key, {"y": array})
        if size + 851 <= self.MAX_BYTES // 4:
            self.kept.pop(key, None)
            while sum(each.size + 851 for each in self.kept.values()) + size + 851 > self.MAX_BYTES:
                self.kept.popitem(last=False)
            self.kept[key] = array.copy()
        array ^= 1  # what is kept is a copy

    @rule(number=st.integers(0, 9))
    def get(self, number: int) -> None:
        key = bytes([number])
        found = self.store.get(key)
        assert (found is not None) == (key in self.kept)
        if found is not None:
            assert same(found["y"], self.kept[key])
            self.kept.move_to_end(key)

    @invariant()
    def never_outgrows_its_bytes(self) -> None:
        assert len(self.store) == len(self.kept)
        assert self.store.load.kept_bytes == sum(each.size + 851 for each in self.kept.values()) <= self.MAX_BYTES


TestSameAsADict = SameAsADict.TestCase


def test_what_is_kept_cannot_be_written_to_and_owns_its_memory() -> None:
    frame = np.zeros(1000, np.float32)
    store = KeptAnswers("content", 100_000)
    store.keep(b"k", {"y": frame[:2], "s": strings(b"a")})
    kept = store.get(b"k")
    assert kept is not None
    assert all(each.base is None and not each.flags.writeable for each in kept.values())
    with pytest.raises(TypeError):
        kept["y"] = frame  # type: ignore[index]


@pytest.mark.parametrize("outputs", [{"y": np.zeros(10)}, {"y": strings(*[b"x" * 100] * 50)}, {"y": np.zeros(0)},
                                     {str(number): np.zeros(1) for number in range(20)}])  # fmt: skip
def test_an_answer_is_counted_with_all_that_it_takes(outputs: Tensors) -> None:
    store = KeptAnswers("content", 10**6)
    store.keep(b"k" * 16, outputs)
    kept = store.get(b"k" * 16)
    assert kept is not None
    takes = sys.getsizeof(b"k" * 16) + sys.getsizeof(dict(kept))
    for name, tensor in kept.items():
        takes += sys.getsizeof(name) + sys.getsizeof(tensor)
        takes += sum(map(sys.getsizeof, tensor.flat)) if tensor.dtype == object else 0
    assert takes <= store.load.kept_bytes
