"""V2's messages over gRPC: read as they stand there, or refused with the field that is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Tensor, to_bytes
from gateway.errors import Unsupported
from gateway.protocols.open_inference_messages import (
    ModelInferRequest,
    decode_infer,
    encode_infer,
    is_raw,
)
from gateway.types import Deployment, InferResponse, Target
from tests.strategies import same, tensors


def request(datatype: str = "INT16", shape: tuple[int, ...] = (2,), **fields: Any) -> Any:
    message = ModelInferRequest(model_name="m@tflite", **fields)
    message.inputs.add(name="x", datatype=datatype, shape=shape)
    return message


def raw(data: bytes = b"\1\0\2\0", datatype: str = "INT16", shape: tuple[int, ...] = (2,), **fields: Any) -> Any:
    message = request(datatype, shape, **fields)
    message.raw_input_contents.append(data)
    return message


def typed(field: str, values: list[Any], datatype: str = "INT16", shape: tuple[int, ...] = (2,)) -> Any:
    message = request(datatype, shape)
    getattr(message.inputs[0].contents, field).extend(values)
    return message


def test_a_request_is_read_with_all_that_it_asks_for() -> None:
    message = raw(id="42", model_version="3")
    message.outputs.add(name="y")
    message.parameters["timeout"].int64_param = 1500
    message.parameters["custom"].string_param = "s"
    read = decode_infer(message)
    assert read.target == Target("m", 3, None, "tflite")
    assert (read.id, read.outputs, read.timeout_ms) == ("42", ("y",), 1.5)
    assert read.parameters == {"timeout": 1500, "custom": "s"}
    assert read.inputs["x"].tolist() == [1, 2]


def test_the_shorter_of_the_call_s_deadline_and_the_request_s_counts() -> None:
    message = raw()
    assert decode_infer(message, 7.0).timeout_ms == 7.0
    message.parameters["timeout"].int64_param = 1500
    assert decode_infer(message, 7.0).timeout_ms == 1.5
    assert decode_infer(message, 1.0).timeout_ms == 1.0


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (raw(b"\1"), "input 'x': expected 4 bytes for INT16 \\[2\\], got 1"),
        (raw(shape=(-1,)), "input 'x': shape: expected sizes of 0 or more"),
        (raw(shape=(2**62, 2**62)), "expected .* bytes"),
        (raw(shape=(1,) * 40), "at most 32"),
        (raw(b"", shape=(0, 2**40)), "beside a 0"),
        (raw(datatype="FLOAT"), "unknown datatype 'FLOAT'"),
        (raw(datatype=""), "unknown datatype ''"),
        (raw(b"\2\0", datatype="BOOL"), "bytes of 0 and 1"),
        (raw(b"\xff\xff\xff\xff", datatype="BYTES", shape=(1,)), "runs past"),
        (raw(datatype="BYTES", shape=(2**20 + 1,)), "at most 1048576 BYTES elements"),
        (request(), "contents: expected 2 values for shape \\[2\\], got 0"),
        (typed("int_contents", [1, 2, 3]), "expected 2 values .* got 3"),
        (typed("int64_contents", [1, 2]), "expected INT16 in int_contents, got int64_contents"),
        (typed("uint_contents", [1, 300], "UINT8"), "300 does not fit UINT8, which goes from 0 to 255"),
        (typed("int_contents", [1, -(2**15) - 1]), "-32769 does not fit INT16"),
        (typed("fp32_contents", [1, 2], "FP16"), "FP16 has no typed contents"),
        (typed("int_contents", [1, 2], shape=(2**40, 2**40)), "contents: expected"),
    ],
)
def test_a_tensor_that_disagrees_with_itself_is_refused(message: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        decode_infer(message)


def test_raw_contents_stand_for_all_inputs_or_for_none() -> None:
    several = raw()
    several.raw_input_contents.append(b"")
    with pytest.raises(InvalidInput, match="one entry for each of the 1 inputs, got 2"):
        decode_infer(several)
    both = typed("int_contents", [1, 2])
    both.raw_input_contents.append(b"\1\0\2\0")
    with pytest.raises(InvalidInput, match="input 'x': expected no contents beside raw_input_contents"):
        decode_infer(both)


def test_an_input_has_a_name_of_its_own() -> None:
    twice = raw()
    twice.inputs.append(twice.inputs[0])
    twice.raw_input_contents.append(b"\1\0\2\0")
    with pytest.raises(InvalidInput, match="'x' is there twice"):
        decode_infer(twice)
    nameless = raw()
    nameless.inputs[0].name = ""
    with pytest.raises(InvalidInput, match=r"inputs\[0\].name"):
        decode_infer(nameless)


def test_what_would_change_the_answer_s_meaning_is_refused_rather_than_ignored() -> None:
    shared = request()
    shared.inputs[0].parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(Unsupported, match="shared memory"):
        decode_infer(shared)
    classes = raw()
    classes.outputs.add(name="y").parameters["classification"].int64_param = 3
    with pytest.raises(Unsupported, match="classification"):
        decode_infer(classes)


@pytest.mark.parametrize(("name", "version"), [("", ""), ("a/b", ""), ("../m", ""), ("m", "x"), ("m", "0"), ("M", "")])
def test_a_name_or_version_of_another_form_is_refused(name: str, version: str) -> None:
    message = raw(model_version=version)
    message.model_name = name
    with pytest.raises(InvalidInput, match=r"model|version"):
        decode_infer(message)


@given(tensors())
def test_raw_in_raw_out_bit_for_bit(tensor: Tensor) -> None:
    message = raw(bytes(to_bytes(tensor)), DataType.of(tensor.dtype), tensor.shape)
    read = decode_infer(message).inputs["x"]
    assert same(read, tensor)
    assert is_raw(message)
    answer = encode_infer(InferResponse("7", Deployment("m", 1, "tflite"), "r", {"y": read}), raw=True)
    assert answer.raw_output_contents[0] == bytes(to_bytes(tensor))
    assert (answer.id, answer.model_name, answer.model_version) == ("7", "m", "1")
    assert answer.parameters["backend"].string_param == "tflite"


def test_typed_in_typed_out_unless_a_datatype_has_no_typed_form() -> None:
    assert not is_raw(typed("int_contents", [1, 2]))
    response = InferResponse(None, Deployment("m", 1, "tflite"), "r", {"y": np.array([[1, 2]], np.uint8)})
    (output,) = encode_infer(response, raw=False).outputs
    assert (output.contents.uint_contents, output.shape, output.datatype) == ([1, 2], [1, 2], "UINT8")
    half = InferResponse(None, Deployment("m", 1, "tflite"), "r", {"y": np.ones(1, np.float16), "z": np.ones(1)})
    answer = encode_infer(half, raw=False)
    assert len(answer.raw_output_contents) == 2
    assert not any(each.HasField("contents") for each in answer.outputs)
