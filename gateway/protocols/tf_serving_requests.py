"""TF Serving's REST requests: bodies to tensors and tf.Examples, by the datatypes of a model's signature."""

from __future__ import annotations

import json
import struct
from binascii import a2b_base64
from collections.abc import Mapping, Sequence
from itertools import chain
from reprlib import Repr
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Signature, Tensor, TensorSpec
from adapters.tfserving.examples import Features
from gateway.protocols.json_counts import check_counts
from gateway.protocols.json_tensors import read_data

_MAX_DIMENSIONS: Final = 32
_KINDS: Final = {
    type(None): "Null", bool: "Boolean", dict: "Object", list: "Array", str: "String", int: "Number", float: "Number",
}  # fmt: skip
_INT64: Final = range(-(2**63), 2**63)
_SHOWN: Final = 80
_shorten = Repr()
_shorten.maxlevel = 2


class PredictBody(msgspec.Struct, frozen=True):
    """The body of `:predict`, its model still unknown: `values` are what 'instances' has (`by_row`), or 'inputs'."""

    signature_name: str
    by_row: bool
    values: Any


class PredictInputs(msgspec.Struct, frozen=True):
    """Tensors for a model; `bare` where each row of each was a bare value, and the model takes rows of one."""

    tensors: Mapping[str, Tensor]
    bare: bool


class ExamplesBody(msgspec.Struct, frozen=True):
    """The body of `:classify` and `:regress`; `context` has the features that all examples share."""

    signature_name: str
    examples: Sequence[Features]
    context: Features | None


def decode_predict(body: bytes) -> PredictBody:
    """The body of `POST …:predict`; raises InvalidInput."""
    document = _object(body)
    name = _signature_name(document)
    if "instances" in document:
        if "inputs" in document:
            raise InvalidInput("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist")
        rows = document["instances"]
        if type(rows) is not list:
            raise InvalidInput(f"Expecting 'instances' to be an list/array, got {_kind(rows)}")
        if not rows:
            raise InvalidInput("No values in 'instances' array")
        return PredictBody(name, True, rows)
    if "inputs" in document:
        return PredictBody(name, False, document["inputs"])
    raise InvalidInput("Missing 'inputs' or 'instances' key")


def read_inputs(body: PredictBody, signature: Signature) -> PredictInputs:
    """The tensors that a body has for a model's signature.

    A bare value for each row fits a model that takes rows of one value, [-1, 1]: TF Serving compares no shapes, and its
    own first example is written so.

    Raises:
        InvalidInput: inputs are missing or unknown, rows differ, or a value is not of its input's datatype.
    """
    specs = signature.inputs
    if not specs:
        raise InvalidInput("Failed to get input map for signature: the model takes no inputs")
    columns = _columns(body.values, specs) if body.by_row else _named(body.values, specs)
    tensors: dict[str, Tensor] = {}
    bare = True
    for spec in specs:
        tensor = _read(columns[spec.name], spec)
        if tensor.ndim == 1 and spec.shape is not None and len(spec.shape) == 2 and spec.shape[1] == 1:
            tensor = tensor.reshape(-1, 1)
        else:
            bare = False
        tensors[spec.name] = tensor
    return PredictInputs(tensors, bare)


def decode_examples(body: bytes) -> ExamplesBody:
    """The body of `POST …:classify` and `POST …:regress`; raises InvalidInput."""
    document = _object(body)
    name = _signature_name(document)
    context = _features(document["context"]) if "context" in document else None
    examples = document.get("examples")
    if "examples" not in document:
        raise InvalidInput("When method is classify, key 'examples' is expected and was not found")
    if type(examples) is not list:
        raise InvalidInput(f"Expecting 'examples' value to be an list/array, got {_kind(examples)}")
    if not examples:
        raise InvalidInput("'examples' value is an empty array")
    return ExamplesBody(name, [_features(example) for example in examples], context)


def _object(body: bytes) -> dict[str, Any]:
    if not body:
        raise InvalidInput("JSON Parse error: The document is empty")
    check_counts(body)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        document = _with_non_finite(body, error)
    if type(document) is not dict:
        raise InvalidInput(f"JSON Value: {_show(document)} Is not object")
    return document


def _with_non_finite(body: bytes, error: ValueError) -> Any:
    """A document with the tokens NaN, Infinity and -Infinity, which are this dialect's own."""
    if b"NaN" not in body and b"Infinity" not in body:
        raise InvalidInput(f"JSON Parse error: {error}") from None
    try:
        document = json.loads(body.decode())
        orjson.dumps(document)  # refuses what its parser would have refused: halves of surrogate pairs
    except (ValueError, TypeError, RecursionError):
        raise InvalidInput(f"JSON Parse error: {error}") from None
    return document


def _signature_name(document: Mapping[str, Any]) -> str:
    name = document.get("signature_name", "")
    if type(name) is not str:
        raise InvalidInput(f"'signature_name' key must be a string value, got {_kind(name)}")
    return name


