"""A runtime for MLServer: an ONNX model as its documentation has people write one; MLServer does the batching.

It is named in model-settings.json as `mlserver_runtime.Onnx`, so its folder has to be on the path.
"""

from __future__ import annotations

import onnxruntime
from mlserver import MLModel  # type: ignore[import-not-found]  # it is in another environment
from mlserver.codecs import NumpyCodec  # type: ignore[import-not-found]
from mlserver.types import InferenceRequest, InferenceResponse  # type: ignore[import-not-found]


class Onnx(MLModel):  # type: ignore[misc]
    """A model with one output, `y`."""

    async def load(self) -> bool:
        """Called once by MLServer."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self.settings.parameters.uri, options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Called by MLServer with one request, or with several made into one."""
        feed = {each.name: NumpyCodec.decode_input(each) for each in payload.inputs}
        (output,) = self._session.run(None, feed)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", output)])
