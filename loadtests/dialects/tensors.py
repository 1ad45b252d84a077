"""Datatypes by the names that V2 has for them, and tensors as bytes."""

from __future__ import annotations

import struct
from math import prod
from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from loadtests.dialects.reply import WrongAnswer

Array = NDArray[Any]

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "BYTES": np.dtype(np.object_),
}
"""V2's datatypes; BYTES are arrays of Python's bytes."""

_MOST_ELEMENTS: Final = 1 << 26
_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}


def datatype(tensor: Array) -> str:
    """V2's name of a tensor's datatype; raises ValueError where it has none."""
    name = _NAMES.get(tensor.dtype)
    if name is None:
        raise ValueError(f"datatype: expected one of {', '.join(DTYPES)}, got numpy's {tensor.dtype}")
    return name


def to_bytes(tensor: Array) -> bytes:
    """Row-major and little-endian, as V2's binary tensors are; each of BYTES behind its length."""
    if tensor.dtype.hasobject:
        return b"".join(struct.pack("<I", len(each)) + each for each in tensor.ravel())
    return np.ascontiguousarray(tensor).tobytes()


def from_bytes(data: bytes, name: str, shape: tuple[int, ...]) -> Array:
    """The way back; `name` is V2's of the datatype. Raises WrongAnswer where data and shape do not fit."""
    dtype = dtype_of(name)
    if name == "BYTES":
        return shaped(_elements(data), shape)
    if len(data) != prod(shape) * dtype.itemsize:
        raise WrongAnswer(f"{name} {list(shape)} takes {prod(shape) * dtype.itemsize} bytes, and got {len(data)}")
    return np.frombuffer(data, dtype).reshape(shape)


def checked(shape: list[Any]) -> tuple[int, ...]:
    """A shape that an answer gives; raises WrongAnswer where it is none, or of more than any answer holds."""
    sizes = all(isinstance(size, int) and 0 <= size <= _MOST_ELEMENTS for size in shape)
    if not sizes or prod(shape) > _MOST_ELEMENTS:
        raise WrongAnswer(f"shape: expected sizes, {_MOST_ELEMENTS} elements in all at most, got {str(shape)[:200]}")
    return tuple(shape)


def dtype_of(name: str) -> np.dtype[Any]:
    """Numpy's for V2's name; raises WrongAnswer where there is no such datatype."""
    if name not in DTYPES:
        raise WrongAnswer(f"datatype: expected one of {', '.join(DTYPES)}, got {name!r:.80}")
    return DTYPES[name]


def shaped(elements: list[bytes], shape: tuple[int, ...]) -> Array:
    """A tensor of BYTES; raises WrongAnswer where their number and the shape do not fit."""
    if len(elements) != prod(shape):
        raise WrongAnswer(f"BYTES {list(shape)} has {prod(shape)} elements, and got {len(elements)}")
    tensor = np.empty(len(elements), np.object_)
    tensor[:] = elements
    return tensor.reshape(shape)


def _elements(data: bytes) -> list[bytes]:
    elements, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at) if at + 4 <= len(data) else (len(data),)
        at += 4 + size
        if at > len(data):
            raise WrongAnswer("an element of BYTES goes beyond the data")
        elements.append(data[at - size : at])
    return elements
