"""LitServe with an ONNX model: `{"x": [numbers]}` to `{"y": [numbers]}`, what waits together in one batch.

`python litserve_server.py MODEL PORT BATCH_SIZE TIMEOUT_S`
"""

from __future__ import annotations

import sys
from typing import Any

import litserve  # type: ignore[import-not-found]  # it is in another environment
import numpy as np
import onnxruntime


class Onnx(litserve.LitAPI):  # type: ignore[misc]
    """The model, as LitServe's documentation has people write one."""

    def __init__(self, path: str, **options: Any) -> None:
        super().__init__(**options)
        self._path = path

    def setup(self, _device: str) -> None:
        """Called once, in the worker."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self._path, options)

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # LitServe reads annotations
        """Called with each request's JSON."""
        return np.array(request["x"], np.float32)

    def predict(self, x: Any) -> Any:
        """Called with rows made into one array."""
        return self._session.run(None, {"x": x})[0]

    def encode_response(self, output: Any) -> dict[str, Any]:
        """Called with each answer."""
        return {"y": output.tolist()}


if __name__ == "__main__":
    model = Onnx(sys.argv[1], max_batch_size=int(sys.argv[3]), batch_timeout=float(sys.argv[4]))
    server = litserve.LitServer(model, accelerator="cpu", workers_per_device=1)
    server.run("127.0.0.1", int(sys.argv[2]), num_api_servers=1, log_level="warning", generate_client_file=False)
