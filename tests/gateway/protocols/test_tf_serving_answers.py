"""TF Serving's REST answers: its two forms, its numbers, its tokens, and its strings."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Signature, Tensor, TensorSpec
from gateway.protocols.tf_serving_answers import encode_classes, encode_predict, encode_values
from gateway.protocols.tf_serving_requests import decode_predict, read_inputs
from tests.strategies import same, tensors, widened

ONE = np.array([[1, 0.5], [2, 0.25]], np.float32)


def texts(*elements: bytes) -> Tensor:
    array = np.empty(len(elements), object)
    array[:] = elements
    return array


def by_row(bare: bool = False, **outputs: Tensor) -> bytes:
    return encode_predict(outputs, True, bare)


def by_column(bare: bool = False, **outputs: Tensor) -> bytes:
    return encode_predict(outputs, False, bare)


def test_a_single_output_goes_without_its_name() -> None:
    assert by_row(y=ONE) == b'{"predictions":[[1.0,0.5],[2.0,0.25]]}'
    assert by_column(y=ONE) == b'{"outputs":[[1.0,0.5],[2.0,0.25]]}'


def test_several_outputs_are_an_object_for_each_row_or_one_for_all() -> None:
    labels = texts(b"a", b"null")
    assert json.loads(by_row(y=ONE, z=labels)) == {
        "predictions": [{"y": [1, 0.5], "z": "a"}, {"y": [2, 0.25], "z": "null"}]
    }
    assert json.loads(by_column(y=ONE, z=labels)) == {"outputs": {"y": ONE.tolist(), "z": ["a", "null"]}}


def test_outputs_come_in_the_model_s_order() -> None:
    assert list(json.loads(by_column(z=ONE, a=ONE))["outputs"]) == ["z", "a"]
    assert list(json.loads(by_row(z=ONE, a=ONE))["predictions"][0]) == ["z", "a"]


def test_only_a_column_can_hold_what_has_no_rows() -> None:
    assert by_column(y=np.array(7, np.int32)) == b'{"outputs":7}'
    assert by_column(y=np.array(0.5, np.float32), z=ONE[:1]) == b'{"outputs":{"y":0.5,"z":[[1.0,0.5]]}}'
    with pytest.raises(InvalidInput, match="Tensor name: y has no shape information; ask by column, with 'inputs'"):
        by_row(y=np.array(7, np.int32))
    with pytest.raises(InvalidInput, match="Tensor name: z has inconsistent batch size: 1 expecting: 2; ask by column"):
        by_row(y=ONE, z=ONE[:1])
    with pytest.raises(InvalidInput, match="Cannot convert empty tensor map to JSON"):
        by_column()


def test_rows_of_one_value_are_bare_where_they_were_sent_so() -> None:
    column = np.array([[1.5], [2]], np.float32)
    assert by_row(bare=True, y=column) == b'{"predictions":[1.5,2.0]}'
    assert by_row(y=column) == b'{"predictions":[[1.5],[2.0]]}'
    assert json.loads(by_column(bare=True, y=column, z=ONE)) == {"outputs": {"y": [1.5, 2], "z": ONE.tolist()}}


def test_no_rows_are_an_empty_list() -> None:
    assert by_row(y=np.empty((0, 3), np.float32)) == b'{"predictions":[]}'
    assert by_row(y=np.empty((0, 3), np.float32), z=np.empty(0, np.int32)) == b'{"predictions":[]}'
    assert by_row(y=np.empty((2, 0), np.float32)) == b'{"predictions":[[],[]]}'


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (np.float32(0.1), "0.1"),
        (np.float32(16777216), "16777216.0"),
        (np.float32(-0.0), "-0.0"),
        (np.float32(1 / 3), "0.33333334"),
        (np.float64(0.1), "0.1"),
        (np.float64(1 / 3), "0.3333333333333333"),
        (np.float16(0.1), "0.099975586"),
        (ml_dtypes.bfloat16(0.1), "0.100097656"),
        (np.int8(-3), "-3"),
        (np.uint64(2**64 - 1), "18446744073709551615"),
        (np.bool_(True), "true"),
        (np.float32("nan"), "NaN"),
        (np.float64("inf"), "Infinity"),
        (np.float16("-inf"), "-Infinity"),
        (ml_dtypes.bfloat16("nan"), "NaN"),
    ],
    ids=str,
)
def test_numbers_have_the_fewest_digits_of_their_own_width(value: Any, printed: str) -> None:
    for tensor in (np.full((1, 1), value), np.full(1, value)):
        row = f"[{printed}]" if tensor.ndim == 2 else printed
        assert by_row(y=tensor).decode() == f'{{"predictions":[{row}]}}'
        assert by_row(y=tensor, z=tensor).decode() == f'{{"predictions":[{{"y":{row},"z":{row}}}]}}'
    assert by_column(y=np.array(value)).decode() == f'{{"outputs":{printed}}}'


def test_every_token_stands_in_its_place_among_texts_that_look_like_it() -> None:
    y = np.array([[1, np.nan], [np.inf, -np.inf]], np.float32)
    sent = by_column(null=y, t=texts(b"null", b"NaN"), n=np.array([0, np.nan]))
    expected = b'{"outputs":{"null":[[1.0,NaN],[Infinity,-Infinity]],"t":["null","NaN"],"n":[0.0,NaN]}}'
    assert sent == expected
    assert by_row(y=y, t=texts(b"null", b"NaN")) == (
        b'{"predictions":[{"y":[1.0,NaN],"t":"null"},{"y":[Infinity,-Infinity],"t":"NaN"}]}'
    )


FLOATS = {32: np.float32, 64: np.float64, 16: np.float16}


@given(st.sampled_from(sorted(FLOATS)).flatmap(lambda bits: npst.arrays(FLOATS[bits], 3)))
def test_a_float_s_text_is_that_float_again(values: Tensor) -> None:
    tokens = by_row(y=values).decode().removeprefix('{"predictions":[').removesuffix("]}").split(",")
    for token, value in zip(tokens, values, strict=True):
        assert np.isnan(value) or values.dtype.type(token) == value
        assert re.search(r"[.e]|NaN|Infinity", token)  # a client can tell it from an integer
        if values.dtype == np.float32 and np.isfinite(value):
            digits = token.strip("-").split("e")[0].replace(".", "").strip("0")
            assert len(digits) <= len(np.format_float_scientific(value, trim="-").strip("-").split("e")[0].strip("0"))


def test_texts_are_plain_and_bytes_are_base64_by_their_output_s_name() -> None:
    sent = json.loads(by_column(t=texts("é\n".encode(), b""), t_bytes=texts("é".encode(), b"")))["outputs"]
    assert sent == {"t": ["é\n", ""], "t_bytes": [{"b64": "w6k="}, {"b64": ""}]}
    assert by_column(t=np.array(b"a", object)) == b'{"outputs":"a"}'
    assert by_row(t=texts(b"a", b"b").reshape(2, 1)) == b'{"predictions":[["a"],["b"]]}'


def test_what_is_no_text_is_base64_and_its_neighbours_with_it() -> None:
    assert json.loads(by_row(t=texts(b"a", b"\xff"))) == {"predictions": [{"b64": "YQ=="}, {"b64": "/w=="}]}


def unnamed(value: Any) -> Any:
    """What a client makes of JSON strings: base64 for bytes."""
    if isinstance(value, list):
        return [unnamed(each) for each in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode()


FILLED = npst.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=3)


@given(tensors(shapes=FILLED), st.booleans())
def test_what_is_written_reads_as_it_was(tensor: Tensor, rows: bool) -> None:
    form, answer_form = ("instances", "predictions") if rows else ("inputs", "outputs")
    sent = encode_predict({"y": tensor}, rows, False).decode()
    if tensor.dtype == object:
        flat = np.empty(tensor.size, object)
        flat[:] = unnamed(np.array(json.loads(sent)[answer_form], object).ravel().tolist())
        assert same(flat.reshape(tensor.shape), tensor)
        return
    signature = Signature((TensorSpec("y", DataType.of(tensor.dtype), None),), ())
    came = read_inputs(decode_predict(sent.replace(answer_form, form).encode()), signature).tensors["y"]
    assert came.dtype == tensor.dtype
    np.testing.assert_array_equal(widened(came), widened(tensor))


def test_classes_are_labels_with_float32_scores() -> None:
    score = float(np.float32(0.1))  # as protobuf gives it
    assert encode_classes([[("a", score), ("null", float("nan"))], []]) == b'{"results":[[["a",0.1],["null",NaN]],[]]}'


def test_values_are_float32() -> None:
    assert encode_values([float(np.float32(0.1)), 3, float("-inf")]) == b'{"results":[0.1,3.0,-Infinity]}'
