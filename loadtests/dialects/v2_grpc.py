"""The Open Inference Protocol V2 over gRPC, its tensors raw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np

from loadtests.dialects.deployment import Deployment
from loadtests.dialects.protobuf import bytes_field, fields, floats, integers, nested, packed_field
from loadtests.dialects.reply import Reply, WrongAnswer, reading
from loadtests.dialects.tensors import Array, checked, datatype, dtype_of, from_bytes, shaped, to_bytes
from loadtests.engine.plan import Request

_PATH: Final = "/inference.GRPCInferenceService/ModelInfer"
_NAME, _VERSION, _INPUTS, _RAW_INPUTS = 1, 2, 5, 7
_OUTPUTS, _RAW_OUTPUTS = 5, 6
_TENSOR_NAME, _DATATYPE, _SHAPE, _CONTENTS = 1, 2, 3, 5
_FP32, _FP64, _BYTES = 6, 7, 8


class V2Grpc:
    """ModelInfer with raw_input_contents."""

    name = "v2-grpc"
    protocol: Literal["grpc"] = "grpc"

    def request(self, deployment: str, inputs: Mapping[str, Array]) -> Request:
        """See Dialect."""
        parsed = Deployment.parse(deployment)
        message = bytes_field(_NAME, parsed.name.encode())
        if parsed.version:
            message += bytes_field(_VERSION, parsed.version.encode())
        message += b"".join(bytes_field(_INPUTS, _described(*each)) for each in inputs.items())
        message += b"".join(bytes_field(_RAW_INPUTS, to_bytes(each)) for each in inputs.values())
        return Request(_PATH, message)

    def outputs(self, answer: Reply) -> Mapping[str, Array]:
        """See Dialect."""
        with reading(answer, "V2's gRPC") as body:
            described = [nested(content) for field, content in fields(body) if field == _OUTPUTS]
            raw = [nested(content) for field, content in fields(body) if field == _RAW_OUTPUTS]
            if raw and len(raw) != len(described):
                raise WrongAnswer(f"expected raw contents for each of {len(described)} outputs, got {len(raw)}")
            return dict(_tensor(each, raw[at] if raw else None) for at, each in enumerate(described))


def _described(name: str, tensor: Array) -> bytes:
    described = bytes_field(_TENSOR_NAME, name.encode()) + bytes_field(_DATATYPE, datatype(tensor).encode())
    return described + packed_field(_SHAPE, tensor.shape)


def _tensor(message: bytes, raw: bytes | None) -> tuple[str, Array]:
    name = kind = ""
    shape: list[int] = []
    contents = b""
    for field, content in fields(message):
        if field == _TENSOR_NAME:
            name = nested(content).decode(errors="replace")
        elif field == _DATATYPE:
            kind = nested(content).decode(errors="replace")
        elif field == _SHAPE:
            shape += integers(content)
        elif field == _CONTENTS:
            contents = nested(content)
    sizes = checked(shape)
    return name, _from_contents(contents, kind, sizes) if raw is None else from_bytes(raw, kind, sizes)


def _from_contents(message: bytes, kind: str, shape: tuple[int, ...]) -> Array:
    values: list[Any] = []
    for field, content in fields(message):
        if field == _BYTES:
            values.append(nested(content))
        else:
            values += floats(content, "f" if field == _FP32 else "d") if field in (_FP32, _FP64) else integers(content)
    dtype = dtype_of(kind)
    if dtype.hasobject:
        return shaped(values, shape)
    return np.array(values).astype(dtype).reshape(shape)
