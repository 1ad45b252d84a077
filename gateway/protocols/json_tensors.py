"""Tensors as JSON values, both ways, and strictly: no value is bent to fit its datatype."""

from __future__ import annotations

import struct
from itertools import chain
from math import isfinite, prod
from reprlib import Repr
from typing import Any

import numpy as np

from adapters.errors import InferenceFailed, InvalidInput
from adapters.tensors import DataType, Tensor, show_shape

_NON_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_NUMBERS = {text: float(number) for number, text in _NON_FINITE.items()}
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
    DataType.BF16: "f",
}
_BFLOAT16 = DataType.BF16
_FEW = 64
_MOST_BESIDE_ZERO = 1 << 24
_MAX_DIMENSIONS = 32
_MAX_SIZE = 2**63 - 1
_EXPECTED = {"f": "numbers", "i": "integers", "u": "integers", "b": "true and false", "V": "numbers"}
_shorten = Repr()
_shorten.maxstring = _shorten.maxother = 80


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
    if 0 in value and prod(size for size in value if size) > _MOST_BESIDE_ZERO:
        # Nothing has to be sent for it, and a model with two free axes may still take memory for each of them.
        raise InvalidInput(
            f"input '{name}': shape: expected the sizes beside a 0 to multiply to at most {_MOST_BESIDE_ZERO}, "
            f"got {_show(value)}"
        )
    return tuple(value)


def read_data(
    data: object,
    datatype: DataType,
    shape: tuple[int, ...],
    name: str,
    has_booleans: bool = True,
    non_finite: bool = False,
) -> Tensor:
    """A tensor from JSON data, flat or nested, in row-major order; not to be written to.

    `has_booleans` False is the caller's word that no `true` or `false` is anywhere in the data, which spares a look at
    every value: they would be taken for 1 and 0. `non_finite` takes "NaN", "Infinity" and "-Infinity" for numbers.

    Raises:
        InvalidInput: wrong kind of value, a value that does not fit the datatype, or a count that disagrees with the
            shape.
    """
    values = data if isinstance(data, list) else [data]
    nested: tuple[int, ...] = ()
    if values and type(values[0]) is list:
        values, nested = _flatten(values, name)
    if non_finite:
        values = [_NUMBERS.get(value, value) if type(value) is str else value for value in values]
    count = prod(shape)
    if len(values) != count:
        raise InvalidInput(
            f"input '{name}': shape {show_shape(shape)} means {count} elements, but data has {len(values)}"
        )
    if nested and nested != (shape if count else shape[: len(nested)]):  # no lists go below a 0
        raise InvalidInput(
            f"input '{name}': data is nested as {show_shape(nested)}, but its shape says {show_shape(shape)}"
        )
    try:
        if datatype is DataType.BYTES:
            return _texts(values, name).reshape(shape)
        if not count:
            return np.empty(shape, datatype.dtype)
        return np.ndarray(shape, datatype.dtype, _packed(values, datatype, name, has_booleans))
    except ValueError as error:  # sizes beyond all memory, where another is 0
        raise InvalidInput(f"input '{name}': shape {show_shape(shape)}: {error}") from None


def _flatten(data: list[Any], name: str) -> tuple[list[Any], tuple[int, ...]]:
    """The values of nested lists, and how these are nested."""
    shape = [len(data)]
    while data and type(data[0]) is list:
        width = len(data[0])
        if len(shape) == _MAX_DIMENSIONS or any(type(row) is not list or len(row) != width for row in data):
            raise InvalidInput(f"input '{name}': data: rows of different lengths, or nested too deep")
        shape.append(width)
        data = list(chain.from_iterable(data))
    return data, tuple(shape)


def _packed(values: list[Any], datatype: DataType, name: str, has_booleans: bool) -> bytes:
    """Numbers as little-endian bytes.

    What `struct` refuses is what we refuse: strings, null, fractions for integers, numbers out of range. numpy would
    give every number of a list the width of its longest string: a small request for gigabytes.
    """
    if datatype is DataType.BOOL:
        if not all(type(value) is bool for value in values):
            raise InvalidInput(_misfit(values, datatype, name))
        return bytes(values)
    if has_booleans and any(type(value) is bool for value in values):
        raise InvalidInput(_misfit(values, datatype, name))
    try:
        packed = struct.pack(f"<{len(values)}{_STRUCT_CODES[datatype]}", *values)
    except (struct.error, OverflowError, TypeError):
        raise InvalidInput(_misfit(values, datatype, name)) from None
    return _narrowed(packed, name) if datatype is _BFLOAT16 else packed


def _narrowed(packed: bytes, name: str) -> bytes:
    wide = np.frombuffer(packed, np.float32)
    with np.errstate(over="ignore"):
        narrow = wide.astype(_BFLOAT16.dtype)
    if (np.isinf(narrow) & ~np.isinf(wide)).any():
        raise InvalidInput(f"input '{name}': data: a value is too large for {_BFLOAT16}")
    return narrow.tobytes()


def _misfit(values: list[Any], datatype: DataType, name: str) -> str:
    """Which value it was that could not be taken, and why."""
    kind = datatype.dtype.kind
    kinds: tuple[type, ...] = {"b": (bool,), "i": (int,), "u": (int,)}.get(kind, (int, float))
    for value in values:
        if type(value) not in kinds:
            return f"input '{name}': data: expected {_EXPECTED[kind]} for {datatype}, got {_show(value)}"
    if kind not in "iu":
        return f"input '{name}': data: a value is too large for {datatype}"
    limits = np.iinfo(datatype.dtype)
    wrong = next(value for value in values if not limits.min <= value <= limits.max)
    return f"input '{name}': data: {wrong} does not fit {datatype}, which goes from {limits.min} to {limits.max}"


def _texts(values: list[Any], name: str) -> Tensor:
    array = np.empty(len(values), np.object_)
    for index, text in enumerate(values):
        if type(text) is not str:
            raise InvalidInput(f"input '{name}': data: expected strings for BYTES, got {_show(text)}")
        array[index] = text.encode()
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
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN like others
        values = tensor.astype(np.float64).ravel().tolist()
    strings = [value if isfinite(value) else _NON_FINITE[str(value)] for value in values]
    if not allowed:
        found = next(value for value in strings if isinstance(value, str))
        raise InferenceFailed(
            f"output '{name}' holds {found}, which JSON has no number for; "
            'ask for it as a string with the request parameter "non_finite": "string"'
        )
    return strings


def _text(element: bytes, name: str) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError:
        raise InferenceFailed(
            f"output '{name}' holds bytes that are no UTF-8 text; ask for binary output instead"
        ) from None


def _show(value: object) -> str:
    text = {None: "null", True: "true", False: "false"}.get(value) if isinstance(value, bool | None) else None
    text = text or _shorten.repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
