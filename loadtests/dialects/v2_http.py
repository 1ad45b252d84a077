"""The Open Inference Protocol V2 over HTTP, its tensors as JSON or as binary data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np

from loadtests.dialects.deployment import Deployment
from loadtests.dialects.reply import Reply, reading
from loadtests.dialects.tensors import Array, checked, datatype, dtype_of, from_bytes, shaped, to_bytes
from loadtests.engine.plan import Request

_HEAD_LENGTH: Final = "Inference-Header-Content-Length"


def path(deployment: Deployment) -> str:
    """Where a deployment is asked."""
    version = f"/versions/{deployment.version}" if deployment.version else ""
    return f"/v2/models/{deployment.name}{version}/infer"


class V2Json:
    """Values as a flat list of JSON numbers, as clients write it by way of Python's floats."""

    name = "v2-json"
    protocol: Literal["http/1.1"] = "http/1.1"

    def request(self, deployment: str, inputs: Mapping[str, Array]) -> Request:
        """See Dialect."""
        described = [{**_described(name, tensor), "data": _values(name, tensor)} for name, tensor in inputs.items()]
        body = json.dumps({"inputs": described}).encode()
        return Request(path(Deployment.parse(deployment)), body, (("Content-Type", "application/json"),))

    def outputs(self, answer: Reply) -> Mapping[str, Array]:
        """See Dialect."""
        return _outputs(answer)


class V2Binary:
    """Binary tensors both ways, behind a head of JSON."""

    name = "v2-binary"
    protocol: Literal["http/1.1"] = "http/1.1"

    def request(self, deployment: str, inputs: Mapping[str, Array]) -> Request:
        """See Dialect."""
        data = {name: to_bytes(tensor) for name, tensor in inputs.items()}
        described = [
            {**_described(name, tensor), "parameters": {"binary_data_size": len(data[name])}}
            for name, tensor in inputs.items()
        ]
        head = json.dumps({"inputs": described, "parameters": {"binary_data_output": True}}).encode()
        headers = (("Content-Type", "application/octet-stream"), (_HEAD_LENGTH, str(len(head))))
        return Request(path(Deployment.parse(deployment)), head + b"".join(data.values()), headers)

    def outputs(self, answer: Reply) -> Mapping[str, Array]:
        """See Dialect."""
        return _outputs(answer)


def _described(name: str, tensor: Array) -> dict[str, Any]:
    return {"name": name, "shape": list(tensor.shape), "datatype": datatype(tensor)}


def _values(name: str, tensor: Array) -> list[Any]:
    if tensor.dtype.hasobject:
        try:
            return [each.decode() for each in tensor.ravel()]
        except UnicodeDecodeError:
            raise ValueError(f"input '{name}' holds bytes that are no text, which V2's JSON cannot say") from None
    if tensor.dtype.kind in "fV" and not np.isfinite(tensor.astype(np.float64)).all():
        raise ValueError(f"input '{name}' holds NaN or infinities, which JSON has no numbers for")
    values: list[Any] = (
        tensor.astype(np.float32).ravel().tolist() if tensor.dtype.kind == "V" else tensor.ravel().tolist()
    )
    return values


def _outputs(answer: Reply) -> dict[str, Array]:
    """The outputs of a JSON document, and of the binary data behind it where there is some."""
    with reading(answer, "V2") as body:
        length = int(answer.headers.get(_HEAD_LENGTH.lower(), len(body)))
        return dict(_read(json.loads(body[:length])["outputs"], body[length:]))


def _read(outputs: list[Any], binary: bytes) -> list[tuple[str, Array]]:
    tensors, at = [], 0
    for output in outputs:
        size = output.get("parameters", {}).get("binary_data_size")
        shape = checked(output["shape"])
        if size is None:
            tensor = _from_values(output["data"], output["datatype"], shape)
        else:
            tensor = from_bytes(binary[at : at + size], output["datatype"], shape)
            at += size
        tensors.append((output["name"], tensor))
    return tensors


def _from_values(values: list[Any], name: str, shape: tuple[int, ...]) -> Array:
    dtype = dtype_of(name)
    if dtype.hasobject:
        return shaped([each.encode() for each in np.array(values, np.object_).ravel()], shape)
    return np.array(values, dtype).reshape(shape)
