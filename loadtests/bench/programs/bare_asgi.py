"""The least that a server with a model can be: an ASGI callable that runs the model in its own event loop.

`python -m loadtests.bench.programs.bare_asgi MODEL PORT` answers V2's JSON at any path, and looks at nothing twice.
"""

import sys
from typing import Any

import numpy as np
import onnxruntime
import orjson
import uvicorn

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options) if len(sys.argv) > 1 else None


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI callable."""
    assert session is not None
    chunks, more = [], True
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    feed = {
        each["name"]: np.array(each["data"], np.float32).reshape(each["shape"])
        for each in orjson.loads(b"".join(chunks))["inputs"]
    }
    outputs = [
        {"name": node.name, "shape": value.shape, "datatype": "FP32", "data": value.ravel()}
        for node, value in zip(session.get_outputs(), session.run(None, feed), strict=True)
    ]
    body = orjson.dumps({"model_name": "model", "outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[2]),
        http="httptools",
        loop="uvloop",
        lifespan="off",
        log_level="warning",
        access_log=False,
    )
