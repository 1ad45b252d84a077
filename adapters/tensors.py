"""Tensors are numpy arrays; here are their datatypes, specifications and raw bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import numpy.typing as npt

from adapters.errors import InvalidInput

Tensor: TypeAlias = npt.NDArray[Any]
Tensors: TypeAlias = Mapping[str, Tensor]
Shape: TypeAlias = tuple[int | None, ...]


class DataType(StrEnum):
    """Datatypes of the Open Inference Protocol V2, and BF16 of Triton."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BF16 = "BF16"
    BYTES = "BYTES"

    __hash__ = str.__hash__  # an Enum's own is Python code, and these are looked up several times in each request

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype that carries this datatype; BYTES is an object array of `bytes`."""
        return _DTYPES[self]

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> DataType:
        """The datatype that a numpy dtype carries.

        Raises:
            InvalidInput: no datatype of the protocol stands for it.
        """
        datatype = _DATATYPES.get(dtype)
        if datatype is None:
            raise InvalidInput(f"numpy dtype {dtype} has no datatype in the protocol; expected one of {_known()}")
        return datatype


_DTYPES: dict[DataType, np.dtype[Any]] = {
    DataType.BOOL: np.dtype(np.bool_),
    DataType.UINT8: np.dtype("<u1"),
    DataType.UINT16: np.dtype("<u2"),
    DataType.UINT32: np.dtype("<u4"),
    DataType.UINT64: np.dtype("<u8"),
    DataType.INT8: np.dtype("<i1"),
    DataType.INT16: np.dtype("<i2"),
    DataType.INT32: np.dtype("<i4"),
    DataType.INT64: np.dtype("<i8"),
    DataType.FP16: np.dtype("<f2"),
    DataType.FP32: np.dtype("<f4"),
    DataType.FP64: np.dtype("<f8"),
    DataType.BF16: np.dtype(ml_dtypes.bfloat16),
    DataType.BYTES: np.dtype(np.object_),
}
_DATATYPES = {dtype: datatype for datatype, dtype in _DTYPES.items()}
_NAMED = {str(datatype): datatype for datatype in DataType}
_COPIED_BYTES = 1 << 16


def _known() -> str:
    return ", ".join(DataType)


def datatype_named(name: object) -> DataType:
    """The datatype of that protocol name; raises InvalidInput that lists the known ones."""
    datatype = _NAMED.get(name) if isinstance(name, str) else None
    if datatype is None:
        raise InvalidInput(f"unknown datatype {name!r:.40}; expected one of {_known()}")
    return datatype


def show_shape(shape: Shape | None) -> str:
    """A shape as clients write it: -1 stands for any size."""
    if shape is None:
        return "any shape"
    return "[" + ", ".join("-1" if size is None else str(size) for size in shape) + "]"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a model asks of one tensor.

    `shape` includes the batch axis; None as a size is any size, None as the whole shape is any rank.
    """

    name: str
    datatype: DataType
    shape: Shape | None

    def check(self, tensor: Tensor) -> None:
        """Raises InvalidInput where datatype, rank or a size differs from this specification."""
        if tensor.dtype != _DTYPES[self.datatype]:
            got = _DATATYPES.get(tensor.dtype, tensor.dtype)
            raise InvalidInput(f"input '{self.name}': expected datatype {self.datatype}, got {got}")
        shape = self.shape
        if shape is None:
            return
        if len(shape) != tensor.ndim:
            raise InvalidInput(
                f"input '{self.name}': expected {len(shape)} dimensions, shape {show_shape(shape)}, "
                f"got {tensor.ndim}, shape {show_shape(tensor.shape)}"
            )
        for axis, (expected, got_size) in enumerate(zip(shape, tensor.shape, strict=True)):
            if expected is not None and expected != got_size:
                raise InvalidInput(
                    f"input '{self.name}': expected shape {show_shape(shape)}, got {show_shape(tensor.shape)}: "
                    f"axis {axis} must be {expected}, not {got_size}"
                )


