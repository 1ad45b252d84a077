"""Open Inference Protocol V2 over REST: bodies to requests, answers to bodies (kserve/open-inference-protocol)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from adapters import errors as floor
from adapters.base import LOWEST_PRIORITY, ROUTINE
from adapters.errors import InvalidInput, ServingError
from adapters.tensors import DataType, Signature, Tensor, datatype_named, to_bytes
from gateway import errors
from gateway.protocols.binary_tensors import Blob, binary_size, raw_input, read_blobs, split, wanted_as_binary
from gateway.protocols.json_counts import check_counts
from gateway.protocols.json_tensors import read_data, read_shape, write_data
from gateway.types import Caller, InferRequest, InferResponse, Target

STATUS: Mapping[type[ServingError], int] = {
    floor.InvalidInput: 400,
    errors.NotAllowed: 403,
    errors.ModelNotFound: 404,
    errors.Conflict: 409,
    errors.RequestTooLarge: 413,
    errors.Overloaded: 429,
    floor.InferenceFailed: 500,
    errors.Unsupported: 501,
    floor.BackendUnavailable: 502,
    floor.BackendDied: 502,
    errors.VersionNotReady: 503,
    floor.LoadFailed: 503,
    floor.DeadlineExceeded: 504,
}
"""Every error's HTTP status; a test keeps it complete."""

_MAX_INPUTS = 1024
_KNOWN_BYTES = 2048
_FLOATS = (DataType.FP16, DataType.FP32, DataType.FP64)


class Form(msgspec.Struct, frozen=True):
    """How a caller wants the answer written.

    `binary` is for all outputs but those in `exceptions`; `non_finite` has JSON hold NaN and infinities as strings.
    """

    non_finite: bool = False
    binary: bool = False
    exceptions: Mapping[str, bool] = {}

    def writes_binary(self, output: str) -> bool:
        """Whether an output is to be sent as bytes."""
        return self.exceptions.get(output, self.binary)


_PLAIN = Form()


class _Head(msgspec.Struct, frozen=True):
    """A request's JSON: its inputs, some of which may lie behind it, all else of the InferRequest, and the Form."""

    inputs: Mapping[str, Tensor | Blob]
    rest: tuple[Any, Any, Any, Any, Any]
    form: Form


def decode_infer(
    target: Target, body: bytes, head_length: bytes | None = None, caller: Caller | None = None
) -> tuple[InferRequest, Form]:
    """A request from the body of `POST …/infer`; `head_length` is the header Inference-Header-Content-Length.

    Raises:
        InvalidInput: names the field, what was expected and what was got.
        Unsupported: it asks for shared memory or for the classification extension.
    """
    text, data = split(body, head_length)
    head = _known(text) if head_length is not None and len(text) <= _KNOWN_BYTES else None
    if head is None:
        head = _head(text)
    return InferRequest(target, read_blobs(head.inputs, data), *head.rest, caller), head.form


@lru_cache(maxsize=256)
def _known(text: bytes) -> _Head | None:
    """What the JSON says, where it holds no data: a client's next one is mostly the same bytes."""
    head = _head(text)
    return head if all(type(each) is Blob for each in head.inputs.values()) else None


def _head(text: bytes) -> _Head:
    document = _object(text)
    inputs = document.get("inputs")
    if not isinstance(inputs, list):
        raise InvalidInput(f"inputs: expected a list of tensors, got {_kind(inputs)}")
    if len(inputs) > _MAX_INPUTS:
        raise InvalidInput(f"inputs: expected at most {_MAX_INPUTS} tensors, got {len(inputs)}")
    parameters = _parameters(document, "parameters")
    non_finite = asks_non_finite(parameters)
    tensors: dict[str, Tensor | Blob] = {}
    for index, tensor in enumerate(inputs):
        name, read = _input(tensor, index, non_finite)
        if name in tensors:
            raise InvalidInput(f"inputs: '{name:.80}' is there twice")
        tensors[name] = read
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidInput(f"id: expected a string, got {_kind(request_id)}")
    outputs, exceptions = _requested(document)
    binary = bool(wanted_as_binary(parameters, "binary_data_output", "parameters"))
    form = Form(non_finite, binary, exceptions) if non_finite or binary or exceptions else _PLAIN
    rest = request_id or None, outputs, timeout_ms(parameters), parameters, priority(parameters)
    return _Head(tensors, rest, form)


def decode_raw_infer(target: Target, body: bytes, signature: Signature) -> tuple[InferRequest, Form]:
    """A request whose body is nothing but the bytes of a model's only input; its answer is binary too.

    Raises:
        InvalidInput: the model or the bytes are not made for it.
    """
    return InferRequest(target, raw_input(signature, body)), Form(binary=True)


def _object(body: bytes) -> dict[str, Any]:
    if not body:
        raise InvalidInput("body: expected a JSON object with 'inputs', got an empty body")
    check_counts(body)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"body: not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidInput(f"body: expected a JSON object with 'inputs', got {_kind(document)}")
    return document


