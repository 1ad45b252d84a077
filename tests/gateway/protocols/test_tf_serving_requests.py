"""TF Serving's REST bodies: read by the model's datatypes, or refused in that server's words."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Shape, Signature, Tensor, TensorSpec
from gateway.protocols.tf_serving_requests import decode_examples, decode_predict, read_inputs
from tests.strategies import same, tensors, widened


def takes(*inputs: tuple[str, str, Shape | None]) -> Signature:
    return Signature(tuple(TensorSpec(name, DataType(datatype), shape) for name, datatype, shape in inputs), ())


X = takes(("x", "FP32", (None, 2)))
TWO = takes(("a", "FP32", (None,)), ("b", "INT64", (None, 2)))


def read(body: bytes, signature: Signature = X) -> dict[str, Tensor]:
    return dict(read_inputs(decode_predict(body), signature).tensors)


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()  # it writes NaN and infinities as the tokens that they are here


def test_rows_of_the_only_input_need_no_name() -> None:
    assert read(body(instances=[[1, 2.5], [3, 4]]))["x"].tolist() == [[1, 2.5], [3, 4]]
    assert read(body(instances=[[1, 2.5], [3, 4]]))["x"].dtype == np.float32


def test_rows_that_are_objects_become_a_tensor_for_each_input() -> None:
    inputs = read(body(instances=[{"a": 1, "b": [1, 2]}, {"b": [3, 4], "a": 0.5}]), TWO)
    assert same(inputs["a"], np.array([1, 0.5], np.float32))
    assert same(inputs["b"], np.array([[1, 2], [3, 4]], np.int64))


def test_a_column_is_a_value_or_an_object_of_values() -> None:
    assert read(body(inputs=[[1, 2]]))["x"].tolist() == [[1, 2]]
    assert read(body(inputs={"x": [[1, 2]]}))["x"].tolist() == [[1, 2]]
    assert read(body(inputs={"b": [[1, 2]], "a": [7], "unknown": 1}), TWO)["b"].tolist() == [[1, 2]]
    assert read(body(inputs=7), takes(("x", "INT32", ())))["x"].shape == ()


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_a_scalar_for_each_row_is_a_tensor_of_one_axis(form: str) -> None:
    inputs = read_inputs(decode_predict(body(**{form: [1, 2, 3]})), takes(("x", "INT32", (None,))))
    assert same(inputs.tensors["x"], np.array([1, 2, 3], np.int32))
    assert not inputs.bare


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_a_scalar_for_each_row_fits_a_model_that_takes_rows_of_one(form: str) -> None:
    inputs = read_inputs(decode_predict(body(**{form: [1, 2]})), takes(("x", "FP32", (None, 1))))
    assert same(inputs.tensors["x"], np.array([[1], [2]], np.float32))
    assert inputs.bare


@pytest.mark.parametrize(
    ("given", "spec"),
    [
        ([[1], [2]], (None, 1)),
        ([1, 2], (None, 2)),
        ([[1], [2]], (None, 1, 1)),
        ([1, 2], None),
        ([1, 2], (None,)),
        ([1], (1, 2)),
    ],
)
def test_every_other_shape_is_left_as_it_was_sent(given: Any, spec: Shape | None) -> None:
    inputs = read_inputs(decode_predict(body(instances=given)), takes(("x", "FP32", spec)))
    assert inputs.tensors["x"].shape == np.array(given).shape
    assert not inputs.bare


def test_a_bare_value_beside_a_whole_row_is_no_row_of_bare_values() -> None:
    both = takes(("a", "FP32", (None, 1)), ("b", "FP32", (None, 2)))
    inputs = read_inputs(decode_predict(body(instances=[{"a": 1, "b": [1, 2]}])), both)
    assert inputs.tensors["a"].shape == (1, 1)
    assert not inputs.bare


def test_the_signature_s_name_is_read_and_may_be_left_out() -> None:
    assert decode_predict(body(signature_name="s", inputs=1)).signature_name == "s"
    assert decode_predict(body(inputs=1)).signature_name == ""


def test_bytes_are_strings_or_base64_each_as_it_likes() -> None:
    texts = takes(("t", "BYTES", (None,)))
    sent = body(instances=["é", {"b64": "AP8="}, {"b64": "AP8"}, {"b64": ""}])
    assert read(sent, texts)["t"].tolist() == ["é".encode(), b"\0\xff", b"\0\xff", b""]
    assert read(body(inputs={"b64": "AP8="}), takes(("t", "BYTES", ())))["t"][()] == b"\0\xff"
    named = read(body(instances=[{"t": {"b64": "AP8="}}, {"t": "x"}]), texts)
    assert named["t"].tolist() == [b"\0\xff", b"x"]
    nested = read(body(inputs=[["a", {"b64": "Yg=="}], ["c", "d"]]), takes(("t", "BYTES", (None, None))))
    assert nested["t"].tolist() == [[b"a", b"b"], [b"c", b"d"]]


def test_nan_and_infinities_are_bare_tokens() -> None:
    given = read(b'{"instances": [[NaN, -Infinity], [1e38, Infinity]], "signature_name": "\\u00e9"}')["x"]
    np.testing.assert_array_equal(given, np.array([[np.nan, -np.inf], [1e38, np.inf]], np.float32))


@pytest.mark.parametrize("datatype", ["FP16", "FP64", "BF16"])
def test_they_are_for_every_width_of_floats(datatype: str) -> None:
    given = read(b'{"instances": [NaN, -Infinity, 1]}', takes(("x", datatype, (None,))))["x"]
    np.testing.assert_array_equal(widened(given), [np.nan, -np.inf, 1])


ONE_INT = takes(("x", "INT32", (None,)))
UINT8 = takes(("x", "UINT8", (None,)))
BOOL = takes(("x", "BOOL", (None,)))
TEXT = takes(("x", "BYTES", (None,)))


@pytest.mark.parametrize(
    ("sent", "signature", "says"),
    [
        (b"", X, "JSON Parse error: The document is empty"),
        (b"{", X, "JSON Parse error"),
        (b"\xff\xfe", X, "JSON Parse error"),
        (b'{"instances": [NaN', X, "JSON Parse error"),
        (b'{"instances": [nan]}', X, "JSON Parse error"),
        (b'{"instances": [[NaN, "\xff"]]}', X, "JSON Parse error"),
        (b'{"instances": [NaN, "\\ud800"]}', X, "JSON Parse error"),
        (b'{"instances": [1e999, 1]}', X, "JSON Parse error"),
        (b"[" * 100_000, X, "JSON Parse error"),
        (b"[" * 100_000 + b"NaN" + b"]" * 100_000, X, "JSON Parse error"),
        (
            b'{"instances": ' + b"[" * 500 + b"1" + b"]" * 500 + b"}",
            X,
            "input 'x': data: rows of different lengths, or",
        ),
        (b'{"instances": ' + b"[" * 500 + b'"a"' + b"]" * 500 + b"}", TEXT, "input 'x': data: rows of different len"),
        (b"[1]", X, "JSON Value: [1] Is not object"),
        (b"NaN", X, "JSON Value: nan Is not object"),
        (b"{}", X, "Missing 'inputs' or 'instances' key"),
        (body(instances=[1], inputs=[1]), X, "Not formatted correctly expecting only one of 'inputs' or 'instances'"),
        (body(instances=[]), X, "No values in 'instances' array"),
        (body(instances={}), X, "Expecting 'instances' to be an list/array, got Object"),
        (body(instances=None), X, "Expecting 'instances' to be an list/array, got Null"),
        (body(inputs=1, signature_name=None), X, "'signature_name' key must be a string value, got Null"),
        (body(instances=[[1, 2], [3]]), X, "input 'x': data: rows of different lengths"),
        (body(instances=[[], [3]]), X, "input 'x': data: rows of different lengths"),
        (body(instances=[[1, 2], 3]), X, "input 'x': data: rows of different lengths"),
        (body(instances=[1, [2]]), X, "input 'x': data: expected numbers for FP32, got [2]"),
        (body(instances=[1, {"x": 2}]), X, "input 'x': data: expected numbers for FP32, got {'x': 2}"),
        (body(instances=[{"x": 1}, 2]), X, "Expecting object but got Number at item 1 of input list"),
        (body(instances=[{"y": 1}]), X, "Failed to process element: 0 of 'instances' list. JSON object: {'y': 1} keys"),
        (body(instances=[{"a": 1, "b": [1, 2]}, {"a": 1}]), TWO, "Failed to process element: 1 of 'instances' list"),
        (body(instances=[{"a": 1, "b": [1, 2], "c": 0}]), TWO, "Failed to process element: 0 of 'instances' list"),
        (body(instances=[{"a": 1, "b": [1]}, {"a": 1, "b": [1, 2]}]), TWO, "input 'b': data: rows of different"),
        (body(instances=[1]), TWO, "instances is a plain list, but expecting list of objects"),
        (body(inputs=[1]), TWO, "inputs is a plain value/list, but expecting an object"),
        (body(inputs={"a": [1]}), TWO, "Missing named input: b in 'inputs' object."),
        (body(inputs={}), X, "Missing named input: x in 'inputs' object."),
        (body(instances=["true"]), X, "input 'x': data: expected numbers for FP32, got 'true'"),
        (body(instances=["1"]), X, "input 'x': data: expected numbers for FP32, got '1'"),
        (body(instances=["NaN"]), X, "input 'x': data: expected numbers for FP32, got 'NaN'"),
        (body(instances=[True]), X, "input 'x': data: expected numbers for FP32, got true"),
        (body(instances=[None]), X, "input 'x': data: expected numbers for FP32, got null"),
        (body(instances=[1e39]), X, "input 'x': data: a value is too large for FP32"),
        (body(instances=[{"b64": "AA=="}]), X, "input 'x': data: expected numbers for FP32, got {'b64': 'AA=='}"),
        (body(instances=[1.0]), ONE_INT, "input 'x': data: expected integers for INT32, got 1.0"),
        (body(instances=[float("nan")]), ONE_INT, "input 'x': data: expected integers for INT32, got nan"),
        (body(instances=[2**31]), ONE_INT, "input 'x': data: 2147483648 does not fit INT32"),
        (body(instances=[300]), UINT8, "input 'x': data: 300 does not fit UINT8, which goes from 0 to 255"),
        (body(instances=[-1]), UINT8, "input 'x': data: -1 does not fit UINT8"),
        (body(instances=[1]), BOOL, "input 'x': data: expected true and false for BOOL, got 1"),
        (body(instances=[1]), TEXT, "JSON Value: 1 Type: Number is not of expected type: string"),
        (body(instances=["a", {"b64": 1}]), TEXT, "JSON Value: {'b64': 1} Type: Object is not of expected type: str"),
        (body(instances=["a", {"b64": "", "c": 1}]), TEXT, "JSON Value: {'b64': '', 'c': 1} Type: Object"),
        (body(instances=["a", ["b"]]), TEXT, "JSON Value: ['b'] Type: Array is not of expected type: string"),
        (body(instances=[["a"], ["b", "c"]]), TEXT, "input 'x': data: rows of different lengths"),
        (body(instances=[{"b64": "A"}]), TEXT, "Unable to base64 decode: 'A' of 'x'"),
        (body(instances=[{"b64": "A===="}]), TEXT, "Unable to base64 decode"),
        (body(instances=[{"b64": "AA==AA=="}]), TEXT, "Unable to base64 decode"),
        (body(instances=[{"b64": "a-_b"}]), TEXT, "Unable to base64 decode"),
        (body(instances=[{"b64": "é" * 4}]), TEXT, "Unable to base64 decode"),
        (body(inputs=1), takes(), "Failed to get input map for signature"),
        (b'{"instances": [' + b"[]," * 2**20 + b"[]]}", X, "body: expected at most 1048576 lists and objects"),
    ],
    ids=lambda value: value.decode(errors="replace")[:60] if isinstance(value, bytes) else "",
)
def test_what_cannot_be_read_is_refused_with_what_was_expected_and_got(
    sent: bytes, signature: Signature, says: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        read(sent, signature)
    assert str(raised.value).startswith(says)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("sent", "signature"),
    [
        (body(instances=["t" * 2**20]), X),
        (body(instances=[{"k" * 2**20: 1}]), X),
        (body(instances=[{"k" * 2**20: 1}]), TWO),
        (body(instances=[{"b64": "-" * 2**20}]), TEXT),
        (body(instances=[[["t" * 1000] * 6] * 6]), ONE_INT),
        (body(signature_name=["s" * 2**20], inputs=1), X),
        (orjson.dumps("j" * 2**20), X),
        (orjson.dumps([[["j" * 1000] * 6] * 6] * 6), X),
    ],
    ids=["text", "key", "key beside others", "base64", "nested texts", "signature name", "no object", "lists"],
)
def test_an_error_never_sends_a_megabyte_back(sent: bytes, signature: Signature) -> None:
    with pytest.raises(InvalidInput) as raised:
        read(sent, signature)
    assert len(str(raised.value)) < 400


def test_a_million_empty_rows_are_read_without_a_megabyte_for_each() -> None:
    assert read(b'{"instances": [' + b"[]," * 999_999 + b"[]]}")["x"].shape == (1_000_000, 0)


ATOMS = st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.sampled_from(["a", "NaN", "é"])
KEYS = st.sampled_from(["instances", "inputs", "signature_name", "a", "b", "b64", "x", "examples", "context"])
DOCUMENTS = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)
SIGNATURES = [X, TWO, TEXT, ONE_INT, BOOL, takes(("x", "FP16", None)), takes(("x", "BF16", (None, 1))), takes()]


@given(DOCUMENTS, st.sampled_from(SIGNATURES), st.sampled_from(["instances", "inputs", None]))
def test_any_json_is_a_request_or_refused(document: Any, signature: Signature, form: str | None) -> None:
    sent = json.dumps({form: document} if form else document).encode()
    try:
        inputs = read(sent, signature)
    except InvalidInput:
        return
    assert inputs.keys() == {spec.name for spec in signature.inputs}
    assert all(inputs[spec.name].dtype == spec.datatype.dtype for spec in signature.inputs)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_request_or_refused(sent: bytes) -> None:
    for each in (sent, b'{"instances": [' + sent + b"]}", b'{"inputs": {"x": NaN' + sent + b"}}"):
        for decode in (read, decode_examples):
            try:
                decode(each)
            except InvalidInput:
                continue


def as_json(tensor: Tensor) -> Any:
    """Nested lists that a client would send, and base64 for bytes."""
    if tensor.dtype == object:
        flat = np.empty(tensor.size, object)
        flat[:] = [{"b64": base64.b64encode(each).decode()} for each in tensor.ravel()]
        return flat.reshape(tensor.shape).tolist()
    if tensor.dtype.kind in "fV":
        return widened(tensor).tolist()
    return tensor.tolist()


FILLED = npst.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=3)


@given(tensors(shapes=FILLED))
def test_every_tensor_comes_as_it_was_by_row_and_by_column(tensor: Tensor) -> None:
    signature = takes(("x", DataType.of(tensor.dtype), None))
    value = as_json(tensor)
    for sent in (
        body(instances=value),
        body(instances=[{"x": row} for row in value]),
        body(inputs=value),
        body(inputs={"x": value}),
    ):
        came = read(sent, signature)["x"]
        if tensor.dtype.kind in "fV":  # of a NaN, JSON tells no more than that
            wide = widened(tensor)
            assert came.dtype == tensor.dtype
            np.testing.assert_array_equal(widened(came), wide)
        else:
            assert same(came, tensor)


def test_examples_have_features_of_three_kinds() -> None:
    sent = b'{"examples": [{"i": 1, "b": [true, 2], "f": [1.5, -NaN], "s": ["a", {"b64": "AP8="}], "e": []}, {}]}'
    decoded = decode_examples(sent.replace(b"-NaN", b"-Infinity"))
    expected = {"i": [1], "b": [1, 2], "f": [1.5, -np.inf], "s": [b"a", b"\0\xff"], "e": []}
    assert decoded.examples == [expected, {}]
    assert (decoded.signature_name, decoded.context) == ("", None)
    assert all(type(each) is int for each in decoded.examples[0]["b"])


def test_examples_may_share_a_context() -> None:
    decoded = decode_examples(body(signature_name="s", context={"c": 1}, examples=[{}]))
    assert (decoded.signature_name, decoded.context) == ("s", {"c": [1]})


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "When method is classify, key 'examples' is expected and was not found"),
        ({"examples": {}}, "Expecting 'examples' value to be an list/array, got Object"),
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{}], "context": []}, "Example must be JSON object but got JSON Array"),
        ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
        ({"examples": [{"x": [[1]]}]}, "Feature: x has element with unexpected JSON type: Array"),
        ({"examples": [{"x": {"y": 1}}]}, "JSON Value: {'y': 1} Type: Object is not of expected type: string"),
        ({"examples": [{"x": [1, 1.5]}]}, "Unexpected element type in feature: x expecting type: int64"),
        ({"examples": [{"x": [1.5, 1]}]}, "Unexpected element type in feature: x expecting type: float"),
        ({"examples": [{"x": ["a", 1]}]}, "Unexpected element type in feature: x expecting type: bytes"),
        ({"examples": [{"x": 2**63}]}, "Feature: x has uint64 element. Only int64 is supported."),
        ({"examples": [{"x": 1e39}]}, "Feature: x: a value is too large for float"),
        ({"examples": [{"x": {"b64": "?"}}]}, "Unable to base64 decode"),
        ({"examples": [{}], "signature_name": 1}, "'signature_name' key must be a string value"),
    ],
)
def test_what_is_no_example_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode_examples(body(**fields))
    assert str(raised.value).startswith(says)


@given(DOCUMENTS)
def test_any_json_is_examples_or_refused(document: Any) -> None:
    for sent in (document, {"examples": document}, {"examples": [document], "context": {"x": 1}}):
        try:
            decoded = decode_examples(json.dumps(sent).encode())
        except InvalidInput:
            continue
        for features in decoded.examples:
            for values in features.values():
                assert len({type(value) for value in values}) <= 1
                if values and type(values[0]) is float:
                    struct.pack(f"{len(values)}f", *values)
