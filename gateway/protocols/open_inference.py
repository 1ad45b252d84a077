"""Open Inference Protocol V2 over REST: bodies to requests, answers to bodies (kserve/open-inference-protocol)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from adapters import errors as floor
from adapters.errors import InvalidInput, ServingError
from adapters.tensors import DataType, Signature, Tensor, datatype_named
from gateway import errors
from gateway.protocols.json_tensors import read_data, read_shape, write_data
from gateway.types import InferRequest, InferResponse, Target

STATUS: Mapping[type[ServingError], int] = {
    floor.InvalidInput: 400,
    errors.ModelNotFound: 404,
    errors.RequestTooLarge: 413,
    errors.Overloaded: 429,
    floor.InferenceFailed: 500,
    floor.BackendUnavailable: 502,
    floor.BackendDied: 502,
    errors.VersionNotReady: 503,
    floor.LoadFailed: 503,
    floor.DeadlineExceeded: 504,
}
"""Every error's HTTP status; a test keeps it complete."""

PLATFORMS = {
    "onnxruntime": "onnx_onnxv1",
    "tflite": "tensorflow_tflite",
    "tfserving": "tensorflow_savedmodel",
    "torchserve": "pytorch_torchscript",
}
_MAX_INPUTS = 1024
_MAX_CONTAINERS = 1 << 20
_MAX_VALUES = 1 << 23
_FLOATS = (DataType.FP16, DataType.FP32, DataType.FP64)


def decode_infer(target: Target, body: bytes) -> InferRequest:
    """A request from the JSON body of `POST …/infer`.

    Raises:
        InvalidInput: names the field, what was expected and what was got.
    """
    document = _object(body)
    inputs = document.get("inputs")
    if not isinstance(inputs, list):
        raise InvalidInput(f"inputs: expected a list of tensors, got {_kind(inputs)}")
    if len(inputs) > _MAX_INPUTS:
        raise InvalidInput(f"inputs: expected at most {_MAX_INPUTS} tensors, got {len(inputs)}")
    # A look at the bytes is far cheaper than one at every value: most requests have no booleans at all.
    has_booleans = b"true" in body or b"false" in body
    parameters = _parameters(document, "parameters")
    non_finite = asks_non_finite(parameters)
    tensors: dict[str, Tensor] = {}
    for index, tensor in enumerate(inputs):
        name, array = _input(tensor, index, has_booleans, non_finite)
        if name in tensors:
            raise InvalidInput(f"inputs: '{name:.80}' is there twice")
        tensors[name] = array
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidInput(f"id: expected a string, got {_kind(request_id)}")
    return InferRequest(target, tensors, request_id or None, _requested(document), _timeout_ms(parameters), parameters)


def _check_counts(body: bytes) -> None:
    """Refuse what would take many times its size in memory, or the event loop for seconds, before it is parsed."""
    containers, values = body.count(b"[") + body.count(b"{"), body.count(b",")
    if containers > _MAX_CONTAINERS:
        raise InvalidInput(f"body: expected at most {_MAX_CONTAINERS} lists and objects, got more; send data flat")
    if values > _MAX_VALUES:
        raise InvalidInput(f"body: expected at most {_MAX_VALUES} values, got more; send fewer rows at a time")
    if body.count(b'"') > 2 * _MAX_CONTAINERS:
        raise InvalidInput(f"body: expected at most {_MAX_CONTAINERS} strings, got more; send fewer rows at a time")


def _object(body: bytes) -> dict[str, Any]:
    if not body:
        raise InvalidInput("body: expected a JSON object with 'inputs', got an empty body")
    if len(body) > _MAX_CONTAINERS:
        _check_counts(body)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"body: not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"body: expected a JSON object with 'inputs', got {_kind(document)}")
    return document


