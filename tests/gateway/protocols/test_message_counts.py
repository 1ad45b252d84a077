"""Messages that would take many times their size in memory are refused before they are parsed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InvalidInput
from gateway.protocols.message_counts import check_fields
from gateway.protocols.open_inference_messages import ModelInferRequest


def varint(number: int) -> bytes:
    encoded = b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


def test_millions_of_empty_tensors_are_refused() -> None:
    with pytest.raises(InvalidInput, match="at most 262144 fields"):
        check_fields(b"\x2a\x00" * (1 << 20))


@pytest.mark.parametrize(
    "inner",
    [
        b"\x2a" + varint(4 << 20) + b"\x0a\x00" * (2 << 20),  # names of one input
        b"\x2a"
        + varint((4 << 20) + 5)
        + b"\x2a"
        + varint(4 << 20)
        + b"\x42\x00" * (2 << 20),  # strings of its contents
        b"\x22\x00" * 100_000 + b"\x2a" + varint(4 << 20) + b"\x22\x00" * (2 << 20),  # parameters, and of an input
    ],
    ids=["names", "strings", "parameters"],
)
def test_so_are_millions_of_fields_further_in(inner: bytes) -> None:
    check_fields(inner)
    with pytest.raises(InvalidInput, match="at most 262144 fields"):
        check_fields(inner, ModelInferRequest.DESCRIPTOR)


def test_a_large_tensor_and_many_small_ones_pass() -> None:
    message = ModelInferRequest(model_name="m", model_version="1", id="7")
    message.parameters["timeout"].int64_param = -1
    for index in range(1000):
        message.inputs.add(name=f"x{index}", datatype="FP32", shape=[1])
        message.raw_input_contents.append(b"\0" * 4)
    message.raw_input_contents.append(np.zeros(2 << 20, np.uint8).tobytes())
    check_fields(message.SerializeToString(), ModelInferRequest.DESCRIPTOR)


def test_fields_of_every_kind_are_passed_over() -> None:
    large = b"\x0a\x80\x80\x80\x01" + bytes(2 << 20)  # bytes of 2 MiB
    others = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + b"\x09" + bytes(8) + b"\x0d" + bytes(4)
    check_fields(others + large + others)
    with pytest.raises(InvalidInput):
        check_fields(others * 100_000 + large)


@given(st.binary(max_size=40))
def test_what_is_no_protobuf_is_left_to_the_parser(rubbish: bytes) -> None:
    for descriptor in (None, ModelInferRequest.DESCRIPTOR):
        check_fields(rubbish + b"\xff" * (2 << 20), descriptor)
        check_fields(b"\x0a\x80\x80\x80\x01" + bytes(2 << 20) + rubbish, descriptor)
        check_fields(b"\x2a" + varint(len(rubbish)) + rubbish + b"\x0a\x80\x80\x80\x01" + bytes(2 << 20), descriptor)
