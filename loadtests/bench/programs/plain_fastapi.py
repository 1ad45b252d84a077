"""What people write by hand: one file of FastAPI, pydantic bodies, onnxruntime in the same process.

`python -m loadtests.bench.programs.plain_fastapi MODEL PORT`
"""

import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Tensor(BaseModel):
    """One tensor."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Request(BaseModel):
    """A request."""

    inputs: list[Tensor]


class Response(BaseModel):
    """An answer."""

    model_name: str
    outputs: list[Tensor]


options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options) if len(sys.argv) > 1 else None
app = FastAPI()


@app.post("/v2/models/mlp/infer")
async def infer(request: Request) -> Response:
    """Run the model."""
    assert session is not None
    feed = {each.name: np.array(each.data, np.float32).reshape(each.shape) for each in request.inputs}
    outputs = [
        Tensor(name=node.name, shape=list(value.shape), datatype="FP32", data=value.ravel().tolist())
        for node, value in zip(session.get_outputs(), session.run(None, feed), strict=True)
    ]
    return Response(model_name="mlp", outputs=outputs)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
