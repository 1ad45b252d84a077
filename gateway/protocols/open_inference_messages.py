"""Open Inference Protocol V2 over gRPC: messages to requests, answers to messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Tensor, datatype_named, show_shape, to_bytes
from gateway.errors import Unsupported
from gateway.protocols.binary_tensors import MAX_STRINGS, read_elements
from gateway.protocols.json_tensors import read_shape
from gateway.protocols.open_inference import check_output_parameters, priority, timeout_ms
from gateway.protocols.protos import message
from gateway.types import Caller, InferRequest, InferResponse, Target

ModelInferRequest: Final = message("inference.ModelInferRequest")
ModelInferResponse: Final = message("inference.ModelInferResponse")

_MAX_INPUTS: Final = 1024
_CONTENTS: Final[Mapping[DataType, str]] = {
    DataType.BOOL: "bool_contents",
    DataType.INT8: "int_contents",
    DataType.INT16: "int_contents",
    DataType.INT32: "int_contents",
    DataType.INT64: "int64_contents",
    DataType.UINT8: "uint_contents",
    DataType.UINT16: "uint_contents",
    DataType.UINT32: "uint_contents",
    DataType.UINT64: "uint64_contents",
    DataType.FP32: "fp32_contents",
    DataType.FP64: "fp64_contents",
    DataType.BYTES: "bytes_contents",
}
"""Where a datatype's values stand; FP16 and BF16 go raw only."""

_WIRE: Final[Mapping[str, Any]] = {
    "bool_contents": np.bool_,
    "int_contents": np.int32,
    "int64_contents": np.int64,
    "uint_contents": np.uint32,
    "uint64_contents": np.uint64,
    "fp32_contents": np.float32,
    "fp64_contents": np.float64,
}


def decode_infer(request: Any, deadline_ms: float | None = None, caller: Caller | None = None) -> InferRequest:
    """A request from a ModelInferRequest; `deadline_ms` is what the call's own deadline leaves.

    Raises:
        InvalidInput: names the field, what was expected and what was got.
        Unsupported: it asks for shared memory or for the classification extension.
    """
    target = Target.parse(request.model_name, request.model_version or None)
    if len(request.inputs) > _MAX_INPUTS:
        raise InvalidInput(f"inputs: expected at most {_MAX_INPUTS} tensors, got {len(request.inputs)}")
    parameters = read_parameters(request.parameters) if request.parameters else {}
    asked_ms = timeout_ms(parameters) if parameters else None
    if deadline_ms is not None:
        asked_ms = deadline_ms if asked_ms is None else min(asked_ms, deadline_ms)
    outputs = _requested(request.outputs) if request.outputs else None
    pressing = asked_ms, parameters, priority(parameters)
    return InferRequest(target, _inputs(request), request.id or None, outputs, *pressing, caller=caller)


def is_raw(request: Any) -> bool:
    """Whether a caller speaks in raw contents, and is to be answered so: always, unless it sent typed ones."""
    return bool(request.raw_input_contents) or not any(each.HasField("contents") for each in request.inputs)


def _inputs(request: Any) -> dict[str, Tensor]:
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidInput(
            f"raw_input_contents: expected one entry for each of the {len(request.inputs)} inputs, got {len(raw)}"
        )
    tensors: dict[str, Tensor] = {}
    for index, tensor in enumerate(request.inputs):
        name = tensor.name
        where = f"input '{name:.80}'"
        if not name:
            raise InvalidInput(f"inputs[{index}].name: expected a name, got nothing")
        if name in tensors:
            raise InvalidInput(f"inputs: '{name:.80}' is there twice")
        if tensor.parameters and "shared_memory_region" in tensor.parameters:
            raise Unsupported(f"{where}: shared memory is not taken; send the bytes in raw_input_contents")
        try:
            datatype = datatype_named(tensor.datatype)
            shape = read_shape(list(tensor.shape), name[:80])
            if raw:
                if tensor.HasField("contents") and tensor.contents.ListFields():
                    raise InvalidInput("expected no contents beside raw_input_contents, got both")
                tensors[name] = read_elements(datatype, shape, raw[index])
            else:
                tensors[name] = _typed(tensor.contents, datatype, shape)
        except InvalidInput as error:
            text = str(error)
            raise InvalidInput(text if text.startswith(where) else f"{where}: {text}") from None
    return tensors


def _typed(contents: Any, datatype: DataType, shape: tuple[int, ...]) -> Tensor:
    field = _CONTENTS.get(datatype)
    if field is None:
        raise InvalidInput(f"{datatype} has no typed contents; send it in raw_input_contents")
    for descriptor, _ in contents.ListFields():
        if descriptor.name != field:
            raise InvalidInput(f"contents: expected {datatype} in {field}, got {descriptor.name}")
    values = getattr(contents, field)
    count = 1
    for size in shape:
        count *= size
    if len(values) != count:
        raise InvalidInput(f"contents: expected {count} values for shape {show_shape(shape)}, got {len(values)}")
    if datatype is DataType.BYTES and count > MAX_STRINGS:
        raise InvalidInput(f"contents: expected at most {MAX_STRINGS} BYTES elements, got {count}; send them raw")
    try:
        if datatype is DataType.BYTES:
            return np.fromiter(values, np.object_, count).reshape(shape)
        wide = np.fromiter(values, _WIRE[field], count)
        dtype = datatype.dtype
        if wide.dtype != dtype:
            _check_range(wide, datatype)
            wide = wide.astype(dtype)
        return wide.reshape(shape)
    except ValueError as error:  # sizes beyond all memory, where another is 0
        raise InvalidInput(f"shape {show_shape(shape)}: {error}") from None


def _check_range(wide: Tensor, datatype: DataType) -> None:
    limits = np.iinfo(datatype.dtype)
    outside = (wide < limits.min) | (wide > limits.max)
    if outside.any():
        raise InvalidInput(
            f"contents: {wide[outside][0]} does not fit {datatype}, which goes from {limits.min} to {limits.max}"
        )


def _requested(outputs: Sequence[Any]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for index, output in enumerate(outputs):
        if not output.name:
            raise InvalidInput(f"outputs[{index}].name: expected a name, got nothing")
        if output.parameters:
            check_output_parameters(read_parameters(output.parameters), output.name)
        names[output.name] = None
    return tuple(names)


def read_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as plain values; one that has no value is left out."""
    found: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if choice := parameter.WhichOneof("parameter_choice"):
            found[name] = getattr(parameter, choice)
    return found


def encode_infer(response: InferResponse, raw: bool) -> Any:
    """The ModelInferResponse; in typed contents where the caller spoke so and every datatype has them."""
    deployment = response.deployment
    answer = ModelInferResponse(
        model_name=deployment.model, model_version=str(deployment.version), id=response.id or ""
    )
    parameters = answer.parameters
    parameters["backend"].string_param = deployment.backend
    parameters["runtime"].string_param = response.runtime
    for name, value in response.parameters.items():
        parameters[name].string_param = value
    datatypes = [DataType.of(tensor.dtype) for tensor in response.outputs.values()]
    raw = raw or any(datatype not in _CONTENTS for datatype in datatypes)
    for (name, tensor), datatype in zip(response.outputs.items(), datatypes, strict=True):
        output = answer.outputs.add(name=name, datatype=datatype, shape=tensor.shape)
        if raw:
            answer.raw_output_contents.append(bytes(to_bytes(tensor)))
        else:
            getattr(output.contents, _CONTENTS[datatype]).extend(tensor.ravel().tolist())
    return answer
