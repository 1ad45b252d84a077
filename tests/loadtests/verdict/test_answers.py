"""Whether answers are right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.verdict.answers import Arrays, Odd, accuracy, agree, limits_of, pair, wilson
from loadtests.verdict.references import GOLDEN, held_against_each_other, held_against_golden

EXACT = limits_of("onnxruntime")
SCORES = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]], np.float32)


def test_the_same_answers_agree_and_rounding_does_too() -> None:
    assert agree({"p": SCORES}, {"p": SCORES}, EXACT).largest == 0.0
    near = agree({"p": SCORES}, {"p": SCORES + np.float32(1e-6)}, EXACT)
    assert near.within
    assert (near.argmax, near.rows) == (1.0, 4)


def test_a_difference_is_told_as_a_share_of_the_largest_value() -> None:
    logits = np.array([[100.0, -200.0]])
    found = agree({"p": logits}, {"p": logits + 1.0}, EXACT)
    assert found.largest == pytest.approx(1 / 200)
    assert not found.within
    assert agree({"p": logits}, {"p": logits + 1.0}, limits_of("tflite-fp16")).within


def test_other_best_classes_do_not_agree_however_near_the_numbers_are() -> None:
    even = np.array([[0.5001, 0.4999]] * 10)
    found = agree({"p": even}, {"p": even[:, ::-1]}, limits_of("tflite-int8"))
    assert found.largest < 0.01
    assert found.argmax == 0.0
    assert not found.within


def test_a_class_that_the_reference_holds_as_good_as_its_best_counts_as_the_same() -> None:
    even = np.array([[0.5, 0.5], [0.1, 0.9]])
    other = np.array([[0.4999999, 0.5], [0.1, 0.9]])
    assert agree({"p": even}, {"p": other}, EXACT).argmax == 1.0


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_never_agrees(wrong: float) -> None:
    broken = SCORES.copy()
    broken[2, 1] = wrong
    found = agree({"p": SCORES}, {"p": broken}, limits_of("tflite-int8"))
    assert not found.within
    assert np.isfinite(found.largest)


def test_whole_numbers_and_texts_are_right_or_wrong() -> None:
    texts = np.array([b"cat", b"dog"], np.object_)
    assert agree({"t": texts}, {"t": texts.copy()}, EXACT).within
    assert not agree({"t": texts}, {"t": texts[::-1]}, EXACT).within
    assert not agree({"n": np.array([1, 2])}, {"n": np.array([1, 3])}, EXACT).within


def test_outputs_are_paired_by_name_then_shape_then_order() -> None:
    assert pair({"a": (1, 2), "b": (1, 3)}, {"b": (1, 3), "a": (1, 2)}) == {"a": "a", "b": "b"}
    assert pair({"p": (4, 10), "e": (4, 64)}, {"Identity": (4, 64), "Identity_1": (4, 10)}) == {
        "p": "Identity_1",
        "e": "Identity",
    }
    with pytest.raises(Odd, match="expected the tensors a, got a, b"):
        pair({"a": (1,)}, {"a": (1,), "b": (1,)})


def test_outputs_of_another_shape_cannot_be_compared() -> None:
    with pytest.raises(Odd, match=r"\[4, 3\], the reference \[4, 2\]"):
        agree({"p": SCORES}, {"p": np.zeros((4, 3))}, EXACT)


def test_accuracy_is_the_share_of_rows_whose_best_class_is_right() -> None:
    found = accuracy({"p": SCORES}, np.array([0, 1, 0, 0]))
    assert found
    assert found.value == 0.75
    assert found.low < 0.75 < found.high
    assert accuracy({"p": SCORES}, np.array([0, 1])) is None
    assert accuracy({"p": SCORES}, np.array([0, 1, 2, 0])) is None
    assert accuracy({"embedding": np.zeros((4, 2, 2))}, np.array([0, 1, 1, 0])) is None


@given(st.integers(1, 500), st.data())
def test_a_share_lies_in_its_interval_which_never_leaves_0_to_1(of: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, of))
    found = wilson(right, of)
    assert 0 <= found.low <= right / of <= found.high <= 1
    assert found.low < found.high


def test_sixteen_of_sixteen_right_answers_are_no_proof_of_perfection() -> None:
    assert wilson(16, 16).low == pytest.approx(0.806, abs=1e-3)


def outputs(**shifts: float) -> dict[str, Arrays]:
    return {f"m/1@{backend.replace('_', '-')}": {"p": SCORES + shift} for backend, shift in shifts.items()}


def test_golden_outputs_are_the_reference_wherever_there_are_some() -> None:
    found = held_against_golden(outputs(a=0.0, b=0.2), {"p": SCORES})
    assert found.reference == GOLDEN
    assert {name: each.within for name, each in found.found.items()} == {"m/1@a": True, "m/1@b": False}


def test_one_whose_outputs_cannot_be_compared_says_so_and_the_others_are() -> None:
    found = held_against_golden({**outputs(a=0.0), "m/1@b": {"p": SCORES, "q": SCORES}}, {"p": SCORES})
    assert list(found.found) == ["m/1@a"]
    assert "expected the tensors p, got p, q" in found.problems["m/1@b"]


def test_without_golden_data_the_majority_is_right() -> None:
    found = held_against_each_other(outputs(a=0.2, b=0.0, c=0.0))
    assert found.reference == "m/1@b"
    assert {name: each.within for name, each in found.found.items()} == {
        "m/1@a": False,
        "m/1@b": True,
        "m/1@c": True,
    }


def test_an_exact_format_is_the_reference_rather_than_a_quantized_one() -> None:
    assert held_against_each_other(outputs(a_int8=0.01, b=0.0)).reference == "m/1@b"


@pytest.mark.parametrize("shifts", [{"a": 0.0, "b": 0.2}, {"a": 0.0, "b": 0.2, "c": 0.0, "d": 0.2}])
def test_where_no_majority_is_nothing_says_who_is_right(shifts: dict[str, float]) -> None:
    found = held_against_each_other(outputs(**shifts))
    assert found.reference == ""
    assert set(found.problems) == set(outputs(**shifts))


def test_one_alone_is_held_against_nothing() -> None:
    found = held_against_each_other(outputs(a=0.0))
    assert (found.reference, found.found, found.problems) == ("", {}, {})
