"""Tensors as JSON values, both ways, and strictly: no value is bent to fit its datatype."""

from __future__ import annotations

import struct
from itertools import chain
from math import isfinite, prod
from reprlib import Repr
from typing import Any

import numpy as np
from msgspec import Struct, ValidationError, convert

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Tensor, show_shape

_NON_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_WORDS = {word: float(number) for number, word in _NON_FINITE.items()}
_STRUCT_CODES = {
    DataType.BOOL: "?",
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


class _Booleans(Struct, array_like=True):
    values: list[bool]


class _Integers(Struct, array_like=True):
    values: list[int]


class _Numbers(Struct, array_like=True):
    values: list[int | float]


_KINDS: dict[str, type[Struct]] = {"b": _Booleans, "i": _Integers, "u": _Integers, "f": _Numbers, "V": _Numbers}


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
    *,
    non_finite: bool = False,
) -> Tensor:
    """A tensor from JSON data, flat or nested, in row-major order; not to be written to.

    `non_finite` takes "NaN", "Infinity" and "-Infinity" for numbers.

    Raises:
        InvalidInput: wrong kind of value, a value that does not fit the datatype, or a count that disagrees with the
            shape.
    """
    values = data if isinstance(data, list) else [data]
    nested: tuple[int, ...] = ()
    if values and type(values[0]) is list:
        values, nested = _flatten(values, name)
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
        return np.ndarray(shape, datatype.dtype, _packed(values, datatype, name, non_finite))
    except ValueError as error:  # sizes beyond all memory, where another is 0
        raise InvalidInput(f"input '{name}': shape {show_shape(shape)}: {error}") from None


def _flatten(data: list[Any], name: str) -> tuple[list[Any], tuple[int, ...]]:
    """The values of nested lists, and how these are nested."""
    shape = [len(data)]
    while data and type(data[0]) is list:
        width = len(data[0])
        if len(shape) == _MAX_DIMENSIONS or set(map(type, data)) != {list} or set(map(len, data)) != {width}:
            raise InvalidInput(f"input '{name}': data: rows of different lengths, or nested too deep")
        shape.append(width)
        data = list(chain.from_iterable(data))
    return data, tuple(shape)


def _packed(values: list[Any], datatype: DataType, name: str, non_finite: bool) -> bytes:
    """Numbers as little-endian bytes.

    What `msgspec` and `struct` refuse is what we refuse: the one booleans, strings and null, the other fractions for
    integers and numbers out of range. Each looks at a value once, in C. numpy would give every number of a list the
    width of its longest string: a small request for gigabytes.
    """
    expected = _KINDS[datatype.dtype.kind]
    if non_finite and not _are(values, expected):
        values = [_WORDS.get(value, value) if type(value) is str else value for value in values]
    if not _are(values, expected):
        raise InvalidInput(_misfit(values, datatype, name))
    try:
        packed = struct.pack(f"<{len(values)}{_STRUCT_CODES[datatype]}", *values)
    except (struct.error, OverflowError):
        raise InvalidInput(_misfit(values, datatype, name)) from None
    return _narrowed(packed, name) if datatype is _BFLOAT16 else packed


def _are(values: list[Any], expected: type[Struct]) -> bool:
    """Whether all values are of a kind; a boolean is no number, and 1.0 no integer."""
    try:
        convert((values,), expected)  # msgspec learns a Struct once, and a bare `list[int]` at every call
    except ValidationError:
        return False
    return True


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
        InvalidInput: the tensor holds such a value and may not, or bytes that are no UTF-8: to be asked for otherwise.
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


def _write_non_finite(flat: Tensor, name: str, allowed: bool) -> list[float | str]:
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN like others
        wide = flat.astype(np.float64)
    values: list[float | str] = wide.tolist()
    for index in np.flatnonzero(~np.isfinite(wide)).tolist():
        values[index] = word = _NON_FINITE[str(values[index])]
        if not allowed:
            raise InvalidInput(
                f"output '{name}' holds {word}, which JSON has no number for; "
                'ask for binary output, or for a string with the request parameter "non_finite": "string"'
            )
    return values


def _text(element: bytes, name: str) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError:
        raise InvalidInput(
            f"output '{name}' holds bytes that are no UTF-8 text; ask for binary output instead"
        ) from None


def _show(value: object) -> str:
    text = {None: "null", True: "true", False: "false"}.get(value) if isinstance(value, bool | None) else None
    text = text or _shorten.repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
