"""Tensors as .npy files: what numpy saves is read back to the bit, and nothing of a hostile file is run or believed."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Tensor, TensorSpec
from gateway.protocols.npy import MAGIC, read_npy, write_npy
from tests.strategies import same, tensors

NUMBERS = [each for each in DataType if each is not DataType.BYTES]


def saved(array: Any, **arguments: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **arguments)
    return file.getvalue()


def read(data: bytes, datatype: DataType = DataType.FP32) -> Tensor:
    return read_npy(data, TensorSpec("x", datatype, None))


def npy(header: str | bytes, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    head = header.encode() if isinstance(header, str) else header
    length = len(head).to_bytes(2 if version == b"\1\0" else 4, "little")
    return MAGIC + version + length + head + data


def header(descr: str = "<f4", order: str = "False", shape: str = "(1,)") -> str:
    return f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}"


@given(tensors(NUMBERS))
def test_what_numpy_saves_is_read_to_the_last_bit_and_what_is_written_numpy_reads(tensor: Tensor) -> None:
    datatype = DataType.of(tensor.dtype)
    for array in (tensor, np.asarray(tensor, order="F")):
        assert same(read(saved(array), datatype), tensor)
    back = np.load(io.BytesIO(write_npy(tensor)), allow_pickle=False)
    assert same(back.view(tensor.dtype) if datatype is DataType.BF16 else back, tensor)


@given(tensors([DataType.FP32, DataType.INT16, DataType.UINT64]))
def test_the_other_byte_order_is_turned_around(tensor: Tensor) -> None:
    assert same(read(saved(tensor.astype(tensor.dtype.newbyteorder(">"))), DataType.of(tensor.dtype)), tensor)


@pytest.mark.parametrize("array", [np.array([["a", "über"]]), np.array([b"a", b"two\0b"]), np.empty((0, 3), "S5")])
def test_strings_of_fixed_width_are_bytes(array: Tensor) -> None:
    expected = [each if isinstance(each, bytes) else each.encode() for each in array.ravel().tolist()]
    tensor = read(saved(array), DataType.BYTES)
    assert (tensor.shape, tensor.ravel().tolist()) == (array.shape, expected)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(version: tuple[int, int]) -> None:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ones(2, np.float32), version)
    assert read(file.getvalue()).tolist() == [1, 1]


@pytest.mark.parametrize(
    "text",
    [
        '{"shape": (1L,), "fortran_order": False, "descr": "<f4"}',
        "{'descr':'<f4','fortran_order':False,'shape':(1),}",
        "  {'fortran_order': False , 'descr' : '=f4', 'shape': ( 1 , )}\n",
    ],
)
def test_headers_that_other_programs_write_are_read(text: str) -> None:
    assert read(npy(text, b"\0\0\x80?")).tolist() == [1]


@pytest.mark.parametrize(
    ("array", "datatype", "said"),
    [
        (np.ones(1), DataType.FP32, ["FP32", "'<f8'", "array.astype('float32')"]),
        (np.ones(1, np.int32), DataType.INT64, ["INT64", "'<i4'", "array.astype('int64')"]),
        (np.ones(1, np.uint8), DataType.BOOL, ["BOOL", "'|u1'"]),
        (np.ones(1, np.float32), DataType.BYTES, ["strings", "'<f4'"]),
        (np.array(["1"]), DataType.FP32, ["FP32", "'<U1'"]),
        (np.ones(1, np.float16), DataType.BF16, ["bfloat16", "'<f2'"]),
        (np.ones(1, np.complex64), DataType.FP32, ["FP32", "'<c8'"]),
        (np.ones(1, "i4,f4"), DataType.INT32, ["number type", "allow_pickle=False"]),
        (np.ones(1, "datetime64[s]"), DataType.INT64, ["INT64", "'<M8[s]'"]),
    ],
)
def test_another_datatype_is_refused_with_its_cure(array: Tensor, datatype: DataType, said: list[str]) -> None:
    with pytest.raises(InvalidInput) as error:
        read(saved(array), datatype)
    assert all(part in str(error.value) for part in ("input 'x'", *said)), error.value


class Bomb:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle was run",))


def test_an_object_array_is_refused_and_not_run() -> None:
    with pytest.raises(InvalidInput, match=r"'\|O'"):
        read(saved(np.array([Bomb()], object), allow_pickle=True), DataType.BYTES)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "expected a .npy file"),
        (MAGIC, "expected a .npy file"),
        (MAGIC + b"\1", "expected a .npy file"),
        (MAGIC + b"\x09\0\0\0", "expected a .npy file"),
        (npy(header())[:-1], "ends in its header"),
        (npy(" " * 5000 + header()), "header of at most"),
        (MAGIC + b"\2\0\xff\xff\xff\xff", "header of at most"),
        (npy("[" * 4000), "expected a header"),
        (npy("-" * 4000 + "1"), "expected a header"),
        (npy("{" + "(" * 3000 + "}"), "expected a header"),
        (npy(b"\xff\0" * 100), "expected a header"),
        (npy(""), "expected a header"),
        (npy("{}"), "expected a header"),
        (npy("{'descr': '<f4'}"), "expected a header"),
        (npy(header(shape="(__import__('os').system('true'),)")), "expected a header"),
        (npy(header(shape="(-1,)")), "expected a header"),
        (npy(header(shape="(1e9,)")), "expected a header"),
        (npy(header(shape="(1 1)")), "expected a header"),
        (npy(header(order="1")), "expected a header"),
        (npy(header() + "{}"), "expected a header"),
        (npy(header("f4,f4")), "expected an array"),
        (npy(header("<f3")), "no dtype"),
        (npy(header("<f999999999")), "no dtype"),
        (npy(header()), "4 bytes of data, got 0"),
        (npy(header(), b"12345"), "4 bytes of data, got 5"),
        (npy(header(shape="(999999999999,)"), b"1234"), "means 3999999999996 bytes"),
        (npy(header(shape="(9223372036854775807, 9223372036854775807)")), "bytes of data, got 0"),
        (npy(header(shape="(99999999999999999999,)")), "expected a header"),
        (npy(header(shape="(9223372036854775808,)")), "sizes of 0 or more"),
        (npy(header(shape="(0, 1000000000)")), "beside a 0"),
        (npy(header(shape="(" + "1," * 64 + ")"), b"1234"), "at most 32 sizes"),
    ],
)
def test_rubbish_is_refused_before_anything_is_allocated(data: bytes, said: str) -> None:
    with pytest.raises(InvalidInput) as error:
        read(data)
    assert said in str(error.value)
    assert len(str(error.value)) < 600


def test_strings_are_counted_before_they_are_made() -> None:
    with pytest.raises(InvalidInput, match="strings, got 2097152"):
        read(npy(header("|S1", shape=f"({2**21},)"), b"a" * 2**21), DataType.BYTES)
    with pytest.raises(InvalidInput, match="strings"):
        read(npy(header("|S0", shape=f"({2**40},)")), DataType.BYTES)
    assert read(npy(header("<U9999999", shape="(0,)")), DataType.BYTES).shape == (0,)


def test_characters_that_unicode_lacks_are_refused() -> None:
    for bad in (b"\xff\xff\xff\xff", b"\0\xd8\0\0"):
        with pytest.raises(InvalidInput, match="no Unicode"):
            read(npy(header("<U1"), bad), DataType.BYTES)


def test_bytes_of_a_boolean_are_0_and_1() -> None:
    with pytest.raises(InvalidInput, match="0 and 1"):
        read(npy(header("|b1"), b"\2"), DataType.BOOL)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for whole in (data, MAGIC + data, npy(data[:100], data[100:])):
        try:
            read(whole)
        except InvalidInput:
            continue


def test_strings_are_not_written() -> None:
    with pytest.raises(InvalidInput, match="ask for JSON"):
        write_npy(np.array([b"a"], object))