def _input(tensor: Any, index: int, non_finite: bool) -> tuple[str, Tensor | Blob]:
    if not isinstance(tensor, dict):
        raise InvalidInput(f"inputs[{index}]: expected an object, got {_kind(tensor)}")
    name = tensor.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidInput(f"inputs[{index}].name: expected a string, got {_kind(name)}")
    for field in ("shape", "datatype"):
        if field not in tensor:
            raise InvalidInput(f"input '{name:.80}': {field} is missing")
    try:
        datatype = datatype_named(tensor["datatype"])
    except InvalidInput as error:
        raise InvalidInput(f"input '{name:.80}': {error}") from None
    shape = read_shape(tensor["shape"], name[:80])
    parameters = tensor.get("parameters")
    if parameters:
        parameters = _parameters(tensor, "parameters", f"input '{name:.80}': ")
        if "shared_memory_region" in parameters:
            raise errors.Unsupported(f"input '{name:.80}': shared memory is not taken; send the bytes as binary data")
        if "binary_data_size" in parameters:
            if "data" in tensor:
                raise InvalidInput(f"input '{name:.80}': expected either data or binary_data_size, got both")
            return name, Blob(datatype, shape, binary_size(parameters["binary_data_size"], name[:80]))
    if "data" not in tensor:
        raise InvalidInput(f"input '{name:.80}': data is missing")
    if datatype is DataType.BF16:
        raise InvalidInput(f"input '{name:.80}': BF16 has no JSON form; send it as binary data")
    return name, read_data(tensor["data"], datatype, shape, name[:80], non_finite=non_finite and datatype in _FLOATS)


def _requested(document: Mapping[str, Any]) -> tuple[tuple[str, ...] | None, Mapping[str, bool]]:
    """The outputs asked for, None for all, and which of them say how they are to be sent."""
    outputs = document.get("outputs")
    if outputs is None or outputs == []:
        return None, {}
    if not isinstance(outputs, list):
        raise InvalidInput(f"outputs: expected a list of objects, got {_kind(outputs)}")
    names: dict[str, None] = {}
    exceptions: dict[str, bool] = {}
    for index, output in enumerate(outputs):
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(name, str):
            raise InvalidInput(f"outputs[{index}]: expected an object with a name, got {_kind(output)}")
        names[name] = None
        if output.get("parameters"):
            parameters = _parameters(output, "parameters", f"output '{name:.80}': ")
            check_output_parameters(parameters, name)
            flag = wanted_as_binary(parameters, "binary_data", f"output '{name:.80}'")
            if flag is not None:
                exceptions[name] = flag
    return tuple(names), exceptions


def check_output_parameters(parameters: Mapping[str, Any], name: str) -> None:
    """Raises Unsupported for what would change an output's meaning and is not there."""
    if parameters.get("classification"):
        raise errors.Unsupported(f"output '{name:.80}': the classification extension is not there; ask for the tensor")
    if "shared_memory_region" in parameters:
        raise errors.Unsupported(f"output '{name:.80}': shared memory is not given; ask for binary data")


def _parameters(document: Mapping[str, Any], key: str, where: str = "") -> Mapping[str, Any]:
    parameters = document.get(key)
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidInput(f"{where}{key}: expected an object, got {_kind(parameters)}")
    return parameters


def asks_non_finite(parameters: Mapping[str, Any]) -> bool:
    """Whether a request wants NaN and infinities as strings (`"non_finite": "string"`), and may send them so."""
    value = parameters.get("non_finite")
    if value not in (None, "string"):
        raise InvalidInput(f'parameters.non_finite: expected "string", got {value!r:.40}')
    return value is not None


def timeout_ms(parameters: Mapping[str, Any]) -> float | None:
    """Triton's request parameter `timeout`, in microseconds; 0 is none. Raises InvalidInput."""
    timeout_us = parameters.get("timeout")
    if timeout_us is None or timeout_us == 0:
        return None
    if type(timeout_us) is not int or timeout_us < 0:
        raise InvalidInput(f"parameters.timeout: expected microseconds as a positive integer, got {timeout_us!r:.40}")
    return timeout_us / 1000


def priority(parameters: Mapping[str, Any]) -> int:
    """Triton's request parameter `priority`: 0 is the default, 1 the highest. Raises InvalidInput."""
    asked = parameters.get("priority")
    if asked is None or asked == 0:
        return ROUTINE.priority
    if type(asked) is not int or asked < 0:
        raise InvalidInput(f"parameters.priority: expected an integer of 0 or more, got {asked!r:.40}")
    return min(asked, LOWEST_PRIORITY)


def encode_infer(response: InferResponse, form: Form = _PLAIN) -> tuple[tuple[bytes | memoryview, ...], int | None]:
    """The parts of the body that answers `POST …/infer`, and the length of its JSON head where bytes follow it.

    Data is flat and row-major.

    Raises:
        InvalidInput: an output cannot be written in the form that was asked for.
    """
    deployment = response.deployment
    body: dict[str, Any] = {"model_name": deployment.model, "model_version": str(deployment.version)}
    if response.id is not None:
        body["id"] = response.id
    body["parameters"] = {"backend": deployment.backend, "runtime": response.runtime, **response.parameters}
    outputs: list[dict[str, Any]] = []
    blobs: list[bytes | memoryview] = []
    for name, tensor in response.outputs.items():
        output: dict[str, Any] = {"name": name, "datatype": DataType.of(tensor.dtype), "shape": tensor.shape}
        if form.writes_binary(name):
            blob = to_bytes(tensor)
            output["parameters"] = {"binary_data_size": len(blob)}
            blobs.append(blob)
        else:
            output["data"] = write_data(tensor, name, form.non_finite)
        outputs.append(output)
    body["outputs"] = outputs
    head = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    return (head, *blobs), len(head) if blobs else None


def encode_error(error: ServingError) -> bytes:
    """The JSON body of an error."""
    return orjson.dumps({"error": str(error)})


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
