"""Each dialect against what is known of the wire, by messages that are not ours; and answers that are none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.protocols.protos import message
from loadtests.dialects import DIALECTS, Dialect, Reply, WrongAnswer
from loadtests.dialects.protobuf import bytes_field, fields, number_field
from loadtests.dialects.tensors import DTYPES

ModelInferRequest = message("inference.ModelInferRequest")
ModelInferResponse = message("inference.ModelInferResponse")
NAMES = ["digits", "digits/1", "digits@tflite", "digits/1@tflite"]
X = {"x": np.array([[1.5, -2]], np.float32)}
HTTP = {
    "v2-json": b'{"outputs":[{"name":"y","shape":[1,2],"datatype":"FP32","data":[1.5,-2]}]}',
    "tfs-rest": b'{"predictions":[[1.5,-2]]}',
    "torchserve": b"[[1.5,-2]]",
}


def good(dialect: Dialect, body: bytes, **headers: str) -> Reply:
    return Reply(200 if dialect.protocol == "http/1.1" else 0, headers, body)


@pytest.mark.parametrize(
    ("dialect", "paths"),
    [
        (
            "v2-json",
            [
                "/v2/models/digits/infer",
                "/v2/models/digits/versions/1/infer",
                "/v2/models/digits@tflite/infer",
                "/v2/models/digits@tflite/versions/1/infer",
            ],
        ),
        (
            "tfs-rest",
            [
                "/v1/models/digits:predict",
                "/v1/models/digits/versions/1:predict",
                "/v1/models/digits@tflite:predict",
                "/v1/models/digits@tflite/versions/1:predict",
            ],
        ),
        (
            "torchserve",
            [
                "/predictions/digits",
                "/predictions/digits/1",
                "/predictions/digits@tflite",
                "/predictions/digits@tflite/1",
            ],
        ),
    ],
)
def test_over_http_a_deployment_is_named_by_the_path(dialect: str, paths: list[str]) -> None:
    assert [DIALECTS[dialect].request(name, X).path for name in NAMES] == paths
    assert DIALECTS["v2-binary"].request(NAMES[3], X).path == DIALECTS["v2-json"].request(NAMES[3], X).path


def test_over_grpc_a_deployment_is_named_by_the_message() -> None:
    requests = [DIALECTS["v2-grpc"].request(name, X) for name in NAMES]
    messages = [ModelInferRequest.FromString(each.body) for each in requests]

    assert {each.path for each in requests} == {"/inference.GRPCInferenceService/ModelInfer"}
    assert [(each.model_name, each.model_version) for each in messages] == [
        ("digits", ""), ("digits", "1"), ("digits@tflite", ""), ("digits@tflite", "1"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", "digits/", "digits/one", "../digits", "digits/1@", "a b", "digits/1@tflite/x"])
@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
def test_what_names_no_deployment_is_refused(dialect: Dialect, name: str) -> None:
    with pytest.raises(ValueError, match="deployment: expected MODEL"):
        dialect.request(name, X)


def test_v2_says_json_as_the_protocol_has_it() -> None:
    assert json.loads(DIALECTS["v2-json"].request("m", X).body) == {
        "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, -2.0]}]
    }


def test_v2_says_binary_data_behind_a_head_whose_length_is_a_header() -> None:
    request = DIALECTS["v2-binary"].request("m", X)
    length = int(dict(request.headers)["Inference-Header-Content-Length"])
    (described,) = json.loads(request.body[:length])["inputs"]

    assert described["parameters"]["binary_data_size"] == 8
    assert request.body[length:] == np.array([1.5, -2], "<f4").tobytes()


def test_tf_serving_is_asked_by_row_and_by_column_where_inputs_have_no_common_rows() -> None:
    tfs = DIALECTS["tfs-rest"]
    two = {"a": np.array([[1], [2]]), "b": np.array([b"\xff", b"x"], object)}

    assert json.loads(tfs.request("m", X).body) == {"instances": [[1.5, -2.0]]}
    assert json.loads(tfs.request("m", two).body)["instances"][0] == {"a": [1], "b": {"b64": "/w=="}}
    assert json.loads(tfs.request("m", {"a": np.array([1]), "b": np.array([1, 2])}).body) == {
        "inputs": {"a": [1], "b": [1, 2]}
    }


@pytest.mark.parametrize("kind", DTYPES)
def test_grpc_carries_every_datatype_there_and_back(kind: str) -> None:
    tensor = np.array([[b"a", b""]], object) if kind == "BYTES" else np.array([[1, 0]]).astype(DTYPES[kind])
    sent = ModelInferRequest.FromString(DIALECTS["v2-grpc"].request("m/3", {"x": tensor}).body)
    answer = ModelInferResponse(model_name="m", raw_output_contents=sent.raw_input_contents)
    answer.outputs.add(name="y", datatype=kind, shape=sent.inputs[0].shape)
    dialect = DIALECTS["v2-grpc"]
    outputs = dialect.outputs(good(dialect, answer.SerializeToString()))

    assert (sent.inputs[0].datatype, list(sent.inputs[0].shape)) == (kind, [1, 2])
    assert outputs["y"].dtype == tensor.dtype
    assert np.array_equal(outputs["y"], tensor)


def test_grpcs_typed_contents_are_read_too() -> None:
    answer = ModelInferResponse()
    answer.outputs.add(name="f", datatype="FP32", shape=[2]).contents.fp32_contents.extend([1.5, -2])
    answer.outputs.add(name="i", datatype="INT64", shape=[1]).contents.int64_contents.extend([-7])
    answer.outputs.add(name="b", datatype="BYTES", shape=[1]).contents.bytes_contents.extend([b"a"])
    dialect = DIALECTS["v2-grpc"]
    outputs = dialect.outputs(good(dialect, answer.SerializeToString()))

    assert {name: each.tolist() for name, each in outputs.items()} == {"f": [1.5, -2], "i": [-7], "b": [b"a"]}


def predict_response(tensor: bytes) -> bytes:
    return bytes_field(1, bytes_field(1, b"y") + bytes_field(2, tensor))


@pytest.mark.parametrize(
    ("values", "tensor"),
    [
        (bytes_field(4, np.array([1.5, -2], "<f4").tobytes()), [1.5, -2]),
        (bytes_field(5, np.array([1.5, -2], "<f4").tobytes()), [1.5, -2]),
        (bytes_field(5, np.array([3], "<f4").tobytes()), [3, 3]),
    ],
    ids=["content", "values", "one value for all"],
)
def test_a_tensor_proto_is_read_however_it_is_filled(values: bytes, tensor: list[float]) -> None:
    dialect = DIALECTS["tfs-grpc"]
    shape = bytes_field(2, bytes_field(2, number_field(1, 2)))
    outputs = dialect.outputs(good(dialect, predict_response(number_field(1, 1) + shape + values)))

    assert outputs["y"].tolist() == tensor


def test_what_a_tensor_proto_would_be_filled_to_is_bounded() -> None:
    dialect = DIALECTS["tfs-grpc"]
    shape = bytes_field(2, bytes_field(2, number_field(1, 1 << 40)))
    one = bytes_field(5, np.array([3], "<f4").tobytes())

    with pytest.raises(WrongAnswer, match="elements in all at most"):
        dialect.outputs(good(dialect, predict_response(number_field(1, 1) + shape + one)))


@pytest.mark.parametrize("name", HTTP)
def test_an_answer_over_http_becomes_tensors(name: str) -> None:
    (tensor,) = DIALECTS[name].outputs(good(DIALECTS[name], HTTP[name])).values()

    assert tensor.tolist() == [[1.5, -2]]


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
def test_a_refusal_is_a_wrong_answer_with_its_text(dialect: Dialect) -> None:
    with pytest.raises(WrongAnswer, match="status 503: later"):
        dialect.outputs(Reply(503, {}, b"later", failure="status 503"))


def test_what_json_cannot_say_is_refused_before_it_is_sent() -> None:
    for name in ("v2-json", "torchserve"):
        with pytest.raises(ValueError, match="NaN"):
            DIALECTS[name].request("m", {"x": np.array([np.nan])})
        with pytest.raises(ValueError, match="no text"):
            DIALECTS[name].request("m", {"x": np.array([b"\xff"], object)})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("FP32"),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(
        st.sampled_from(["outputs", "predictions", "name", "shape", "datatype", "data", "parameters", "b64", "y"]),
        each, max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip
messages = st.recursive(
    st.binary(max_size=12),
    lambda each: st.lists(
        st.builds(bytes_field, st.integers(1, 17), each) | st.builds(number_field, st.integers(1, 17), st.integers()),
        max_size=5,
    ).map(b"".join),
    max_leaves=12,
)


def only_wrong(dialect: Dialect, body: bytes, headers: Mapping[str, str]) -> Any:
    try:
        return dialect.outputs(Reply(200 if dialect.protocol == "http/1.1" else 0, headers, body))
    except WrongAnswer as error:
        return str(error)


@settings(max_examples=150, deadline=None)
@given(json_values, st.sampled_from([{}, {"inference-header-content-length": "-5"}]))
@example({"outputs": [{"name": "y", "shape": ["x", 10**12], "datatype": "FP32", "data": []}]}, {})
@example({"outputs": [[]]}, {})
def test_no_json_is_more_than_a_wrong_answer(value: Any, headers: dict[str, str]) -> None:
    for name in ("v2-json", "tfs-rest", "torchserve"):
        only_wrong(DIALECTS[name], json.dumps(value).encode(), headers)


def test_neither_are_documents_that_are_nested_too_deeply() -> None:
    for name in ("v2-json", "tfs-rest", "torchserve"):
        with pytest.raises(WrongAnswer):
            DIALECTS[name].outputs(good(DIALECTS[name], b"[" * 100_000))


@settings(max_examples=150, deadline=None)
@given(messages)
@example(bytes_field(5, bytes_field(3, b"\x80")))
@example(predict_response(bytes_field(1, b"")))
def test_no_message_is_more_than_a_wrong_answer(body: bytes) -> None:
    for name in ("v2-grpc", "tfs-grpc"):
        only_wrong(DIALECTS[name], body, {})


def test_a_number_without_an_end_is_refused_at_once() -> None:
    with pytest.raises(WrongAnswer, match="beyond its end"):
        list(fields(b"\x80" * 10_000_000))
