"""What V2 tells of a model: metadata, Triton's configuration and statistics, as plain data for JSON and protobuf."""

from __future__ import annotations

from typing import Any

from adapters.base import Endpoint
from adapters.tensors import DataType, Signature, TensorSpec

EXTENSIONS = (
    "binary_tensor_data", "model_configuration", "model_repository", "parameters", "schedule_policy", "statistics",
)  # fmt: skip
"""The extensions that server metadata names."""

_PLATFORMS = {
    "onnxruntime": "onnx_onnxv1",
    "tflite": "tensorflow_tflite",
    "tfserving": "tensorflow_savedmodel",
    "torchserve": "pytorch_torchscript",
}


def describe_model(model: str, versions: list[int], endpoint: Endpoint) -> dict[str, Any]:
    """The body of `GET /v2/models/{model}`; -1 is any size."""
    return {
        "name": model,
        "versions": [str(version) for version in versions],
        "platform": _PLATFORMS.get(endpoint.backend, endpoint.backend),
        "inputs": [_describe(spec) for spec in endpoint.signature.inputs],
        "outputs": [_describe(spec) for spec in endpoint.signature.outputs],
        "parameters": {"backend": endpoint.backend, "runtime": endpoint.runtime},
    }


def _describe(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": _sizes(spec)}


def _sizes(spec: TensorSpec) -> list[int]:
    return [-1] if spec.shape is None else [-1 if size is None else size for size in spec.shape]


def configure_model(model: str, versions: list[int], endpoint: Endpoint) -> dict[str, Any]:
    """The body of `GET /v2/models/{model}/config`: the fields of Triton's ModelConfig that its clients read.

    `dims` leave the batch axis out where rows are batched, as Triton has it; else `max_batch_size` is 0.
    """
    max_rows = int(endpoint.remote.get("max_rows", 0))
    batched = max_rows > 1 and _has_batch_axis(endpoint.signature)
    skipped = 1 if batched else 0
    config: dict[str, Any] = {
        "name": model,
        "platform": _PLATFORMS.get(endpoint.backend, endpoint.backend),
        "backend": endpoint.backend,
        "version_policy": {"specific": {"versions": versions}},
        "max_batch_size": max_rows if batched else 0,
        "input": [_configure(spec, skipped) for spec in endpoint.signature.inputs],
        "output": [_configure(spec, skipped) for spec in endpoint.signature.outputs],
        "instance_group": [{"name": model, "kind": "KIND_CPU", "count": int(endpoint.remote.get("instances", 1))}],
        "default_model_filename": "",
        "parameters": {"runtime": {"string_value": endpoint.runtime}},
    }
    if batched:
        config["dynamic_batching"] = {"max_queue_delay_microseconds": 0}
    return config


def _has_batch_axis(signature: Signature) -> bool:
    return all(spec.shape and spec.shape[0] is None for spec in (*signature.inputs, *signature.outputs))


def _configure(spec: TensorSpec, skipped: int) -> dict[str, Any]:
    name = "STRING" if spec.datatype is DataType.BYTES else str(spec.datatype)
    return {"name": spec.name, "data_type": f"TYPE_{name}", "dims": _sizes(spec)[skipped:]}
