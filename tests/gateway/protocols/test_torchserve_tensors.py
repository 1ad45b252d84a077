"""Predictions for models that take tensors: every way to say the same inputs, and the answer in the caller's form."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Signature, Tensor, TensorSpec
from gateway.protocols.torchserve_tensors import NPY, decode_body, decode_fields, encode_outputs

ONE = Signature((TensorSpec("image", DataType.FP32, (None, 2)),), ())
TWO = Signature((TensorSpec("a", DataType.INT64, (None, 2)), TensorSpec("b", DataType.BYTES, (None,))), ())
JSON = b"application/json"


def npy(array: Tensor) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def form(**fields: bytes) -> tuple[bytes, bytes]:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value
        for name, value in fields.items()
    ]
    return b"multipart/form-data; boundary=x", b"\r\n".join([*parts, b"--x--\r\n"])


BATCH = np.array([[1, 2], [3, 4]], np.float32)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON, b"[[1, 2], [3, 4]]"),
        (b"", b"[[1, 2], [3, 4]]"),
        (b"application/x-www-form-urlencoded", b"[[1, 2], [3, 4]]"),
        (b"application/x-www-form-urlencoded", b"data=%5B%5B1,2%5D,%5B3,4%5D%5D"),
        (JSON, b'{"image": [[1, 2], [3, 4]]}'),
        (JSON, b'{"data": [[1, 2], [3, 4]]}'),
        (JSON, b'{"body": [[1, 2], [3, 4]]}'),
        (NPY, npy(BATCH)),
        (b"application/octet-stream", npy(BATCH)),
        (b"", npy(np.asfortranarray(BATCH))),
        form(data=npy(BATCH)),
        form(data=b"[[1, 2], [3, 4]]"),
        form(data=b'{"image": [[1, 2], [3, 4]]}'),
        form(image=b"[[1, 2], [3, 4]]"),
        form(image=npy(BATCH)),
        form(body=npy(BATCH)),
    ],
)
def test_every_form_of_a_batch_is_the_same_tensor(content_type: bytes, body: bytes) -> None:
    inputs = decode_body(content_type, body, ONE)
    assert not inputs.one_row
    assert inputs.tensors["image"].dtype == np.float32
    assert inputs.tensors["image"].tolist() == BATCH.tolist()


@pytest.mark.parametrize("body", [b"[1, 2]", b'{"image": [1, 2]}', npy(BATCH[0])])
def test_one_row_gets_its_batch_axis(body: bytes) -> None:
    inputs = decode_body(b"", body, ONE)
    assert inputs.one_row
    assert inputs.tensors["image"].tolist() == [[1, 2]]


def test_several_inputs_come_by_name() -> None:
    whole = decode_body(JSON, b'{"a": [[1, 2]], "b": ["x"]}', TWO)
    assert (whole.one_row, whole.tensors["a"].tolist(), whole.tensors["b"].tolist()) == (False, [[1, 2]], [b"x"])
    fields = decode_fields({"a": npy(np.array([1, 2])), "b": b'"x"'}, TWO)
    assert (fields.one_row, fields.tensors["a"].tolist(), fields.tensors["b"].tolist()) == (True, [[1, 2]], [b"x"])


def test_a_row_is_only_a_row_where_all_inputs_lack_the_axis() -> None:
    assert not decode_body(JSON, b'{"a": [1, 2], "b": ["x"]}', TWO).one_row
    assert not decode_body(JSON, b'{"a": [1, 2]}', TWO).one_row
    assert not decode_body(JSON, b"[1, 2]", Signature((TensorSpec("x", DataType.FP32, (3, 2)),), ())).one_row
    assert decode_body(JSON, b"[1, 2]", Signature((TensorSpec("x", DataType.FP32, (1, 2)),), ())).one_row
    assert not decode_body(JSON, b"[1, 2]", Signature((TensorSpec("x", DataType.FP32, None),), ())).one_row
    assert not decode_body(JSON, b"1", Signature((TensorSpec("x", DataType.FP32, ()),), ())).one_row


def test_an_input_that_is_called_data_is_an_input_like_others() -> None:
    signature = Signature((TensorSpec("data", DataType.FP32, (None,)),), ())
    assert decode_body(*form(data=b"[1]"), signature).tensors["data"].tolist() == [1]
    assert decode_body(JSON, b'{"data": [1]}', signature).tensors["data"].tolist() == [1]


@pytest.mark.parametrize(
    ("signature", "content_type", "body", "said"),
    [
        (ONE, JSON, b"", "empty"),
        (ONE, JSON, b"{", "neither"),
        (ONE, JSON, b"\xff\xd8\xff\xe0 a photograph", "neither"),
        (ONE, JSON, b"[" * 100_000, "neither"),
        (ONE, JSON, b"[" * 500 + b"]" * 500, "nested too deep"),
        (ONE, JSON, b"[[1, 2], [3]]", "different lengths"),
        (ONE, JSON, b"[[1, true]]", "expected numbers"),
        (ONE, JSON, b'[[1, "2"]]', "expected numbers"),
        (ONE, JSON, b"[[1, 1e300]]", "too large for FP32"),
        (ONE, JSON, b"[[1, NaN]]", "neither"),
        (ONE, JSON, b'{"x": [[1, 2]]}', "'x' is unknown; the model takes 'image' FP32 [-1, 2]"),
        (ONE, JSON, b'{"image": {"a": 1}}', "expected numbers"),
        (TWO, JSON, b"[[1, 2]]", "a list is for models of one input, and this one takes 'a', 'b'"),
        (TWO, b"", npy(BATCH), "a .npy file is for models of one input"),
        (TWO, JSON, b'{"a": [[1.5, 2]], "b": []}', "expected integers"),
        (TWO, JSON, b'{"data": [[1, 2]]}', "'data' is unknown"),
        (ONE, *form(other=b"1"), "'other' is unknown"),
        (ONE, *form(data=b""), "empty"),
        (ONE, b"multipart/form-data; boundary=x", b"--x", "before its last boundary"),
        (ONE, b"", npy(BATCH.astype(np.float64)), "array.astype('float32')"),
    ],
)
def test_what_is_no_input_names_field_expected_and_got(
    signature: Signature, content_type: bytes, body: bytes, said: str
) -> None:
    with pytest.raises(InvalidInput) as error:
        decode_body(content_type, body, signature)
    assert said in str(error.value)
    assert len(str(error.value)) < 500


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "image", "data"]), inner),
    max_leaves=8,
)
BODIES = st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode())


@given(
    st.sampled_from([b"", JSON, NPY, b"multipart/form-data; boundary=x", b"application/x-www-form-urlencoded"]),
    BODIES | BODIES.map(lambda body: form(data=body)[1]) | BODIES.map(lambda body: b"data=" + body),
    st.sampled_from([ONE, TWO, Signature((), ()), Signature((TensorSpec("x", DataType.BOOL, None),), ())]),
)
def test_any_body_is_read_or_refused(content_type: bytes, body: bytes, signature: Signature) -> None:
    try:
        inputs = decode_body(content_type, body, signature)
    except InvalidInput:
        return
    assert inputs.tensors.keys() <= {spec.name for spec in signature.inputs}


def encoded(one_row: bool = False, accept: bytes = b"*/*", **outputs: Any) -> Any:
    kind, body = encode_outputs({name: np.asarray(value) for name, value in outputs.items()}, one_row, accept)
    return json.loads(body) if kind == JSON else np.load(io.BytesIO(body))


def test_one_output_is_a_nested_list_and_several_are_an_object() -> None:
    assert encoded(y=BATCH) == [[1, 2], [3, 4]]
    assert encoded(y=BATCH, n=np.array([2])) == {"y": [[1, 2], [3, 4]], "n": [2]}


@pytest.mark.parametrize("datatype", list(DataType))
@pytest.mark.parametrize("shape", [(), (0,), (0, 2), (2, 0), (1,), (2, 3), (2, 1, 2)])
def test_every_datatype_is_written_in_its_shape(datatype: DataType, shape: tuple[int, ...]) -> None:
    tensor = np.full(shape, b"a" if datatype is DataType.BYTES else 1, datatype.dtype)
    value: Any = {DataType.BYTES: "a", DataType.BOOL: True}.get(datatype, 1)
    assert encoded(y=tensor) == np.full(shape, value, object).tolist()
    assert encoded(y=tensor.T) == np.full(shape[::-1], value, object).tolist()


def test_the_axis_that_was_added_is_taken_off_again() -> None:
    assert encoded(True, y=BATCH[:1], text=np.array([b"a"], object)) == {"y": [1, 2], "text": "a"}
    assert encoded(True, y=BATCH, n=np.array(7)) == {"y": BATCH.tolist(), "n": 7}


def test_npy_is_for_who_accepts_it() -> None:
    for accept in (b"application/x-npy", b"text/html, Application/X-NPY;q=0.9"):
        assert encoded(accept=accept, y=BATCH).tolist() == BATCH.tolist()
    with pytest.raises(InvalidInput, match="models of one output; this one gives 'y', 'z'"):
        encoded(accept=NPY, y=BATCH, z=BATCH)


def test_what_json_lacks_is_refused_with_a_way_out() -> None:
    bad = np.array([[1, np.nan]], np.float32)
    with pytest.raises(InvalidInput, match=r"'y' holds NaN or infinities.*accept: application/x-npy"):
        encoded(y=bad)
    with pytest.raises(InvalidInput, match=r"'y' holds NaN or infinities.*V2's binary data"):
        encoded(y=bad, z=BATCH)
    with pytest.raises(InvalidInput, match=r"'y' holds bytes that are no UTF-8.*over V2"):
        encoded(y=np.array([b"\xff"], object))
    assert np.isnan(encoded(accept=NPY, y=bad)[0, 1])
