from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from adapters.errors import InvalidInput
from adapters.export import comparing
from adapters.export.comparing import compare, pair
from adapters.export.figures import OutputParity
from adapters.export.tolerances import TOLERANCES, Tolerance
from adapters.export.verdicts import reasons_against

ANYTHING = Tolerance(largest=1e300, mean=1e300, cosine=0.0, argmax=0.0, accuracy_loss=1.0)
FP32 = TOLERANCES["fp32"]

DTYPES = st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int64, np.uint64, np.bool_])
SHAPES = npst.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5)


def finite(dtype: Any, shape: Any) -> st.SearchStrategy[Any]:
    plain = {"allow_nan": False, "allow_infinity": False} if np.dtype(dtype).kind == "f" else {}
    return npst.arrays(dtype, shape, elements=npst.from_dtype(np.dtype(dtype), **plain))


ARRAYS = st.tuples(DTYPES, SHAPES).flatmap(lambda each: finite(*each))
PAIRS = st.tuples(DTYPES, SHAPES).flatmap(lambda each: st.tuples(finite(*each), finite(*each)))


def one(source: Any, export: Any) -> OutputParity:
    outputs, _ = compare({"y": np.asarray(source)}, {"y": np.asarray(export)})
    return outputs[0]


@given(ARRAYS)
def test_outputs_that_are_the_same_have_no_difference_and_pass_everything(array: Any) -> None:
    found = one(array, array.copy())
    assert (found.largest, found.mean, found.equal) == (0.0, 0.0, 1.0)
    assert found.differences.zero == array.size
    assert found.cosine is None or found.cosine == pytest.approx(1.0)
    assert found.argmax in (None, 1.0)
    assert reasons_against([found], None, FP32) == []


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(arrays: Any, random: Any) -> None:
    source, export = arrays
    order = list(range(len(source)))
    random.shuffle(order)
    before, after = one(source, export), one(source[order], export[order])
    assert after.largest == before.largest
    assert after.differences == before.differences
    assert (after.scale, after.equal, after.argmax) == (before.scale, before.equal, before.argmax)
    assert after.mean == pytest.approx(before.mean)
    assert after.cosine == (None if before.cosine is None else pytest.approx(before.cosine, abs=1e-9))


@given(PAIRS)
def test_how_far_apart_two_are_is_the_same_from_either_side(arrays: Any) -> None:
    there, back = one(*arrays), one(*arrays[::-1])
    assert (there.largest, there.equal) == (back.largest, back.equal)
    assert there.differences == back.differences


@given(PAIRS)
def test_every_element_is_counted_once(arrays: Any) -> None:
    found = one(*arrays)
    assert found.differences.zero + sum(found.differences.bins) == arrays[0].size
    assert found.differences.zero == round(found.equal * arrays[0].size)
    assert (found.largest > 0) == (found.equal < 1)
    assert found.mean <= found.largest


@given(
    st.sampled_from([np.float16, np.float32, np.float64]).flatmap(lambda dtype: finite(dtype, SHAPES)),
    st.data(),
    st.sampled_from(["source", "export", "both"]),
)
def test_a_nan_never_passes(array: Any, draw: st.DataObject, where: str) -> None:
    source, export = array.copy(), array.copy()
    at = draw.draw(st.integers(0, array.size - 1))
    for side in (source, export) if where == "both" else (source,) if where == "source" else (export,):
        side.flat[at] = np.nan
    reasons = reasons_against([one(source, export)], None, ANYTHING)
    assert any("NaN" in reason for reason in reasons)


@given(PAIRS, st.integers(1, 7))
def test_large_outputs_are_compared_as_small_ones_are(arrays: Any, chunk: int) -> None:
    whole = one(*arrays)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "_CHUNK_ELEMENTS", chunk)
        parts = one(*arrays)
    assert (parts.largest, parts.largest_in_row, parts.differences) == (
        whole.largest,
        whole.largest_in_row,
        whole.differences,
    )
    assert parts.argmax == whole.argmax
    assert parts.mean == pytest.approx(whole.mean)


def test_figures_are_those_that_one_works_out_by_hand() -> None:
    source = np.array([[0.0, 2.0], [4.0, -1.0]], np.float32)
    export = np.array([[0.5, 2.0], [3.0, -1.0]], np.float32)
    found = one(source, export)
    assert (found.largest, found.largest_in_row, found.mean) == (1.0, 1, 0.375)
    assert (found.scale, found.equal, found.argmax) == (4.0, 0.5, 1.0)
    assert found.cosine == pytest.approx(17 / np.sqrt(21 * 14.25))
    assert found.differences.zero == 2
    assert [index for index, count in enumerate(found.differences.bins) if count] == [23, 24]


