"""A model of Triton's Python backend: an ONNX model, all that Triton gives together run as one batch.

It lies in Triton's repository as model.py, beside model.onnx. The backend sets the path to the system's packages.
"""

import os
import sys

sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)

from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import triton_python_backend_utils as triton  # type: ignore[import-not-found]  # noqa: E402  # Triton brings it


class TritonPythonModel:
    """The name is Triton's."""

    def initialize(self, args: dict[str, str]) -> None:
        """Called once."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = Path(args["model_repository"], args["model_version"], "model.onnx")
        self._session = onnxruntime.InferenceSession(path, options)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Called with the requests of one batch."""
        rows = [triton.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        (output,) = self._session.run(None, {"x": np.concatenate(rows) if len(rows) > 1 else rows[0]})
        answers, start = [], 0
        for each in rows:
            part = triton.Tensor("y", output[start : start + len(each)])
            answers.append(triton.InferenceResponse([part]))
            start += len(each)
        return answers
