"""From the signatures that a SavedModel carries to the one that Torii serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.errors import InvalidInput, LoadFailed
from adapters.tensors import Signature, TensorSpec
from adapters.tfserving.tensor_proto import datatype_of

_METHOD_PREDICT = "tensorflow/serving/predict"
_PREFERRED = ("serving_default", "predict")


def choose_signature(signatures: Mapping[str, Any], asked: str | None) -> tuple[str, Signature]:
    """The name and the form of the signature to serve, inputs and outputs sorted by name.

    `signatures` are SignatureDefs by name, `asked` is the one that model.toml names. Without it: "serving_default",
    "predict", or the first in alphabetical order that is meant for Predict.

    Raises:
        LoadFailed: there is no such signature, or it has tensors that no protocol of Torii carries.
    """
    name = _name(signatures, asked)
    chosen = signatures[name]
    return name, Signature(_specs(name, chosen.inputs), _specs(name, chosen.outputs))


def _name(signatures: Mapping[str, Any], asked: str | None) -> str:
    if asked is not None:
        if asked in signatures:
            return asked
        raise LoadFailed(f"signature_name: expected one of {_names(signatures)}, got '{asked}'")
    for name in _PREFERRED:
        if name in signatures:
            return name
    for name in sorted(signatures):
        if signatures[name].method_name == _METHOD_PREDICT:
            return name
    raise LoadFailed(
        f"expected a signature for {_METHOD_PREDICT}, got {_names(signatures)}; "
        "set signature_name under [backend.tfserving] in model.toml"
    )


def _specs(signature_name: str, infos: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    return tuple(_spec(signature_name, name, infos[name]) for name in sorted(infos))


def _spec(signature_name: str, name: str, info: Any) -> TensorSpec:
    where = f"signature '{signature_name}', tensor '{name}'"
    if info.WhichOneof("encoding") != "name":
        raise LoadFailed(f"{where}: expected a dense tensor, got {info.WhichOneof('encoding') or 'nothing'}")
    try:
        datatype = datatype_of(info.dtype)
    except InvalidInput as error:
        raise LoadFailed(f"{where}: {error}") from error
    shape = info.tensor_shape
    sizes = None if shape.unknown_rank else tuple(None if dim.size < 0 else dim.size for dim in shape.dim)
    return TensorSpec(name, datatype, sizes)


def _names(signatures: Mapping[str, Any]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(signatures)) or "no signatures"
