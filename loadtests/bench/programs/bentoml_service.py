"""A service for BentoML: `{"x": [[numbers]]}` to `[[numbers]]`, batched as BentoML sees fit.

`BENCH_MODEL=… BENCH_ROWS=… BENCH_MS=… bentoml serve bentoml_service:Onnx --host 127.0.0.1 --port PORT`
"""

import os

import bentoml  # type: ignore[import-not-found]  # it is in another environment
import numpy as np
import onnxruntime

_ROWS, _LATENCY_MS = int(os.environ["BENCH_ROWS"]), int(os.environ["BENCH_MS"])


@bentoml.service(workers=1, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Onnx:
    """The model, as BentoML's documentation has people write one."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options)

    @bentoml.api(batchable=True, max_batch_size=_ROWS, max_latency_ms=_LATENCY_MS)  # type: ignore[untyped-decorator]
    def predict(self, x: np.ndarray) -> np.ndarray:  # BentoML reads the annotations
        """Called with rows made into one array."""
        output: np.ndarray = self._session.run(None, {"x": x.astype(np.float32)})[0]
        return output
