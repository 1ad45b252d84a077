"""The KServe SDK's server over gRPC, with the MLP in its own process.

`.clients/kserve/bin/python -P loadtests/bench/kserve_mlp.py MODEL PORT`; `make bench-peers` makes that interpreter. Put
together as the SDK's ModelServer does it, but on loopback alone, without the REST server and without its log lines.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelRepository
from kserve.constants.constants import MAX_GRPC_MESSAGE_LENGTH
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as services
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor, LoggingInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

_MAX_THREADS = 4  # as ModelServer has it


class Mlp(Model):  # type: ignore[misc]  # the SDK is in another environment
    """The model, as the SDK's documentation has people write one."""

    def __init__(self, path: str) -> None:
        super().__init__("mlp")
        self._session = onnxruntime.InferenceSession(path)
        self.ready = True

    def predict(self, payload: InferRequest, headers: dict[str, str] | None = None) -> InferResponse:
        """Run the model."""
        feed = {each.name: each.as_numpy() for each in payload.inputs}
        outputs = []
        for node, value in zip(self._session.get_outputs(), self._session.run(None, feed), strict=True):
            output = InferOutput(node.name, list(value.shape), "FP32")
            output.set_data_from_numpy(value, binary_data=True)
            outputs.append(output)
        return InferResponse(payload.id, "mlp", outputs)


async def serve(model: Model, port: int) -> None:
    """Answer until the process is ended."""
    models = ModelRepository()
    models.update(model)
    length = [(f"grpc.max_{way}_message_length", MAX_GRPC_MESSAGE_LENGTH) for way in ("send", "receive")]
    server = grpc.aio.server(
        ThreadPoolExecutor(_MAX_THREADS),
        interceptors=(LoggingInterceptor(), ExceptionToStatusInterceptor()),
        options=length,
    )
    servicer = InferenceServicer(DataPlane(models), ModelRepositoryExtension(models))
    services.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(Mlp(sys.argv[1]), int(sys.argv[2])))