def test_infinities_at_the_same_place_are_the_same_and_others_never_pass() -> None:
    masked = np.array([[-np.inf, 1.0]])
    assert reasons_against([one(masked, masked)], None, FP32) == []
    reasons = reasons_against([one(masked, np.array([[-1e9, 1.0]]))], None, ANYTHING)
    assert "1 of 2 elements are infinite on one side only" in reasons[0]


def test_a_class_that_the_source_holds_as_good_as_its_best_is_no_disagreement() -> None:
    source = np.array([[0.5, 0.5 - 1e-8, 0.0], [0.9, 0.1, 0.0]])
    export = np.array([[0.5, 0.5 + 1e-8, 0.0], [0.1, 0.9, 0.0]])
    assert one(source, export).argmax == 0.5


def test_counts_and_names_are_right_or_wrong() -> None:
    classes = np.array([[1], [7], [3]])
    assert reasons_against([one(classes, classes)], None, FP32) == []
    reasons = reasons_against([one(classes, np.array([[1], [8], [3]]))], None, TOLERANCES["int8"])
    assert "66.67 % of 3 elements are the same" in reasons[0]
    names = np.array([[b"cat"], [b"dog"]], np.object_)
    assert one(names, np.array([[b"cat"], [b"cow"]], np.object_)).equal == 0.5


def test_integers_beyond_what_doubles_tell_apart_are_told_apart() -> None:
    big = 2**60
    found = one(np.array([[big]]), np.array([[big + 1]]))
    assert found.equal == 0.0
    assert found.largest > 0


def test_accuracy_is_of_the_output_that_scores_the_classes() -> None:
    labels = np.array([0, 1, 1, 0])
    scores = np.eye(2)[[0, 1, 0, 1]]
    better = np.eye(2)[labels]
    size = np.zeros((4, 1))
    outputs, accuracy = compare({"size": size, "p": scores}, {"size": size, "p": better}, labels)
    assert accuracy is not None
    assert (accuracy.output, accuracy.rows, accuracy.before, accuracy.after) == ("p", 4, 0.5, 1.0)
    assert reasons_against(outputs[:1], accuracy, FP32) == []
    _, worse = compare({"p": better}, {"p": scores}, labels)
    assert "50 % of 4 labelled rows are right, where the source has 100 %" in reasons_against([], worse, FP32)[0]


def test_labels_of_classes_that_no_output_scores_are_refused() -> None:
    scores = {"p": np.zeros((2, 3))}
    with pytest.raises(InvalidInput, match="no output is scores of 6 classes: 'p' \\[2, 3\\]"):
        compare(scores, scores, np.array([0, 5]))


def test_outputs_of_other_shapes_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"output 'y': the source gives \[2, 3\], the export's 'y' \[2, 4\]"):
        compare({"y": np.zeros((2, 3))}, {"y": np.zeros((2, 4))})


def test_names_are_paired_and_the_rest_in_order() -> None:
    assert pair(["a", "b", "c"], ["c", "x", "y"], "outputs") == {"a": "x", "b": "y", "c": "c"}
    with pytest.raises(InvalidInput, match="the source has the outputs a, the export b, c"):
        pair(["a"], ["b", "c"], "outputs")


def test_outputs_without_a_common_name_are_paired_by_their_shapes() -> None:
    boxes, scores = np.ones((2, 4)), np.zeros((2, 3))
    outputs, _ = compare({"a": boxes, "b": scores, "c": boxes}, {"x": scores, "y": boxes, "z": boxes})
    assert [(each.source, each.export) for each in outputs] == [("a", "y"), ("b", "x"), ("c", "z")]
    with pytest.raises(InvalidInput, match="the source has the outputs a, the export x, y"):
        compare({"a": boxes}, {"x": boxes, "y": scores})


def test_the_golden_outputs_are_held_against_both() -> None:
    source, export, golden = np.array([[1.0]]), np.array([[1.5]]), np.array([[1.25]])
    outputs, _ = compare({"y": source}, {"y": export}, golden={"y": golden})
    assert (outputs[0].golden_source, outputs[0].golden_export) == (0.25, 0.25)
    assert any("golden" in reason for reason in reasons_against(outputs, None, FP32))


@given(npst.arrays(np.float64, SHAPES, elements=st.floats(1e-3, 1e6)), st.floats(1e-3, 1e6))
def test_a_difference_of_more_than_is_tolerated_has_its_reason(array: Any, times: float) -> None:
    found = one(array, array + array.max() * FP32.largest * (1 + times))
    assert any("(largest)" in reason for reason in reasons_against([found], None, FP32))


@given(npst.arrays(np.float64, SHAPES, elements=st.floats(1e-3, 1e6)), st.floats(0, 0.999))
def test_a_difference_that_is_tolerated_has_none(array: Any, times: float) -> None:
    found = one(array, array + array.max() * FP32.largest * times)
    assert not any("(largest)" in reason for reason in reasons_against([found], None, FP32))
