"""TF Serving's REST answers: tensors and results to bodies, numbers as that server prints them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, Final

import numpy as np
import orjson

from adapters.errors import InvalidInput
from adapters.tensors import Tensor

_NUMPY: Final = orjson.OPT_SERIALIZE_NUMPY
_NULL: Final = b"null"
_BYTES_SUFFIX: Final = "_bytes"


def encode_predict(outputs: Mapping[str, Tensor], by_row: bool, bare: bool) -> bytes:
    """The body that answers `:predict`; a single output goes without its name.

    Floats have the fewest digits that give the same float of their own width back; NaN and infinities are bare tokens,
    which is not JSON but this dialect. Strings are text, or {"b64": "…"} where their output's name ends in `_bytes` or
    one of them is no UTF-8. `bare` writes rows of one value, [n, 1], as bare values.

    Raises:
        InvalidInput: these outputs have no rows to be written by.
    """
    if not outputs:
        raise InvalidInput("Cannot convert empty tensor map to JSON: the model gives no outputs")
    if bare:
        outputs = {
            name: each.reshape(-1) if each.ndim == 2 and each.shape[1] == 1 else each for name, each in outputs.items()
        }
    if not by_row:
        written = {name: _value(tensor, name) for name, tensor in outputs.items()}
        return _body("outputs", written if len(written) > 1 else next(iter(written.values())))
    rows = _check_rows(outputs)
    if len(outputs) == 1:
        ((name, tensor),) = outputs.items()
        return _body("predictions", _value(tensor, name))
    columns = {name: _value(tensor, name) for name, tensor in outputs.items()}
    return _body("predictions", [{name: column[row] for name, column in columns.items()} for row in range(rows)])


def encode_classes(results: Sequence[Sequence[tuple[str, float]]]) -> bytes:
    """The body that answers `:classify`: for each example its classes, each a label and a float32 score."""
    return _body("results", [[(label, np.float32(score)) for label, score in example] for example in results])


def encode_values(results: Sequence[float]) -> bytes:
    """The body that answers `:regress`: a float32 for each example."""
    return _body("results", np.array(results, np.float32))


def _check_rows(outputs: Mapping[str, Tensor]) -> int:
    """How many rows all outputs have."""
    rows = None
    for name, tensor in outputs.items():
        if tensor.ndim == 0:
            raise InvalidInput(f"Tensor name: {name} has no shape information; ask by column, with 'inputs'")
        if rows not in (None, len(tensor)):
            raise InvalidInput(
                f"Tensor name: {name} has inconsistent batch size: {len(tensor)} expecting: {rows}; "
                "ask by column, with 'inputs'"
            )
        rows = len(tensor)
    return rows or 0


def _body(key: str, value: Any) -> bytes:
    body = orjson.dumps({key: value}, option=_NUMPY)
    # orjson writes null for what JSON has no number for; a byte is found ten times faster than a word. A null inside a
    # text only costs the second look.
    if b"l" not in body or _NULL not in body:
        return body
    return orjson.dumps({key: _with_tokens(value)}, option=_NUMPY)


def _value(tensor: Tensor, name: str) -> Any:
    """What orjson writes as a tensor, its items being the rows: an array, a number, or nested lists of strings."""
    if tensor.dtype.kind == "O":
        return _texts(tensor, name)
    if tensor.dtype.kind == "V":  # bfloat16, which is shown as what it stands for
        tensor = tensor.astype(np.float32)
    return np.ascontiguousarray(tensor) if tensor.ndim else tensor[()]


def _texts(tensor: Tensor, name: str) -> Any:
    elements: list[bytes] = tensor.reshape(-1).tolist()
    written = np.empty(len(elements), np.object_)
    texts = None if name.endswith(_BYTES_SUFFIX) else _decoded(elements)
    written[:] = [{"b64": b64encode(each).decode()} for each in elements] if texts is None else texts
    return written.reshape(tensor.shape).tolist()


def _decoded(elements: list[bytes]) -> list[str] | None:
    """The elements as text; None where one of them is none, for then the form for bytes loses nothing."""
    try:
        return [each.decode() for each in elements]
    except UnicodeDecodeError:
        return None


def _with_tokens(value: Any) -> Any:
    """The same for orjson, with every NaN and infinity as its token."""
    match value:
        case np.ndarray() | np.floating():
            return _tokens(value)
        case dict():
            return {key: _with_tokens(each) for key, each in value.items()}
        case list() | tuple():
            return [_with_tokens(each) for each in value]
    return value


def _tokens(value: Any) -> Any:
    """An array or a number, its nulls replaced in their order."""
    parts = orjson.dumps(value, option=_NUMPY).split(_NULL)
    if len(parts) == 1:
        return value
    flat = np.asarray(value).reshape(-1)
    tokens = [_token(each) for each in flat[~np.isfinite(flat)].tolist()]
    joined = [parts[0]]
    for token, part in zip(tokens, parts[1:], strict=True):
        joined += (token, part)
    return orjson.Fragment(b"".join(joined))


def _token(value: float) -> bytes:
    if isnan(value):
        return b"NaN"
    return b"Infinity" if value > 0 else b"-Infinity"
