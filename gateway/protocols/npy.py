"""One tensor as a .npy file, numpy's own format, read without numpy's reader: that evaluates the file's header."""

from __future__ import annotations

import io
import re
import sys
from math import prod
from typing import Any, Final

import numpy as np

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Tensor, TensorSpec, from_bytes, show_shape
from gateway.protocols.json_tensors import read_shape

MAGIC: Final = b"\x93NUMPY"
"""What every .npy file begins with."""

_LENGTH_BYTES: Final = {1: 2, 2: 4, 3: 4}
_MAX_HEADER_BYTES: Final = 4096
# The header is Python's literal of a dict. Python's parser of literals can be made to use up its stack; three values
# need no parser.
_ENTRY: Final = re.compile(
    r"\s*(['\"])(?P<key>descr|fortran_order|shape)\1\s*:\s*"
    r"(?:(['\"])(?P<descr>[^'\"]{1,64})\3|(?P<order>True|False)|\((?P<shape>[0-9L,\s]*)\))\s*(?:,|$)"
)
_DESCR: Final = re.compile(r"(?P<order>[<>=|]?)(?P<kind>[biufSUV])(?P<size>[0-9]{1,9})")
_SIZE: Final = re.compile(r"\s*([0-9]{1,19})L?\s*(?:,|$)")
_TEXTS: Final = "SU"
_MAX_STRINGS: Final = 1 << 20


def read_npy(data: bytes, spec: TensorSpec) -> Tensor:
    """The array of a .npy file, of the input's own datatype; not to be written to. Either byte order will do.

    BYTES take arrays of fixed-width strings (numpy's S and U), BF16 takes what numpy saves of bfloat16 (V2).

    Raises:
        InvalidInput: it is no .npy file, of another datatype (an object array would be code), or its shape claims
            another number of bytes than there are.
    """
    where = f"input '{spec.name:.80}'"
    header, offset = _header(data, where)
    descr, fortran, shape = _entries(header, where)
    shape = read_shape(list(shape), spec.name[:80])
    dtype = _dtype(descr, spec, where)
    content = memoryview(data)[offset:]
    if len(content) != prod(shape) * dtype.itemsize:
        raise InvalidInput(
            f"{where}: .npy: {descr!r} {show_shape(shape)} means {prod(shape) * dtype.itemsize} bytes of data, "
            f"got {len(content)}"
        )
    stored = shape[::-1] if fortran else shape
    if dtype.kind in _TEXTS:
        tensor = _texts(content, dtype, stored, where)
    else:
        if dtype.byteorder == ">":
            content = memoryview(np.frombuffer(content, dtype).byteswap().tobytes())
        try:
            tensor = from_bytes(spec.datatype, stored, content)
        except InvalidInput as error:
            raise InvalidInput(f"{where}: .npy: {error}") from None
    return np.ascontiguousarray(tensor.transpose()).reshape(shape) if fortran else tensor


def _header(data: bytes, where: str) -> tuple[str, int]:
    """The header's text, and where the data begins."""
    length_bytes = _LENGTH_BYTES.get(data[6]) if data.startswith(MAGIC) and len(data) > 7 else None
    if length_bytes is None:
        raise InvalidInput(f"{where}: expected a .npy file of format 1, 2 or 3, got another, or none")
    begin = 8 + length_bytes
    length = int.from_bytes(data[8:begin], "little")
    if length > _MAX_HEADER_BYTES:
        raise InvalidInput(f"{where}: .npy: expected a header of at most {_MAX_HEADER_BYTES} bytes, got {length}")
    if len(data) < begin + length:
        raise InvalidInput(f"{where}: .npy: it ends in its header")
    return data[begin : begin + length].decode("latin-1").strip(), begin + length


def _entries(header: str, where: str) -> tuple[str, bool, tuple[int, ...]]:
    """`descr`, `fortran_order` and `shape`."""
    found: dict[str, Any] = {}
    body = header[1:-1].rstrip() if header.startswith("{") and header.endswith("}") else ""
    position = 0
    while match := _ENTRY.match(body, position):
        position = match.end()
        found[match["key"]] = match["descr"] or match["order"] or match["shape"]
        if position == len(body):
            break
    descr, order, shape = found.get("descr"), found.get("fortran_order"), found.get("shape")
    sizes = None if shape is None else _sizes(shape)
    if position != len(body) or descr is None or order not in ("True", "False") or sizes is None:
        raise InvalidInput(
            f"{where}: .npy: expected a header of descr, fortran_order and shape, of a plain array with a number "
            f"type of numpy's own, got {header!r:.200}; save the array as one number type, with allow_pickle=False"
        )
    return descr, order == "True", sizes


def _sizes(text: str) -> tuple[int, ...] | None:
    """The sizes of a shape; None where there is anything else."""
    sizes: list[int] = []
    position = 0
    while position < len(text):
        match = _SIZE.match(text, position)
        if match is None:
            return None if text[position:].strip() else tuple(sizes)
        sizes.append(int(match[1]))
        position = match.end()
    return tuple(sizes)


def _dtype(descr: str, spec: TensorSpec, where: str) -> np.dtype[Any]:
    match = _DESCR.fullmatch(descr)
    if match is None:
        raise InvalidInput(f"{where}: .npy: expected an array of {spec.datatype}, got dtype {descr!r}")
    try:
        dtype = np.dtype(descr)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(f"{where}: .npy: numpy has no dtype {descr!r}") from None
    if spec.datatype is DataType.BYTES:
        fits, wanted = dtype.kind in _TEXTS and dtype.itemsize > 0, "strings (numpy's S or U)"
    elif spec.datatype is DataType.BF16:
        fits, wanted = dtype.kind == "V" and dtype.itemsize == 2, "bfloat16 (V2)"
    else:
        fits, wanted = dtype.newbyteorder("<") == spec.datatype.dtype, str(spec.datatype.dtype.name)
    if not fits:
        raise InvalidInput(
            f"{where}: .npy: expected {spec.datatype}, an array of {wanted}, got dtype {descr!r}"
            + ("" if dtype.kind in "SUV" else f"; convert it first: array.astype({wanted!r})")
        )
    return dtype


def _texts(content: memoryview, dtype: np.dtype[Any], shape: tuple[int, ...], where: str) -> Tensor:
    """Fixed-width strings as bytes; the padding behind each is not part of it."""
    if (count := prod(shape)) > _MAX_STRINGS:
        raise InvalidInput(f"{where}: .npy: expected at most {_MAX_STRINGS} strings, got {count}; send fewer rows")
    if dtype.kind == "U" and count and np.frombuffer(content, f"{dtype.byteorder}u4").max(initial=0) > sys.maxunicode:
        raise InvalidInput(f"{where}: .npy: a string is no Unicode text")  # numpy itself would fail, and not gracefully
    values = np.frombuffer(content, dtype).tolist() if count else []
    try:
        elements = [value.encode() if isinstance(value, str) else value for value in values]
    except UnicodeError:
        raise InvalidInput(f"{where}: .npy: a string is no Unicode text") from None
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array.reshape(shape)


def write_npy(tensor: Tensor) -> bytes:
    """A tensor as a .npy file of format 1, in row-major order; BF16 as numpy saves it, V2.

    Raises:
        InvalidInput: its elements are bytes of any length, which the format has only as code.
    """
    if tensor.dtype.hasobject:
        raise InvalidInput("expected an output of numbers for application/x-npy; ask for JSON, or for V2's binary data")
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(tensor, order="C"), version=(1, 0), allow_pickle=False)
    return file.getvalue()