@dataclass(frozen=True, slots=True)
class Signature:
    """The tensors that a deployment takes and gives, in the model's order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def check(self, tensors: Tensors) -> None:
        """Raises InvalidInput that names the first tensor that is missing, unknown or of the wrong kind."""
        for spec in self.inputs:
            tensor = tensors.get(spec.name)
            if tensor is None:
                raise InvalidInput(f"input '{spec.name}' is missing; {self._wanted()}, got {_names(tensors)}")
            spec.check(tensor)
        if len(tensors) != len(self.inputs):
            known = {spec.name for spec in self.inputs}
            extra = next(name for name in tensors if name not in known)
            raise InvalidInput(f"input {extra!r:.80} is unknown; {self._wanted()}")

    def check_outputs(self, names: tuple[str, ...]) -> None:
        """Raises InvalidInput where a requested output is none of the model's."""
        known = {spec.name for spec in self.outputs}
        for name in names:
            if name not in known:
                raise InvalidInput(f"output {name!r:.80} is unknown; the model gives {', '.join(sorted(known))}")

    def rows(self, tensors: Tensors) -> int:
        """How many rows inputs have: the size of the first one's axis 0, or one where the model fixes that."""
        if not self.inputs:
            return 1
        spec = self.inputs[0]
        free = spec.shape is None or (spec.shape and spec.shape[0] is None)
        tensor = tensors.get(spec.name) if free else None
        return tensor.shape[0] if tensor is not None and tensor.ndim else 1

    def _wanted(self) -> str:
        return "the model takes " + ", ".join(
            f"'{spec.name}' {spec.datatype} {show_shape(spec.shape)}" for spec in self.inputs
        )


def _names(tensors: Tensors) -> str:
    return ", ".join(f"{name!r:.80}" for name in list(tensors)[:16]) or "no inputs"


def to_bytes(tensor: Tensor) -> bytes | memoryview:
    """Row-major little-endian bytes; BYTES elements each behind their 4-byte little-endian length.

    This is the layout of V2's binary_tensor_data extension.
    """
    if tensor.dtype.hasobject:
        parts: list[bytes] = []
        for element in tensor.ravel():
            parts.append(struct.pack("<I", len(element)))
            parts.append(element)
        return b"".join(parts)
    if tensor.nbytes <= _COPIED_BYTES:
        return tensor.tobytes()  # a copy of a small tensor costs less than a view of it
    contiguous = np.ascontiguousarray(tensor)
    # A memoryview of bfloat16 has a format that bytes-like consumers refuse.
    return contiguous.reshape(-1).view(np.uint8).data


def from_bytes(datatype: DataType, shape: tuple[int, ...], data: bytes | memoryview) -> Tensor:
    """The inverse of `to_bytes`, without a copy where the datatype allows it.

    Raises:
        InvalidInput: the number of bytes disagrees with the shape, the shape is none that an array can have, or a
            byte of a BOOL is neither 0 nor 1.
    """
    dtype = _DTYPES[datatype]
    count = 1
    for size in shape:
        count *= size
    if datatype is not DataType.BYTES and len(data) != count * dtype.itemsize:
        raise InvalidInput(
            f"expected {count * dtype.itemsize} bytes for {datatype} {show_shape(shape)}, got {len(data)}"
        )
    try:
        if datatype is DataType.BYTES:
            return _bytes_elements(data, count).reshape(shape)
        if not count:
            return np.empty(shape, dtype)
        if datatype is DataType.BOOL and np.frombuffer(data, np.uint8).max() > 1:
            raise InvalidInput("expected bytes of 0 and 1 for BOOL, got another")
        return np.ndarray(shape, dtype, data)
    except ValueError as error:  # sizes below 0, or beyond all memory where another is 0
        raise InvalidInput(f"shape {show_shape(shape)}: {error}") from None


def _bytes_elements(data: bytes | memoryview, count: int) -> Tensor:
    # Every element takes at least its length, so a claim of more elements than that is refused before allocation.
    if count * 4 > len(data):
        raise InvalidInput(f"expected {count} BYTES elements, but {len(data)} bytes hold at most {len(data) // 4}")
    elements = np.empty(count, np.object_)
    view = memoryview(data)
    offset = 0
    for index in range(count):
        start = offset + 4
        end = start + int.from_bytes(view[offset:start], "little") if start <= len(view) else len(view) + 1
        if end > len(view):
            raise InvalidInput(f"BYTES element {index} runs past the {len(view)} bytes that were sent")
        elements[index] = bytes(view[start:end])
        offset = end
    if offset != len(view):
        raise InvalidInput(f"{len(view) - offset} bytes are left over after {count} BYTES elements")
    return elements
