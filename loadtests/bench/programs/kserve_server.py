"""The KServe SDK's server over REST and gRPC, with an ONNX model in its own process.

`python kserve_server.py NAME MODEL HTTP_PORT GRPC_PORT`. Put together as the SDK's ModelServer does it, but on loopback
alone and without its log lines; like it on asyncio's own event loop.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelRepository
from kserve.constants.constants import FASTAPI_APP_IMPORT_STRING, MAX_GRPC_MESSAGE_LENGTH
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as services
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor, LoggingInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer
from kserve.utils.utils import generate_uuid

_MAX_THREADS = 4  # as ModelServer has it


class Onnx(Model):  # type: ignore[misc]  # the SDK is in another environment
    """The model, as the SDK's documentation has people write one."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options)
        self.ready = True

    def predict(self, payload: InferRequest, headers: dict[str, str] | None = None) -> InferResponse:
        """Run the model; answers are binary where the request is."""
        feed = {each.name: each.as_numpy() for each in payload.inputs}
        (value,) = self._session.run(None, feed)
        output = InferOutput("y", list(value.shape), "FP32")
        output.set_data_from_numpy(value, binary_data=payload.from_grpc)
        return InferResponse(payload.id or generate_uuid(), self.name, [output])


async def serve(model: Model, http_port: int, grpc_port: int) -> None:
    """Answer until the process is ended."""
    models = ModelRepository()
    models.update(model)
    data, extension = DataPlane(models), ModelRepositoryExtension(models)
    length = [(f"grpc.max_{way}_message_length", MAX_GRPC_MESSAGE_LENGTH) for way in ("send", "receive")]
    interceptors = (LoggingInterceptor(), ExceptionToStatusInterceptor())
    grpc_server = grpc.aio.server(ThreadPoolExecutor(_MAX_THREADS), interceptors=interceptors, options=length)
    services.add_GRPCInferenceServiceServicer_to_server(InferenceServicer(data, extension), grpc_server)
    grpc_server.add_insecure_port(f"127.0.0.1:{grpc_port}")
    await grpc_server.start()
    rest_server = RESTServer(FASTAPI_APP_IMPORT_STRING, data, extension, http_port)
    rest_server.config.host = "127.0.0.1"
    await rest_server.start()


if __name__ == "__main__":
    asyncio.run(serve(Onnx(sys.argv[1], sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
