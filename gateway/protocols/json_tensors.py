"""Tensors as JSON values, both ways, and strictly: no value is bent to fit its datatype."""

from __future__ import annotations

import struct
from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np

from adapters.errors import InferenceFailed, InvalidInput
from adapters.tensors import DataType, Tensor, show_shape

_NON_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_STRUCT_CODES = {
    DataType.UINT8: "B",
    DataType.UINT16: "H",
    DataType.UINT32: "I",
    DataType.UINT64: "Q",
    DataType.INT8: "b",
    DataType.INT16: "h",
    DataType.INT32: "i",
    DataType.INT64: "q",
    DataType.FP16: "e",
    DataType.FP32: "f",
    DataType.FP64: "d",
}
_FEW = 64
_MAX_DIMENSIONS = 32
_MAX_SIZE = 2**63 - 1
_KINDS = {"f": "iuf", "i": "iu", "u": "iu", "b": "b", "V": "iuf"}
_EXPECTED = {"f": "numbers", "i": "integers", "u": "integers", "b": "true and false", "V": "numbers"}


def read_shape(value: object, name: str) -> tuple[int, ...]:
    """A tensor's shape from JSON; raises InvalidInput. Nothing is allocated by it."""
    if not isinstance(value, list) or len(value) > _MAX_DIMENSIONS:
        raise InvalidInput(
            f"input '{name}': shape: expected a list of at most {_MAX_DIMENSIONS} sizes, got {_show(value)}"
        )
    for size in value:
        if type(size) is not int or not 0 <= size <= _MAX_SIZE:
            raise InvalidInput(
                f"input '{name}': shape: expected sizes of 0 or more, got {_show(size)} in {_show(value)}"
            )
    return tuple(value)


def read_data(data: object, datatype: DataType, shape: tuple[int, ...], name: str, has_booleans: bool = True) -> Tensor:
    """A tensor from JSON data, flat or nested, in row-major order.

    `has_booleans` False is the caller's word that no `true` or `false` is anywhere in the data, which spares a look at
    every value: numpy would take them for 1 and 0.

    Raises:
        InvalidInput: wrong kind of value, a value that does not fit the datatype, or a count that disagrees with the
            shape.
    """
    if not isinstance(data, list):
        data = [data]
    count = 1
    for size in shape:
        count *= size
    if not has_booleans and len(data) == count and (packed := _packed(data, datatype)) is not None:
        return np.ndarray(shape, datatype.dtype, packed)
    array = _texts(data, name) if datatype is DataType.BYTES else _numbers(data, datatype, name, has_booleans)
    if array.size != count:
        raise InvalidInput(
            f"input '{name}': shape {show_shape(shape)} means {count} elements, but data has {array.size}"
        )
    if array.ndim > 1 and array.shape != shape:
        raise InvalidInput(
            f"input '{name}': data is nested as {show_shape(array.shape)}, but its shape says {show_shape(shape)}"
        )
    return array.reshape(shape)


def _packed(data: list[Any], datatype: DataType) -> bytes | None:
    """Flat numbers as little-endian bytes, or None where that is not what they are.

    What `struct` refuses is what we refuse: strings, null, fractions for integers, numbers out of range. One call does
    what takes numpy four, which is most of the cost of a small request.
    """
    code = _STRUCT_CODES.get(datatype)
    if code is None or not data:
        return None
    try:
        return struct.pack(f"<{len(data)}{code}", *data)
    except (struct.error, OverflowError, TypeError):
        return None


def _numbers(data: list[Any], datatype: DataType, name: str, has_booleans: bool) -> Tensor:
    dtype = datatype.dtype
    if not data:
        return np.empty(0, dtype)
    try:
        array = np.array(data)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"input '{name}': data: rows of different lengths, or nested too deep: {error}") from None
    if array.size == 0:
        return np.empty(array.shape, dtype)
    kind = dtype.kind
    if array.dtype.kind not in _KINDS[kind]:
        raise InvalidInput(_misfit(data, datatype, name))
    if has_booleans and kind != "b" and _first(data, lambda value: isinstance(value, bool)) is not None:
        raise InvalidInput(_misfit(data, datatype, name))
    if array.dtype == dtype:
        return array
    if kind in "iu":
        _check_range(array, datatype, name)
        return array.astype(dtype)
    try:
        with np.errstate(over="raise"):
            return array.astype(dtype)
    except FloatingPointError:
        raise InvalidInput(f"input '{name}': data: a value is too large for {datatype}") from None


