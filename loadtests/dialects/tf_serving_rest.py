"""TF Serving's REST: `:predict`, by row where all inputs have rows, else by column."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from loadtests.dialects.deployment import Deployment
from loadtests.dialects.reply import Reply, reading
from loadtests.dialects.tensors import Array
from loadtests.engine.plan import Request


class TfServingRest:
    """Nested lists; NaN and infinities are this dialect's own bare tokens, bytes are {"b64": …}."""

    name = "tfs-rest"
    protocol: Literal["http/1.1"] = "http/1.1"

    def request(self, deployment: str, inputs: Mapping[str, Array]) -> Request:
        """See Dialect."""
        parsed = Deployment.parse(deployment)
        version = f"/versions/{parsed.version}" if parsed.version else ""
        body = json.dumps(_document(inputs)).encode()
        headers = (("Content-Type", "application/json"),)
        return Request(f"/v1/models/{parsed.name}{version}:predict", body, headers)

    def outputs(self, answer: Reply) -> Mapping[str, Array]:
        """See Dialect."""
        with reading(answer, "TF Serving") as body:
            document = json.loads(body)
            return _by_row(document["predictions"]) if "predictions" in document else _by_column(document["outputs"])


def _document(inputs: Mapping[str, Array]) -> dict[str, Any]:
    columns = {name: values(tensor) for name, tensor in inputs.items()}
    rows = {len(tensor) if tensor.ndim else -1 for tensor in inputs.values()}
    if len(rows) != 1 or min(rows) < 1:
        return {"inputs": columns}
    if len(columns) == 1:
        return {"instances": next(iter(columns.values()))}
    return {"instances": [{name: column[row] for name, column in columns.items()} for row in range(rows.pop())]}


def values(tensor: Array) -> Any:
    """A tensor as nested lists, its bytes as {"b64": …}."""
    if tensor.dtype.hasobject:
        written = np.empty(tensor.size, np.object_)
        written[:] = [{"b64": b64encode(each).decode()} for each in tensor.ravel()]
        return written.reshape(tensor.shape).tolist()
    return (tensor.astype(np.float32) if tensor.dtype.kind == "V" else tensor).tolist()


def _by_row(rows: list[Any]) -> dict[str, Array]:
    if rows and isinstance(rows[0], dict) and "b64" not in rows[0]:
        return {name: _tensor([row[name] for row in rows]) for name in rows[0]}
    return {"": _tensor(rows)}


def _by_column(columns: Any) -> dict[str, Array]:
    if isinstance(columns, dict) and "b64" not in columns:
        return {name: _tensor(column) for name, column in columns.items()}
    return {"": _tensor(columns)}


def _tensor(column: Any) -> Array:
    """JSON does not say which datatype it is: numbers are FP64, INT64 or BOOL, texts and bytes are BYTES."""
    tensor = np.array(_plain(column))
    return tensor if tensor.dtype.kind in "fiub" else np.array(_plain(column), np.object_)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return b64decode(value["b64"])
    return value.encode() if isinstance(value, str) else value
