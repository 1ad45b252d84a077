"""The inputs that all deployments are asked with."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from loadtests.verdict.answers import Odd
from loadtests.verdict.rows import BadGolden, Rows, golden, requests, stacked, together


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{name.replace("__", "/"): each for name, each in arrays.items()})
    return file.getvalue()


X = np.arange(12, dtype=np.float32).reshape(6, 2)
SCORES = np.eye(6, dtype=np.float32)


def test_golden_data_has_inputs_outputs_and_perhaps_labels() -> None:
    rows = golden(npz(inputs__x=X, outputs__p=SCORES, labels=np.arange(6)))
    assert (list(rows.inputs), list(rows.outputs), rows.count) == (["x"], ["p"], 6)
    assert rows.classes[1] == "labels"


def test_without_labels_the_right_class_is_the_golden_outputs_best() -> None:
    classes, by = golden(npz(inputs__x=X, outputs__p=SCORES)).classes
    assert classes is not None
    assert (classes.tolist(), by) == (list(range(6)), "golden outputs")
    assert golden(npz(inputs__x=X, outputs__embedding=np.zeros((6, 2, 2)))).classes == (None, "")


def test_many_rows_are_sampled_from_first_to_last() -> None:
    rows = golden(npz(inputs__x=np.arange(5000), outputs__y=np.arange(5000), labels=np.arange(5000)))
    assert rows.count == 512
    assert rows.labels is not None
    assert (rows.labels[0], rows.labels[-1]) == (0, 4999)
    assert (rows.inputs["x"] == rows.outputs["y"]).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read"),
        (b"PK\x03\x04 cut off", "cannot be read"),
        (npz(x=X), "no arrays inputs/<tensor>"),
        (npz(inputs__x=X, outputs__p=SCORES[:3]), "3, 6 rows"),
        (npz(inputs__x=X[:0]), "0 rows"),
        (npz(inputs__x=X, labels=np.zeros(6)), "expected integers"),
        (npz(inputs__x=np.array([{"a": 1}], object)), "cannot be read"),
    ],
)
def test_what_is_no_golden_data_is_refused_with_the_reason(content: bytes, said: str) -> None:
    with pytest.raises(BadGolden, match=said):
        golden(content)


def test_an_archive_that_unpacks_to_more_than_anybody_should_hold_is_not_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("loadtests.verdict.rows._MOST_BYTES", 100)
    with pytest.raises(BadGolden, match="more than"):
        golden(npz(inputs__x=np.zeros(1000)))


def metadata(*shapes: tuple[str, list[int]]) -> dict[str, Any]:
    return {"inputs": [{"name": name, "datatype": "FP32", "shape": shape} for name, shape in shapes]}


def test_each_row_is_a_request_by_the_deployments_own_names() -> None:
    made = list(requests(Rows("golden data", {"x": X}), metadata(("serving_x", [-1, 2]))))
    assert len(made) == 6
    assert all(each["serving_x"].shape == (1, 2) for each in made)


def test_a_fixed_batch_is_filled_up_and_the_copies_answers_are_left_out() -> None:
    made = list(requests(Rows("golden data", {"x": X}), metadata(("x", [4, 2]))))
    assert [each["x"].shape for each in made] == [(4, 2), (4, 2)]
    assert (together([{"y": each["x"]} for each in made], 6)["y"] == X).all()


def test_a_tensor_without_axes_is_the_same_for_all_rows() -> None:
    made = list(
        requests(
            Rows("golden data", {"x": X, "scale": np.float32(2) + np.zeros(())}),
            metadata(("x", [-1, 2]), ("scale", [])),
        )
    )
    assert len(made) == 6
    assert all(each["scale"] == 2 for each in made)


def test_a_deployment_that_takes_other_inputs_is_odd() -> None:
    with pytest.raises(Odd, match="expected the tensors x"):
        list(requests(Rows("golden data", {"x": X}), metadata(("x", [-1, 2]), ("y", [-1]))))
    with pytest.raises(Odd, match="has the shape"):
        list(requests(Rows("golden data", {"x": X}), metadata(("x", [-1, 2, 3]))))


def test_answers_that_are_not_alike_do_not_fit_together() -> None:
    with pytest.raises(Odd, match="not always have the same outputs"):
        together([{"a": X}, {"b": X}], 2)
    with pytest.raises(Odd, match="do not fit together"):
        together([{"a": X}, {"a": np.zeros((1, 3))}], 7)


def test_invented_inputs_of_several_requests_become_rows() -> None:
    assert stacked([{"x": X[:1]}, {"x": X[1:2]}])["x"].tolist() == X[:2].tolist()


def test_texts_become_the_bytes_that_v2_has() -> None:
    rows = golden(npz(inputs__t=np.array(["cat", "dög"])))
    assert rows.inputs["t"].tolist() == [b"cat", "dög".encode()]
