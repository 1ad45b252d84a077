"""Requests of the Open Inference Protocol V2: read as they stand there, or refused with the field that is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InvalidInput
from adapters.tensors import DataType
from gateway.protocols.open_inference import (
    asks_non_finite,
    decode_infer,
)
from gateway.types import InferRequest, Target

TARGET = Target("digits")
X = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}


def decode(**fields: Any) -> InferRequest:
    """A body with one good input, and whatever else."""
    return decode_infer(TARGET, orjson.dumps({"inputs": [X], **fields}))[0]


def with_input(**fields: Any) -> bytes:
    return orjson.dumps({"inputs": [{name: value for name, value in {**X, **fields}.items() if value != "absent"}]})


def test_a_request_is_read_with_all_that_it_asks_for() -> None:
    request = decode(id="42", outputs=[{"name": "b"}, {"name": "a"}, {"name": "b"}], parameters={"timeout": 1500})
    assert request.inputs["x"].tolist() == [1.0, 2.0]
    assert request.inputs["x"].dtype == np.float32
    assert (request.target, request.id, request.outputs, request.timeout_ms) == (TARGET, "42", ("b", "a"), 1.5)


@pytest.mark.parametrize("fields", [{}, {"id": None, "outputs": None, "parameters": None}, {"outputs": [], "id": ""}])
def test_what_is_left_out_is_left_open(fields: dict[str, Any]) -> None:
    request = decode(**fields)
    assert (request.id, request.outputs, request.timeout_ms, request.parameters) == (None, None, None, {})


def test_parameters_of_inputs_and_outputs_and_unknown_fields_are_no_hindrance() -> None:
    body = {
        "inputs": [{**X, "parameters": {"content_type": "np", "n": 1, "b": True}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
        "parameters": {"custom": [1, {"a": None}]},
        "model_name": "digits",
    }
    assert decode_infer(TARGET, orjson.dumps(body))[0].inputs["x"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "body: expected a JSON object with 'inputs', got an empty body"),
        (b"{", "body: not JSON"),
        (b"{'inputs': []}", "body: not JSON"),
        (b"\xff", "body: not JSON"),
        (b'{"inputs": [NaN]}', "body: not JSON"),
        (b"[" * 10_000 + b"]" * 10_000, "body: not JSON"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "body: not JSON"),
        (b"[]", "body: expected a JSON object with 'inputs', got a list"),
        (b"null", "body: expected a JSON object with 'inputs', got nothing"),
        (b'"x"', "body: expected a JSON object with 'inputs', got the string 'x'"),
        (b"3", "body: expected a JSON object with 'inputs', got the number 3"),
        (b"{}", "inputs: expected a list of tensors, got nothing"),
        (b'{"inputs": {}}', "inputs: expected a list of tensors, got an object"),
        (b'{"inputs": [1]}', "inputs[0]: expected an object, got the number 1"),
        (b'{"inputs": [' + b"{}," * 1024 + b"{}]}", "inputs: expected at most 1024 tensors, got 1025"),
        (with_input(name="absent"), "inputs[0].name: expected a string, got nothing"),
        (with_input(name=""), "inputs[0].name: expected a string, got the string ''"),
        (with_input(name=["x"]), "inputs[0].name: expected a string, got a list"),
        (with_input(shape="absent"), "input 'x': shape is missing"),
        (with_input(datatype="absent"), "input 'x': datatype is missing"),
        (with_input(data="absent"), "input 'x': data is missing"),
        (with_input(datatype="FP33"), "input 'x': unknown datatype 'FP33'; expected one of BOOL, UINT8"),
        (with_input(datatype="fp32"), "input 'x': unknown datatype 'fp32'"),
        (with_input(datatype=None), "input 'x': unknown datatype None"),
        (with_input(datatype=["FP32"]), "input 'x': unknown datatype ['FP32']"),
        (with_input(datatype="BF16"), "input 'x': BF16 has no JSON form; send it as binary data"),
        (with_input(shape=2), "input 'x': shape: expected a list of at most 32 sizes, got 2"),
        (with_input(shape=[-2]), "input 'x': shape: expected sizes of 0 or more, got -2"),
        (with_input(shape=[1, -1]), "input 'x': shape: expected sizes of 0 or more, got -1"),
        (
            with_input(shape=[2**40, 2**40]),
            f"input 'x': shape [{2**40}, {2**40}] means {2**80} elements, but data has 2",
        ),
        (with_input(datatype="UINT8", data=[1, 300]), "input 'x': data: 300 does not fit UINT8"),
        (with_input(data=[1, True]), "input 'x': data: expected numbers for FP32, got true"),
        (with_input(data=[1, "2"]), "input 'x': data: expected numbers for FP32, got '2'"),
        (with_input(data=[1, None]), "input 'x': data: expected numbers for FP32, got null"),
        (with_input(data=[1, 1e300]), "input 'x': data: a value is too large for FP32"),
        (with_input(data=[[1], [2, 3]]), "input 'x': data: rows of different lengths"),
        (with_input(data=[[1, 2]]), "input 'x': data is nested as [1, 2], but its shape says [2]"),
        (orjson.dumps({"inputs": [X, X]}), "inputs: 'x' is there twice"),
        (orjson.dumps({"inputs": [X], "id": 7}), "id: expected a string, got the number 7"),
        (orjson.dumps({"inputs": [X], "outputs": {}}), "outputs: expected a list of objects, got an object"),
        (orjson.dumps({"inputs": [X], "outputs": ["y"]}), "outputs[0]: expected an object with a name, got the string"),
        (orjson.dumps({"inputs": [X], "outputs": [{}]}), "outputs[0]: expected an object with a name, got an object"),
        (orjson.dumps({"inputs": [X], "parameters": []}), "parameters: expected an object, got a list"),
        (orjson.dumps({"inputs": [X], "parameters": {"timeout": "1"}}), "parameters.timeout: expected microseconds"),
        (orjson.dumps({"inputs": [X], "parameters": {"timeout": -1}}), "parameters.timeout: expected microseconds"),
        (orjson.dumps({"inputs": [X], "parameters": {"timeout": True}}), "parameters.timeout: expected microseconds"),
        (orjson.dumps({"inputs": [X], "parameters": {"non_finite": 1}}), 'parameters.non_finite: expected "string"'),
    ],
    ids=lambda value: value.decode(errors="replace")[:60] if isinstance(value, bytes) else "",
)
def test_what_is_no_request_is_refused_with_the_field_what_was_expected_and_what_was_got(
    body: bytes, says: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode_infer(TARGET, body)
    assert str(raised.value).startswith(says)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    "body",
    [
        orjson.dumps({"inputs": [{**X, "name": "n" * 2**20}] * 2}),
        with_input(name="n" * 2**20, datatype="FP99"),
        with_input(datatype="D" * 2**20),
        with_input(shape="s" * 2**20),
        with_input(shape=[0] * 2**20),
        with_input(data=["d" * 2**20, 1]),
        orjson.dumps("j" * 2**20),
    ],
    ids=["twice", "name", "datatype", "shape", "sizes", "data", "no object"],
)
def test_an_error_never_sends_a_megabyte_back(body: bytes) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode_infer(TARGET, body)
    assert len(str(raised.value)) < 400


def test_a_body_of_millions_of_lists_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(InvalidInput, match="expected at most 1048576 lists and objects, got more; send data flat"):
        decode_infer(TARGET, b'{"inputs": [' + b"[]," * 2**20 + b"[]]}")


ATOMS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
FIELDS = st.sampled_from(["inputs", "name", "shape", "datatype", "data", "outputs", "id", "parameters"])
DOCUMENTS = st.recursive(
    ATOMS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5),
)


@given(DOCUMENTS)
def test_any_json_is_a_request_or_refused(document: object) -> None:
    try:
        decode_infer(TARGET, orjson.dumps(document))
    except InvalidInput:
        return


VALUES = st.none() | st.booleans() | st.integers(-300, 300) | st.floats() | st.sampled_from(["a", "1", "NaN"])


@given(
    st.sampled_from([*DataType, "FP99"]),
    st.lists(st.integers(-1, 4), max_size=4),
    st.recursive(VALUES, lambda inner: st.lists(inner, max_size=4)),
    st.booleans(),
)
def test_any_tensor_is_read_as_it_stands_there_or_refused(
    datatype: str, shape: list[int], data: object, non_finite: bool
) -> None:
    parameters = {"non_finite": "string"} if non_finite else {}
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "data": data}
    try:
        request, _ = decode_infer(TARGET, orjson.dumps({"inputs": [tensor], "parameters": parameters}))
    except InvalidInput:
        return
    assert list(request.inputs["x"].shape) == shape
    assert request.inputs["x"].dtype == DataType(datatype).dtype


def accepted_bodies(path: Path) -> Iterator[tuple[str, str]]:
    """The bodies that are plain JSON: others are templates, or have their data as binary behind the JSON."""
    for case in json.loads(path.read_text())["cases"]:
        for body in case["requests"]:
            if "$replace" not in body and all("data" in tensor for tensor in json.loads(body)["inputs"]):
                yield case["name"], body


REFUSED = {
    "parseValidRequestTwoInputs": "a shape of 3 and data of 1: that parser leaves the check to what comes after it",
    "parseValidRequestStringInputNested": "rows of different lengths",
    "parseInvalidDataNotHeterogenous": "a number among lists of numbers",
}


def test_bodies_that_another_server_of_this_protocol_accepts_are_accepted(test_data: Callable[[str], Path]) -> None:
    refused, accepted = [], 0
    for name, body in accepted_bodies(test_data("cases/v2/accepted_bodies.json")):
        try:
            request, _ = decode_infer(TARGET, body.encode())
        except InvalidInput:
            refused.append(name)
            continue
        accepted += 1
        for tensor in json.loads(body)["inputs"]:
            values = [each.encode() if isinstance(each, str) else each for each in np.ravel(tensor["data"]).tolist()]
            read = request.inputs[tensor["name"]]
            assert list(read.shape) == tensor["shape"]
            assert np.array_equal(read.ravel(), np.array(values, read.dtype)), name
    assert refused == list(REFUSED)
    assert accepted > 20


@pytest.mark.parametrize(
    ("parameters", "asks"), [({}, False), ({"non_finite": "string"}, True), ({"non_finite": None}, False)]
)
def test_they_are_asked_for_by_a_request_parameter(parameters: dict[str, Any], asks: bool) -> None:
    assert asks_non_finite(parameters) is asks


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_they_can_be_sent_as_strings_then_too(datatype: str) -> None:
    x = {"name": "x", "shape": [2, 2], "datatype": datatype, "data": [["NaN", 1], ["Infinity", "-Infinity"]]}
    request = decode(inputs=[x], parameters={"non_finite": "string"})
    np.testing.assert_array_equal(request.inputs["x"], [[np.nan, 1], [np.inf, -np.inf]])


def test_they_remain_words_among_texts() -> None:
    x = {"name": "x", "shape": [2], "datatype": "BYTES", "data": ["NaN", "Infinity"]}
    assert decode(inputs=[x], parameters={"non_finite": "string"}).inputs["x"].tolist() == [b"NaN", b"Infinity"]
