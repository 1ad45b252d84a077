"""TorchServe's /predictions: a JSON list, or an object with a list for each input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from loadtests.dialects.deployment import Deployment
from loadtests.dialects.reply import Reply, reading
from loadtests.dialects.tensors import Array
from loadtests.engine.plan import Request


class TorchServe:
    """Batches as JSON."""

    name = "torchserve"
    protocol: Literal["http/1.1"] = "http/1.1"

    def request(self, deployment: str, inputs: Mapping[str, Array]) -> Request:
        """See Dialect."""
        parsed = Deployment.parse(deployment)
        version = f"/{parsed.version}" if parsed.version else ""
        columns = {name: _values(name, tensor) for name, tensor in inputs.items()}
        document = columns if len(columns) > 1 else next(iter(columns.values()), None)
        body = json.dumps(document).encode()
        return Request(f"/predictions/{parsed.name}{version}", body, (("Content-Type", "application/json"),))

    def outputs(self, answer: Reply) -> Mapping[str, Array]:
        """See Dialect."""
        with reading(answer, "TorchServe") as body:
            document = json.loads(body)
            columns = document if isinstance(document, dict) else {"": document}
            return {name: _tensor(column) for name, column in columns.items()}


def _values(name: str, tensor: Array) -> Any:
    if tensor.dtype.hasobject:
        try:
            texts = np.empty(tensor.size, np.object_)
            texts[:] = [each.decode() for each in tensor.ravel()]
        except UnicodeDecodeError:
            raise ValueError(f"input '{name}' holds bytes that are no text, which JSON cannot say") from None
        return texts.reshape(tensor.shape).tolist()
    if tensor.dtype.kind in "fV" and not np.isfinite(tensor.astype(np.float64)).all():
        raise ValueError(f"input '{name}' holds NaN or infinities, which JSON has no numbers for")
    return (tensor.astype(np.float32) if tensor.dtype.kind == "V" else tensor).tolist()


def _tensor(column: Any) -> Array:
    tensor = np.array(column)
    if tensor.dtype.kind in "fiub":
        return tensor
    texts = np.array(column, np.object_)
    if not all(isinstance(each, str) for each in texts.ravel()):
        raise ValueError("expected numbers or texts in lists of equal lengths")
    return np.vectorize(str.encode, otypes=[np.object_])(texts) if texts.size else texts
