"""What TF Serving tells of a model, its versions' states and its signatures: plain data for JSON and protobuf."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from adapters.tensors import DataType, Signature, TensorSpec
from gateway.errors import ModelNotFound
from gateway.protocols.tf_serving import DEFAULT_SIGNATURE, segment
from gateway.types import ModelTable, Standing, State, Target

_METHOD_PREDICT: Final = "tensorflow/serving/predict"

_STATES: Final[Mapping[State, str]] = {
    State.READY: "AVAILABLE",
    State.LOADING: "LOADING",
    State.FOUND: "START",
    State.DRAINING: "UNLOADING",
    State.FAILED: "END",
    State.UNLOADED: "END",
}
"""TF Serving's words for our states. Of a version's deployments the one counts whose state stands first here."""

_RANKS: Final = {state: rank for rank, state in enumerate(_STATES)}

_DTYPES: Final[Mapping[DataType, str]] = {
    DataType.BOOL: "DT_BOOL",
    DataType.UINT8: "DT_UINT8",
    DataType.UINT16: "DT_UINT16",
    DataType.UINT32: "DT_UINT32",
    DataType.UINT64: "DT_UINT64",
    DataType.INT8: "DT_INT8",
    DataType.INT16: "DT_INT16",
    DataType.INT32: "DT_INT32",
    DataType.INT64: "DT_INT64",
    DataType.FP16: "DT_HALF",
    DataType.FP32: "DT_FLOAT",
    DataType.FP64: "DT_DOUBLE",
    DataType.BF16: "DT_BFLOAT16",
    DataType.BYTES: "DT_STRING",
}


def describe_status(target: Target, tables: Mapping[str, ModelTable]) -> dict[str, Any]:
    """The body of `GET /v1/models/{model}`: the versions that a target may mean, newest first.

    A version is AVAILABLE where any of its deployments, or the pinned one, is ready.

    Raises:
        ModelNotFound: there is none.
    """
    table = tables.get(target.model)
    version = target.version
    if target.label is not None and table is not None:
        version = table.labels.get(target.label, 0)  # no version is 0
    standings: dict[int, list[Standing]] = {}
    for deployment, standing in table.standings.items() if table else ():
        if version in (None, deployment.version) and target.backend in (None, deployment.backend):
            standings.setdefault(deployment.version, []).append(standing)
    if not standings:
        raise ModelNotFound(_no_versions(target, tables))
    return {"model_version_status": [_status(each, standings[each]) for each in sorted(standings, reverse=True)]}


def _no_versions(target: Target, tables: Mapping[str, ModelTable]) -> str:
    model = segment(target)
    if target.model not in tables:
        return f"Could not find any versions of model {model}; it is not in the repository"
    table = tables[target.model]
    if target.label is not None and target.label not in table.labels:
        there = ", ".join(sorted(table.labels)) or "none"
        return f"Could not find label {target.label:.64} of model {model}; there are: {there}"
    what = "any versions" if target.version is None else f"version {target.version}"
    there = ", ".join(map(str, table.versions())) or "none"
    return f"Could not find {what} of model {model}; there are: {there}"


def _status(version: int, standings: Iterable[Standing]) -> dict[str, Any]:
    best = min(standings, key=lambda each: _RANKS[each.state])
    failed = best.state is State.FAILED
    status = {"error_code": "UNKNOWN", "error_message": best.reason} if failed else _OK
    return {"version": str(version), "state": _STATES[best.state], "status": status}


_OK: Final = {"error_code": "OK", "error_message": ""}


def describe_metadata(model: str, version: int, signatures: Mapping[str, Any]) -> dict[str, Any]:
    """The body of `GET /v1/models/{model}/metadata`; `signatures` are SignatureDefs as JSON, by name."""
    return {
        "model_spec": {"name": model, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def describe_signature(signature: Signature) -> dict[str, Any]:
    """The SignatureDefs of a deployment that has none of its own: one, by TF Serving's default name."""
    return {
        DEFAULT_SIGNATURE: {
            "inputs": {spec.name: _describe(spec) for spec in signature.inputs},
            "outputs": {spec.name: _describe(spec) for spec in signature.outputs},
            "method_name": _METHOD_PREDICT,
            "defaults": {},
        }
    }


def _describe(spec: TensorSpec) -> dict[str, Any]:
    sizes = spec.shape or ()
    return {
        "dtype": _DTYPES[spec.datatype],
        "tensor_shape": {
            "dim": [{"size": str(-1 if size is None else size), "name": ""} for size in sizes],
            "unknown_rank": spec.shape is None,
        },
        "name": spec.name,
    }
