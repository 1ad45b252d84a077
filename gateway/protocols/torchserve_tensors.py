"""Predictions for models that take tensors: documents and forms to tensors, answers to JSON or .npy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from adapters.errors import InvalidInput
from adapters.tensors import Signature, Tensor, Tensors, TensorSpec, show_shape
from gateway.protocols.form_fields import is_form, read_fields
from gateway.protocols.json_counts import check_counts
from gateway.protocols.json_tensors import read_data, write_data
from gateway.protocols.npy import MAGIC, read_npy, write_npy

NPY: Final = b"application/x-npy"
_JSON: Final = b"application/json"
_WHOLE: Final = ("data", "body")
_MAX_DIMENSIONS: Final = 32


class Inputs(msgspec.Struct, frozen=True):
    """Tensors for a model; `one_row` where a batch axis was added, which is to be taken off the answer again."""

    tensors: Tensors
    one_row: bool = False


def decode_body(content_type: bytes, body: bytes, signature: Signature) -> Inputs:
    """The inputs in a request's body: a JSON list or object, a .npy file, or a form of these.

    Raises:
        InvalidInput: names the field, what was expected and what was got.
    """
    if is_form(content_type, body):
        return decode_fields(read_fields(content_type, body), signature)
    return _as_batch(_read_document(body, signature), signature)


def decode_fields(fields: Mapping[str, bytes], signature: Signature) -> Inputs:
    """The inputs in fields: one for each input, by its name, or all of them in the field `data` (or `body`).

    Raises:
        InvalidInput: as `decode_body`.
    """
    specs = {spec.name: spec for spec in signature.inputs}
    if len(fields) == 1:
        ((name, content),) = fields.items()
        if name in _WHOLE and name not in specs:
            return _as_batch(_read_document(content, signature), signature)
    tensors = {}
    for name, content in fields.items():
        spec = _spec(name, specs)
        tensors[name] = read_npy(content, spec) if content.startswith(MAGIC) else _read_value(_parse(content), spec)
    return _as_batch(tensors, signature)


def _read_document(content: bytes, signature: Signature) -> dict[str, Tensor]:
    specs = {spec.name: spec for spec in signature.inputs}
    if content.startswith(MAGIC):
        spec = _only(signature, "a .npy file")
        return {spec.name: read_npy(content, spec)}
    document = _parse(content)
    if isinstance(document, dict):
        if len(document) == 1 and len(specs) == 1 and not document.keys() <= specs.keys():
            ((name, value),) = document.items()
            if name in _WHOLE:
                return {each: _read_value(value, spec) for each, spec in specs.items()}
        return {name: _read_value(value, _spec(name, specs)) for name, value in document.items()}
    spec = _only(signature, "a list")
    return {spec.name: _read_value(document, spec)}


def _parse(content: bytes) -> Any:
    if not content:
        raise InvalidInput("body: expected JSON or a .npy file with the model's input, got an empty one")
    check_counts(content)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(
            f"body: expected JSON or a .npy file with the model's input, and this is neither: {error}"
        ) from None


def _only(signature: Signature, form: str) -> TensorSpec:
    if len(signature.inputs) != 1:
        names = ", ".join(f"'{spec.name}'" for spec in signature.inputs)
        raise InvalidInput(
            f"body: {form} is for models of one input, and this one takes {names}: send a JSON object, or a "
            "multipart form, with a field for each"
        )
    return signature.inputs[0]


def _spec(name: str, specs: Mapping[str, TensorSpec]) -> TensorSpec:
    spec = specs.get(name)
    if spec is None:
        wanted = ", ".join(f"'{each.name}' {each.datatype} {show_shape(each.shape)}" for each in specs.values())
        raise InvalidInput(f"input {name!r:.80} is unknown; the model takes {wanted or 'none'}")
    return spec


def _read_value(value: Any, spec: TensorSpec) -> Tensor:
    """A tensor from nested lists, which say its shape."""
    shape: list[int] = []
    inner = value
    while type(inner) is list and len(shape) <= _MAX_DIMENSIONS:
        shape.append(len(inner))
        inner = inner[0] if inner else None
    return read_data(value, spec.datatype, tuple(shape), spec.name[:80])


def _as_batch(tensors: dict[str, Tensor], signature: Signature) -> Inputs:
    """The tensors with a batch axis of one row, where all of them lack exactly that."""
    specs = signature.inputs
    one_row = len(tensors) == len(specs) > 0 and all(
        spec.name in tensors
        and spec.shape
        and spec.shape[0] in (None, 1)
        and tensors[spec.name].ndim == len(spec.shape) - 1
        for spec in specs
    )
    if one_row:
        return Inputs({name: tensor[np.newaxis] for name, tensor in tensors.items()}, True)
    return Inputs(tensors)


def encode_outputs(outputs: Tensors, one_row: bool, accept: bytes = b"") -> tuple[bytes, bytes]:
    """An answer's content type and body: nested lists, by name where there are several, or .npy for who accepts it.

    Raises:
        InvalidInput: an output cannot be written in that form; says which can.
    """
    if one_row:
        outputs = {name: _without_axis(tensor) for name, tensor in outputs.items()}
    if NPY in accept.lower():
        if len(outputs) != 1:
            raise InvalidInput(f"accept: {NPY.decode()} is for models of one output; this one gives {_names(outputs)}")
        return NPY, write_npy(next(iter(outputs.values())))
    written = {name: _write(tensor, name, len(outputs)) for name, tensor in outputs.items()}
    document = next(iter(written.values())) if len(written) == 1 else written
    return _JSON, orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _without_axis(tensor: Tensor) -> Tensor:
    return tensor.reshape(tensor.shape[1:]) if tensor.shape[:1] == (1,) else tensor


def _write(tensor: Tensor, name: str, count: int) -> Any:
    try:
        flat = write_data(tensor, name)
    except InvalidInput:
        raise InvalidInput(_unwritable(tensor, name, count)) from None
    if isinstance(flat, list):
        elements = np.empty(len(flat), np.object_)
        elements[:] = flat
        return elements.reshape(tensor.shape).tolist()
    shaped = flat.reshape(tensor.shape)
    return shaped if tensor.ndim and tensor.size else shaped.tolist()


def _unwritable(tensor: Tensor, name: str, count: int) -> str:
    if tensor.dtype.hasobject:
        return f"output '{name}' holds bytes that are no UTF-8 text; ask for them over V2, as binary data"
    way = f"accept: {NPY.decode()}" if count == 1 else "V2's binary data"
    return f"output '{name}' holds NaN or infinities, which JSON has no numbers for; ask for them with {way}"


def _names(outputs: Tensors) -> str:
    return ", ".join(f"'{name}'" for name in outputs)