def _check_range(array: Tensor, datatype: DataType, name: str) -> None:
    limits = np.iinfo(datatype.dtype)
    low, high = int(array.min()), int(array.max())
    if low < limits.min or high > limits.max:
        wrong = low if low < limits.min else high
        raise InvalidInput(
            f"input '{name}': data: {wrong} does not fit {datatype}, which goes from {limits.min} to {limits.max}"
        )


def _misfit(data: list[Any], datatype: DataType, name: str) -> str:
    fits: dict[str, Callable[[Any], bool]] = {
        "b": lambda value: isinstance(value, bool),
        "i": lambda value: type(value) is int,
        "u": lambda value: type(value) is int,
    }
    kind = datatype.dtype.kind
    fit = fits.get(kind, lambda value: type(value) in (int, float))
    wrong = _first(data, lambda value: not fit(value))
    found = "values of several kinds" if wrong is None else _show(wrong[0])
    return f"input '{name}': data: expected {_EXPECTED[kind]} for {datatype}, got {found}"


def _first(data: list[Any], wanted: Callable[[Any], bool]) -> tuple[Any] | None:
    """The first value (not list) that is wanted, as a tuple of one."""
    pending: list[Any] = [data]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending.extend(reversed(value))
        elif wanted(value):
            return (value,)
    return None


def _texts(data: list[Any], name: str) -> Tensor:
    shape: list[int] = []
    level: list[Any] = data
    while level and isinstance(level[0], list):
        shape.append(len(level))
        if any(not isinstance(each, list) or len(each) != len(level[0]) for each in level):
            raise InvalidInput(f"input '{name}': data: rows of different lengths")
        level = [value for row in level for value in row]
        if not level:
            return np.empty((*shape, 0), np.object_)
    total = len(level)
    array = np.empty(total, np.object_)
    for index, text in enumerate(level):
        if not isinstance(text, str):
            raise InvalidInput(f"input '{name}': data: expected strings for BYTES, got {_show(text)}")
        array[index] = text.encode()
    if shape:
        width = total
        for size in shape:
            width //= size
        return array.reshape((*shape, width))
    return array


def write_data(tensor: Tensor, name: str, non_finite: bool = False) -> Any:
    """A tensor as flat JSON data for orjson: an array that it can serialize, or a list.

    `non_finite` writes what JSON has no number for as "NaN", "Infinity", "-Infinity".

    Raises:
        InferenceFailed: the tensor holds such a value and may not, or bytes that are no UTF-8.
    """
    kind = tensor.dtype.kind
    if kind == "O":
        return [_text(element, name) for element in tensor.ravel()]
    flat = tensor.reshape(-1)
    if kind in "fV" and not _all_finite(flat):
        return _write_non_finite(flat, name, non_finite)
    if kind == "V":  # bfloat16, which JSON shows as what it stands for
        return flat.astype(np.float32)
    return flat if flat.flags.c_contiguous else np.ascontiguousarray(flat)


def _all_finite(flat: Tensor) -> bool:
    # A sum is finite only if all is: for the few numbers of most answers far cheaper than numpy's way.
    if flat.size <= _FEW and isfinite(sum(flat.tolist())):
        return True
    return bool(np.isfinite(flat).all())


def _write_non_finite(tensor: Tensor, name: str, allowed: bool) -> list[float | str]:
    values = tensor.astype(np.float64).ravel().tolist()
    strings = [value if isfinite(value) else _NON_FINITE[str(value)] for value in values]
    if not allowed:
        found = next(value for value in strings if isinstance(value, str))
        raise InferenceFailed(
            f"output '{name}' holds {found}, which JSON has no number for; "
            'ask for it as a string with the request parameter "non_finite": "string"'
        )
    return strings


def non_finite_numbers(data: Any) -> Any:
    """JSON data with the strings "NaN", "Infinity" and "-Infinity" made numbers, at any depth that JSON took."""
    if isinstance(data, list):
        return [non_finite_numbers(value) if isinstance(value, list | str) else value for value in data]
    return float(data) if isinstance(data, str) and data in _NON_FINITE.values() else data


def _text(element: bytes, name: str) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError:
        raise InferenceFailed(
            f"output '{name}' holds bytes that are no UTF-8 text; ask for binary output instead"
        ) from None


def _show(value: object) -> str:
    text = {None: "null", True: "true", False: "false"}.get(value) if isinstance(value, bool | None) else None
    text = text or repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
