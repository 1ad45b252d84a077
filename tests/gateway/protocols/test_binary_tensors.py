"""The binary tensor extension of V2: a JSON head, then bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Signature, Tensor, TensorSpec, to_bytes
from gateway.errors import Unsupported
from gateway.protocols.open_inference import Form, decode_infer, decode_raw_infer, encode_infer
from gateway.types import Deployment, InferRequest, InferResponse, Target
from tests.strategies import same, tensors

TARGET = Target("m")
X = {"name": "x", "shape": [2], "datatype": "INT16", "parameters": {"binary_data_size": 4}}
FOUR = b"\x01\x00\x02\x00"


def decode(*inputs: dict[str, Any], blobs: bytes = FOUR, head: bytes | None = None, **fields: Any) -> InferRequest:
    document = orjson.dumps({"inputs": inputs or [X], **fields})
    length = b"%d" % len(document) if head is None else head
    return decode_infer(TARGET, document + blobs, length)[0]


def test_tensors_are_read_in_order_from_behind_the_json() -> None:
    texts = {"name": "t", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 6}}
    plain = {"name": "p", "shape": [1], "datatype": "FP32", "data": [1]}
    request = decode(X, plain, texts, blobs=FOUR + b"\x02\x00\x00\x00hi")
    assert {name: tensor.tolist() for name, tensor in request.inputs.items()} == {"x": [1, 2], "p": [1], "t": [b"hi"]}


@given(st.lists(tensors(), max_size=3), st.booleans())
def test_every_tensor_comes_back_bit_for_bit(sent: list[Tensor], requested: bool) -> None:
    outputs = {f"y{index}": tensor for index, tensor in enumerate(sent)}
    form = Form(exceptions=dict.fromkeys(outputs, True)) if requested else Form(binary=True)
    parts, length = encode_infer(InferResponse("7", Deployment("m", 1, "tflite"), "r", outputs), form)
    body = b"".join(parts)
    if not sent:
        assert length is None
        return
    document = orjson.loads(body[:length])
    head = orjson.dumps({"inputs": document["outputs"]})
    request, _ = decode_infer(TARGET, head + body[length:], b"%d" % len(head))
    assert all(same(request.inputs[name], tensor) for name, tensor in outputs.items())


@pytest.mark.parametrize(
    ("change", "blobs", "said"),
    [
        ({"parameters": {"binary_data_size": 3}}, FOUR[:3], "expected 4 bytes for INT16 \\[2\\], got 3"),
        ({"parameters": {"binary_data_size": 6}}, FOUR, "the body has only 4 bytes left"),
        ({"parameters": {"binary_data_size": 4}}, FOUR + b"x", "1 bytes are left over"),
        ({"parameters": {"binary_data_size": -1}}, FOUR, "expected a number of bytes, got -1"),
        ({"parameters": {"binary_data_size": "4"}}, FOUR, "expected a number of bytes, got '4'"),
        ({"parameters": {"binary_data_size": True}}, b"x", "expected a number of bytes, got True"),
        ({"parameters": {"binary_data_size": 2**62}}, FOUR, "bytes left"),
        ({"data": [1, 2]}, FOUR, "either data or binary_data_size"),
        ({"shape": [2**40, 2**40]}, FOUR, "expected .* bytes"),
        ({"datatype": "BOOL", "shape": [4]}, FOUR, "bytes of 0 and 1"),
        ({"datatype": "BYTES", "shape": [1]}, b"\x05\x00\x00\x00", "runs past"),
        ({"datatype": "BYTES", "shape": [1]}, b"\xff\xff\xff\xff", "runs past"),
        ({"datatype": "BYTES", "shape": [2]}, FOUR, "hold at most 1"),
        ({"datatype": "BYTES", "shape": [0]}, FOUR, "left over"),
        ({"datatype": "BYTES", "shape": [2**20 + 1]}, FOUR, "at most 1048576 BYTES elements"),
        ({"parameters": 1}, FOUR, "input 'x': parameters: expected an object"),
    ],
)
def test_sizes_that_disagree_are_refused(change: dict[str, Any], blobs: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        decode({**X, **change}, blobs=blobs)


@pytest.mark.parametrize("head", [b"-1", b"x", b"", b"1e3", b"99999", b"9" * 40, b"+4", b" 4"])
def test_a_head_length_that_is_none_is_refused(head: bytes) -> None:
    with pytest.raises(InvalidInput, match="Inference-Header-Content-Length"):
        decode(head=head)


@pytest.mark.parametrize(("shape", "datatype", "size"), [([], "FP64", 8), ([0, 3], "FP32", 0), ([2, 0], "BYTES", 0)])
def test_scalars_and_empty_tensors_are_tensors(shape: list[int], datatype: str, size: int) -> None:
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}
    assert list(decode(tensor, blobs=bytes(size)).inputs["x"].shape) == shape


def test_an_output_may_differ_from_what_is_said_of_all() -> None:
    document = {
        "inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}],
        "outputs": [{"name": "a"}, {"name": "b", "parameters": {"binary_data": False}}],
        "parameters": {"binary_data_output": True},
    }
    _, form = decode_infer(TARGET, orjson.dumps(document))
    y = np.ones(1, np.float32)
    parts, length = encode_infer(InferResponse(None, Deployment("m", 1, "tflite"), "r", {"a": y, "b": y}), form)
    a, b = orjson.loads(parts[0])["outputs"]
    assert (a["parameters"], b["data"], length, bytes(parts[1])) == (
        {"binary_data_size": 4}, [1.0], len(parts[0]), y.tobytes(),
    )  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"parameters": {"binary_data_output": 1}},
        {"outputs": [{"name": "a", "parameters": {"binary_data": "yes"}}]},
        {"outputs": [{"name": "a", "parameters": []}], "parameters": {"priority": -1}},
        {"parameters": {"priority": "high"}},
    ],
)
def test_flags_of_another_kind_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        decode(**fields)


def test_what_would_change_the_answer_s_meaning_is_refused_rather_than_ignored() -> None:
    with pytest.raises(Unsupported, match="classification"):
        decode(outputs=[{"name": "a", "parameters": {"classification": 3}}])
    with pytest.raises(Unsupported, match="shared memory"):
        decode({**X, "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 4}})
    with pytest.raises(Unsupported, match="shared memory"):
        decode(outputs=[{"name": "a", "parameters": {"shared_memory_region": "r"}}])


def raw(datatype: DataType, shape: tuple[int | None, ...] | None, body: bytes) -> Tensor:
    signature = Signature((TensorSpec("x", datatype, shape),), ())
    request, form = decode_raw_infer(TARGET, body, signature)
    assert form.writes_binary("anything")
    return request.inputs["x"]


def test_a_raw_body_is_the_only_input() -> None:
    assert raw(DataType.FP32, (None, 2), bytes(16)).shape == (2, 2)
    assert raw(DataType.FP32, (None, None), bytes(12)).shape == (1, 3)
    assert raw(DataType.FP32, (2, 2), bytes(16)).shape == (2, 2)
    assert raw(DataType.UINT8, None, b"abc").shape == (3,)
    assert raw(DataType.BYTES, (None,), b"abc").tolist() == [b"abc"]
    assert raw(DataType.BYTES, (1, 1), b"abc").tolist() == [[b"abc"]]


@pytest.mark.parametrize(
    ("datatype", "shape", "body", "said"),
    [
        (DataType.FP32, (None, 2), bytes(15), "a multiple of 8"),
        (DataType.FP32, (2, 2), bytes(15), "expected 16 bytes"),
        (DataType.FP32, (None, None, None), bytes(16), "at most one size open"),
        (DataType.FP32, (3, None, None), bytes(16), "at most one size open"),
        (DataType.BYTES, (2,), b"abc", "hold at most"),
        (DataType.FP32, (None, 0), bytes(4), "a multiple of 0"),
    ],
)
def test_a_raw_body_that_does_not_fit_is_refused(
    datatype: DataType, shape: tuple[int | None, ...], body: bytes, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        raw(datatype, shape, body)


def test_a_raw_body_is_for_models_of_one_input() -> None:
    spec = TensorSpec("x", DataType.FP32, (1,))
    with pytest.raises(InvalidInput, match="one input, and this one has 2: x, x"):
        decode_raw_infer(TARGET, bytes(4), Signature((spec, spec), ()))


def test_what_a_client_packs_is_what_is_read() -> None:
    tensor = np.array([[1.5], [2.5]], np.float16)
    sent = {"name": "x", "shape": [2, 1], "datatype": "FP16", "parameters": {"binary_data_size": 4}}
    assert same(decode(sent, blobs=bytes(to_bytes(tensor))).inputs["x"], tensor)
