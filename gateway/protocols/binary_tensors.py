"""V2's extension `binary_tensor_data`: a JSON head, then the tensors' bytes in order (kserve, Triton)."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import msgspec

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Signature, Tensor, TensorSpec, from_bytes, show_shape

HEADER = b"inference-header-content-length"
MAX_STRINGS = 1 << 20
"""Elements of BYTES in one tensor; each is an object of its own."""


def split(body: bytes, length: bytes | None) -> tuple[bytes, memoryview]:
    """The JSON head and the tensors' bytes of a body; `length` is the header's value, None where it is absent.

    Raises:
        InvalidInput: the header is no number, or points beyond the body.
    """
    if length is None:
        return body, memoryview(b"")
    if not length.isdigit() or len(length) > 18:
        raise InvalidInput(f"Inference-Header-Content-Length: expected a number of bytes, got {length[:40]!r}")
    size = int(length)
    if size > len(body):
        raise InvalidInput(
            f"Inference-Header-Content-Length: expected at most the body's {len(body)} bytes, got {size}"
        )
    return body[:size], memoryview(body)[size:]


class Blob(msgspec.Struct, frozen=True):
    """A tensor whose `size` bytes lie behind the JSON."""

    datatype: DataType
    shape: tuple[int, ...]
    size: int


def binary_size(size: object, name: str) -> int:
    """The parameter `binary_data_size` of an input; raises InvalidInput where it is no number of bytes."""
    if type(size) is not int or size < 0:
        raise InvalidInput(f"input '{name}': binary_data_size: expected a number of bytes, got {size!r:.40}")
    return size


def read_blobs(inputs: Mapping[str, Tensor | Blob], data: memoryview) -> dict[str, Tensor]:
    """The inputs, with what lies in `data`, in order, as views of it.

    Raises:
        InvalidInput: the bytes disagree with a shape, or do not end with the tensors.
    """
    tensors: dict[str, Tensor] = {}
    offset = 0
    for name, each in inputs.items():
        if type(each) is not Blob:
            tensors[name] = each  # type: ignore[assignment]  # an array: `isinstance` costs more than the rest
            continue
        end = offset + each.size
        if end > len(data):
            raise InvalidInput(
                f"input '{name:.80}': binary_data_size is {each.size}, but the body has only {len(data) - offset} "
                "bytes left"
            )
        tensors[name] = _tensor(each.datatype, each.shape, data[offset:end], name[:80])
        offset = end
    if left := len(data) - offset:
        raise InvalidInput(f"body: {left} bytes are left over after the tensors; check each binary_data_size")
    return tensors


def read_elements(datatype: DataType, shape: tuple[int, ...], data: bytes | memoryview) -> Tensor:
    """A caller's tensor from its bytes, as a view of them where the datatype allows it.

    Raises:
        InvalidInput: the bytes disagree with the shape, or are more texts than can be taken apart in time.
    """
    if datatype is DataType.BYTES and (count := prod(shape)) > MAX_STRINGS:
        raise InvalidInput(f"expected at most {MAX_STRINGS} BYTES elements, got {count}; send fewer rows at a time")
    return from_bytes(datatype, shape, data)


def _tensor(datatype: DataType, shape: tuple[int, ...], data: memoryview, name: str) -> Tensor:
    try:
        return read_elements(datatype, shape, data)
    except InvalidInput as error:
        raise InvalidInput(f"input '{name}': {error}") from None


def raw_input(signature: Signature, body: bytes) -> dict[str, Tensor]:
    """The only input of a model from a body that is nothing but its bytes (header length 0).

    A batch axis is 1 where the body does not decide it; BYTES is one element.

    Raises:
        InvalidInput: the model has several inputs or too many free sizes, or the bytes do not fit.
    """
    if len(signature.inputs) != 1:
        names = ", ".join(spec.name for spec in signature.inputs)
        raise InvalidInput(f"a raw body is for models of one input, and this one has {len(signature.inputs)}: {names}")
    spec = signature.inputs[0]
    if spec.datatype is DataType.BYTES:
        framed = len(body).to_bytes(4, "little") + body
        shape = tuple(1 if size is None else size for size in spec.shape) if spec.shape is not None else (1,)
        return {spec.name: _tensor(spec.datatype, shape, memoryview(framed), spec.name)}
    return {spec.name: _tensor(spec.datatype, _raw_shape(spec, len(body)), memoryview(body), spec.name)}


def _raw_shape(spec: TensorSpec, length: int) -> tuple[int, ...]:
    item = spec.datatype.dtype.itemsize
    sizes: list[int | None] = list((None,) if spec.shape is None else spec.shape)
    free = [axis for axis, size in enumerate(sizes) if size is None]
    if len(free) == 2 and free[0] == 0:
        sizes[0] = 1
        free = free[1:]
    if len(free) > 1:
        raise InvalidInput(
            f"input '{spec.name}': a raw body leaves at most one size open, and {show_shape(spec.shape)} has "
            f"{len(free)}; send its shape in a JSON head"
        )
    known = item
    for size in sizes:
        known *= 1 if size is None else size
    if free:
        count, rest = divmod(length, known) if known else (0, length)
        if rest:
            raise InvalidInput(
                f"input '{spec.name}': expected a multiple of {known} bytes for {spec.datatype} "
                f"{show_shape(spec.shape)}, got {length}"
            )
        sizes[free[0]] = count
    return tuple(size or 0 for size in sizes)


def wanted_as_binary(parameters: Mapping[str, Any], key: str, where: str) -> bool | None:
    """The flag `binary_data` or `binary_data_output`, None where it is absent; raises InvalidInput."""
    flag = parameters.get(key)
    if flag is not None and type(flag) is not bool:
        raise InvalidInput(f"{where}.{key}: expected true or false, got {flag!r:.40}")
    return flag