def _columns(rows: list[Any], specs: Sequence[TensorSpec]) -> dict[str, list[Any]]:
    """The row form as one list for each input, with an element for each row."""
    if not _is_named(rows[0]):
        if len(specs) > 1:
            raise InvalidInput(
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                f"tensorinfo_map: {_names(specs)}"
            )
        return {specs[0].name: rows}
    names = {spec.name for spec in specs}
    for index, row in enumerate(rows):
        if type(row) is not dict:
            raise InvalidInput(f"Expecting object but got {_kind(row)} at item {index} of input list")
        if row.keys() != names:
            raise InvalidInput(
                f"Failed to process element: {index} of 'instances' list. JSON object: {_show(row)} keys must "
                f"be equal to: {_names(specs)}"
            )
    return {name: [row[name] for row in rows] for name in names}


def _named(values: Any, specs: Sequence[TensorSpec]) -> Mapping[str, Any]:
    """The column form as one value for each input; keys that are no input's are let be, as TF Serving does."""
    if not _is_named(values):
        if len(specs) > 1:
            raise InvalidInput(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                f"tensorinfo_map: {_names(specs)}"
            )
        return {specs[0].name: values}
    for spec in specs:
        if spec.name not in values:
            raise InvalidInput(f"Missing named input: {spec.name} in 'inputs' object.")
    named: Mapping[str, Any] = values
    return named


def _read(value: Any, spec: TensorSpec) -> Tensor:
    shape: list[int] = []
    inner = value
    while type(inner) is list:
        shape.append(len(inner))
        inner = inner[0] if inner else None
    if spec.datatype is DataType.BYTES:
        return _texts(value, tuple(shape), spec.name)
    return read_data(value, spec.datatype, tuple(shape), spec.name)


def _texts(value: Any, shape: tuple[int, ...], name: str) -> Tensor:
    """Strings, or bytes as {"b64": "…"}, nested as `shape` says."""
    values = [value]
    for size in shape:
        if len(shape) > _MAX_DIMENSIONS or any(type(each) is not list or len(each) != size for each in values):
            raise InvalidInput(f"input '{name}': data: rows of different lengths, or nested too deep")
        values = list(chain.from_iterable(values))
    array = np.empty(len(values), np.object_)
    for index, each in enumerate(values):
        array[index] = _bytes(each, name)
    return array.reshape(shape)


def _bytes(value: Any, name: str) -> bytes:
    if type(value) is str:
        return value.encode()
    if not _is_base64(value):
        raise InvalidInput(
            f"JSON Value: {_show(value)} Type: {_kind(value)} is not of expected type: string; '{name:.80}' "
            'takes "…" and {"b64": "…"}'
        )
    text: str = value["b64"]
    try:
        return a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)  # the end of it may be left out
    except ValueError:
        raise InvalidInput(f"Unable to base64 decode: {_show(text)} of '{name:.80}'") from None


def _is_base64(value: Any) -> bool:
    return type(value) is dict and len(value) == 1 and type(value.get("b64")) is str


def _is_named(value: Any) -> bool:
    return type(value) is dict and not _is_base64(value)


def _features(example: Any) -> Features:
    if type(example) is not dict:
        raise InvalidInput(f"Example must be JSON object but got JSON {_kind(example)}")
    return {name: _feature(name, content) for name, content in example.items()}


def _feature(name: str, content: Any) -> Sequence[int] | Sequence[float] | Sequence[bytes]:
    """The values of one feature: a boolean is 1 or 0, and whole numbers and fractions do not go together."""
    values: list[Any] = []
    for value in content if type(content) is list else [content]:
        if type(value) is str or type(value) is dict:
            read: int | float | bytes = _bytes(value, name)
        elif type(value) is bool or type(value) is int:
            read = int(value)
        elif type(value) is float:
            read = value
        else:
            raise InvalidInput(f"Feature: {name:.80} has element with unexpected JSON type: {_kind(value)}")
        values.append(read)
    if values:
        _check_feature(name, values)
    return values


def _check_feature(name: str, values: Sequence[Any]) -> None:
    kind = type(values[0])
    if any(type(value) is not kind for value in values):
        word = {int: "int64", float: "float", bytes: "bytes"}[kind]
        raise InvalidInput(f"Unexpected element type in feature: {name:.80} expecting type: {word}")
    if kind is int and any(value not in _INT64 for value in values):
        raise InvalidInput(f"Feature: {name:.80} has uint64 element. Only int64 is supported.")
    if kind is float:
        try:
            struct.pack(f"<{len(values)}f", *values)
        except OverflowError:
            raise InvalidInput(f"Feature: {name:.80}: a value is too large for float") from None


def _names(specs: Sequence[TensorSpec]) -> str:
    return ",".join(sorted(spec.name for spec in specs))


def _show(value: object) -> str:
    text = _shorten.repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _kind(value: object) -> str:
    """What a JSON value is, in TF Serving's words."""
    return _KINDS[type(value)]
