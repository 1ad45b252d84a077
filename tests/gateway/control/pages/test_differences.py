"""How far apart two answers are."""

from __future__ import annotations

from typing import Any

from gateway.control.pages.differences import OutputDifference, differences


def of(first: list[Any] | None, second: list[Any] | None, shape: tuple[int, ...], datatype: str = "FP32") -> Any:
    left = {} if first is None else {"y": (datatype, shape, first)}
    right = {} if second is None else {"y": (datatype, shape, second)}
    [found] = differences(left, right)
    assert isinstance(found, OutputDifference)
    return found


def test_equal_answers_are_equal_with_nan_and_infinities_too() -> None:
    found = of([1.0, "NaN", "-Infinity"], [1.0, "NaN", "-Infinity"], (1, 3))
    assert (found.words, found.grade) == ("equal", "equal")


def test_the_largest_difference_is_told_with_its_place_and_the_choice() -> None:
    found = of([0.1, 0.9, 0.3, 0.7], [0.1, 0.9, 0.25, 0.72], (2, 2))
    assert found.words == "largest absolute difference 0.0500, at [1, 0]; argmax equal"
    assert found.grade == "close"
    assert found.rows[2][1:] == ("0.3", "0.25", "0.0500")


def test_another_choice_is_another_answer() -> None:
    found = of([0.1, 0.9, 0.3, 0.7], [0.9, 0.1, 0.3, 0.7], (2, 2))
    assert "argmax differs in 1 of 2 rows" in found.words
    assert found.grade == "apart"


def test_nan_against_a_number_is_the_largest_difference_of_all() -> None:
    assert of([1.0, "NaN"], [5.0, 1.0], (2, 1)).words == "largest absolute difference NaN, at [1, 0]"


def test_other_shapes_and_missing_outputs_are_said() -> None:
    [found] = differences({"y": ("FP32", (1, 2), [1.0, 2.0])}, {"y": ("FP32", (2,), [1.0, 2.0])})
    assert found.words == "their shapes differ: [1, 2] and [2]"
    assert of([1.0], None, (1,)).words == "only the first has it"
    assert of(None, [1.0], (1,)).words == "only the second has it"


def test_texts_are_equal_or_not() -> None:
    assert of(["1", "b"], ["1.0", "b"], (2,), "BYTES").words == "1 of 2 values differ"
    assert of(["1", "b"], ["1", "b"], (2,), "BYTES").grade == "equal"


def test_many_values_are_compared_and_few_are_shown() -> None:
    found = of([0.0] * 500, [0.0] * 499 + [1.0], (500,))
    assert "at [499]" in found.words
    assert len(found.rows) + found.left_out == 500
    assert len(found.rows) == 64


def test_empty_answers_are_no_error() -> None:
    assert of([], [], (0, 3)).grade == "equal"


def test_a_scalar_has_no_choice() -> None:
    assert of([1.0], [1.5], ()).words == "largest absolute difference 0.500, at [0]"