def _input(tensor: Any, index: int, has_booleans: bool, non_finite: bool) -> tuple[str, Tensor]:
    if not isinstance(tensor, dict):
        raise InvalidInput(f"inputs[{index}]: expected an object, got {_kind(tensor)}")
    name = tensor.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"inputs[{index}].name: expected a string, got {_kind(name)}")
    for field in ("shape", "datatype", "data"):
        if field not in tensor:
            raise InvalidInput(f"input '{name:.80}': {field} is missing")
    try:
        datatype = datatype_named(tensor["datatype"])
    except InvalidInput as error:
        raise InvalidInput(f"input '{name:.80}': {error}") from None
    if datatype is DataType.BF16:
        raise InvalidInput(f"input '{name:.80}': BF16 has no JSON form; send it as binary data")
    shape = read_shape(tensor["shape"], name[:80])
    return name, read_data(tensor["data"], datatype, shape, name[:80], has_booleans, non_finite and datatype in _FLOATS)


def _requested(document: Mapping[str, Any]) -> tuple[str, ...] | None:
    outputs = document.get("outputs")
    if outputs is None or outputs == []:
        return None
    if not isinstance(outputs, list):
        raise InvalidInput(f"outputs: expected a list of objects, got {_kind(outputs)}")
    names: dict[str, None] = {}
    for index, output in enumerate(outputs):
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(name, str):
            raise InvalidInput(f"outputs[{index}]: expected an object with a name, got {_kind(output)}")
        names[name] = None
    return tuple(names)


def _parameters(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    parameters = document.get(key)
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidInput(f"{key}: expected an object, got {_kind(parameters)}")
    return parameters


def asks_non_finite(parameters: Mapping[str, Any]) -> bool:
    """Whether a request wants NaN and infinities as strings (`"non_finite": "string"`), and may send them so."""
    value = parameters.get("non_finite")
    if value not in (None, "string"):
        raise InvalidInput(f'parameters.non_finite: expected "string", got {value!r:.40}')
    return value is not None


def _timeout_ms(parameters: Mapping[str, Any]) -> float | None:
    """Triton's request parameter `timeout`, in microseconds; 0 is none."""
    timeout_us = parameters.get("timeout")
    if timeout_us is None or timeout_us == 0:
        return None
    if type(timeout_us) is not int or timeout_us < 0:
        raise InvalidInput(f"parameters.timeout: expected microseconds as a positive integer, got {timeout_us!r:.40}")
    return timeout_us / 1000


def encode_infer(response: InferResponse, non_finite: bool = False) -> bytes:
    """The JSON body that answers `POST …/infer`; data is flat and row-major.

    `non_finite` writes NaN and infinities as strings.

    Raises:
        InferenceFailed: an output cannot be written as JSON.
    """
    deployment = response.deployment
    body: dict[str, Any] = {"model_name": deployment.model, "model_version": str(deployment.version)}
    if response.id is not None:
        body["id"] = response.id
    body["parameters"] = {"backend": deployment.backend, "runtime": response.runtime, **response.parameters}
    body["outputs"] = [
        {
            "name": name,
            "datatype": DataType.of(tensor.dtype),
            "shape": tensor.shape,
            "data": write_data(tensor, name, non_finite),
        }
        for name, tensor in response.outputs.items()
    ]
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def encode_error(error: ServingError) -> bytes:
    """The JSON body of an error."""
    return orjson.dumps({"error": str(error)})


def describe_model(model: str, versions: list[int], backend: str, runtime: str, signature: Signature) -> dict[str, Any]:
    """The body of `GET /v2/models/{model}`; -1 is any size."""
    return {
        "name": model,
        "versions": [str(version) for version in versions],
        "platform": PLATFORMS.get(backend, backend),
        "inputs": [_describe(spec.name, spec.datatype, spec.shape) for spec in signature.inputs],
        "outputs": [_describe(spec.name, spec.datatype, spec.shape) for spec in signature.outputs],
        "parameters": {"backend": backend, "runtime": runtime},
    }


def _describe(name: str, datatype: DataType, shape: tuple[int | None, ...] | None) -> dict[str, Any]:
    sizes = [-1] if shape is None else [-1 if size is None else size for size in shape]
    return {"name": name, "datatype": datatype, "shape": sizes}


def _kind(value: object) -> str:
    """What a JSON value is, for an error's text."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "a boolean"
        case dict():
            return "an object"
        case list():
            return "a list"
        case str():
            return f"the string {value!r:.60}"
        case _:
            return f"the number {value!r:.60}"
