"""`inference.GRPCInferenceService`: V2 over gRPC, with the calls that Triton adds to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any, Final

from google.protobuf.json_format import ParseDict

from gateway.dataplane import DataPlane
from gateway.errors import ModelNotFound, VersionNotReady
from gateway.grpc_api.calls import Call, service, status, stream, unary
from gateway.grpc_api.model_repository import ModelRepository
from gateway.modelaccess import ModelAccess
from gateway.protocols.model_metadata import EXTENSIONS, configure_model, describe_model
from gateway.protocols.model_statistics import describe_statistics
from gateway.protocols.open_inference_messages import ModelInferRequest, decode_infer, encode_infer, is_raw
from gateway.protocols.protos import message
from gateway.registry import Lease
from gateway.types import Target

NAME: Final = "inference.GRPCInferenceService"
_AT_ONCE: Final = 64
"""Requests of one stream that run at the same time; more wait in the connection."""


class InferenceService:
    """Inference, and what there is to infer with."""

    def __init__(self, dataplane: DataPlane, models: ModelAccess) -> None:
        self._dataplane = dataplane
        self._models = models

    async def infer(self, request: Any, call: Call) -> Any:
        """ModelInfer."""
        response = await self._dataplane.infer(decode_infer(request, call.timeout_ms, call))
        call.served_by(response.deployment, response.assigned)
        return encode_infer(response, is_raw(request))

    async def infer_stream(self, requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
        """ModelStreamInfer: many at a time, answered in the order of the requests; an error ends no stream."""
        answers: asyncio.Queue[asyncio.Task[Any] | None] = asyncio.Queue()
        places = asyncio.Semaphore(_AT_ONCE)
        running: set[asyncio.Task[Any]] = set()

        async def read() -> None:
            try:
                async for request in requests:
                    await places.acquire()
                    task = asyncio.create_task(self._streamed(request, call))
                    running.add(task)
                    answers.put_nowait(task)
            finally:
                answers.put_nowait(None)

        reading = asyncio.create_task(read())
        try:
            while (task := await answers.get()) is not None:
                yield await task
                running.discard(task)
                places.release()
            await reading
        finally:
            for task in (reading, *running):
                task.cancel()
            await asyncio.gather(reading, *running, return_exceptions=True)

    async def _streamed(self, request: Any, call: Call) -> Any:
        answer = _ModelStreamInferResponse()
        try:
            response = await self._dataplane.infer(decode_infer(request, call.timeout_ms, call))
            answer.infer_response.CopyFrom(encode_infer(response, is_raw(request)))
            answer.infer_response.parameters["triton_final_response"].bool_param = True
        except Exception as error:  # noqa: BLE001  # one request's failure is not the stream's
            answer.error_message = status(error)[1]
            answer.infer_response.id = request.id
        return answer

    async def live(self, _request: Any, _call: Call) -> Any:
        """ServerLive."""
        return _ServerLiveResponse(live=True)

    async def ready(self, _request: Any, _call: Call) -> Any:
        """ServerReady."""
        return _ServerReadyResponse(ready=self._dataplane.registry.ready)

    async def model_ready(self, request: Any, _call: Call) -> Any:
        """ModelReady: also false for what is not there, as Triton answers."""
        try:
            self._dataplane.resolve(Target.parse(request.name, request.version or None))
        except (ModelNotFound, VersionNotReady):
            return _ModelReadyResponse(ready=False)
        return _ModelReadyResponse(ready=True)

    async def server_metadata(self, _request: Any, _call: Call) -> Any:
        """ServerMetadata."""
        return _ServerMetadataResponse(name="torii", version=version("torii-gateway"), extensions=EXTENSIONS)

    async def model_metadata(self, request: Any, _call: Call) -> Any:
        """ModelMetadata."""
        lease, versions = self._find(request)
        described = describe_model(request.name, versions, lease.endpoint)
        del described["parameters"]
        return _ModelMetadataResponse(**described)

    async def model_config(self, request: Any, _call: Call) -> Any:
        """ModelConfig."""
        lease, _ = self._find(request)
        config = configure_model(request.name, [lease.deployment.version], lease.endpoint)
        return ParseDict({"config": config}, _ModelConfigResponse())

    async def statistics(self, request: Any, _call: Call) -> Any:
        """ModelStatistics; no name is all models."""
        target = Target.parse(request.name, request.version or None) if request.name else None
        told = describe_statistics(await self._models.statistics(), target, request.name)
        return ParseDict(told, _ModelStatisticsResponse())

    def _find(self, request: Any) -> tuple[Lease, list[int]]:
        lease = self._dataplane.resolve(Target.parse(request.name, request.version or None))
        return lease, self._dataplane.registry.tables[lease.deployment.model].versions()


_ModelStreamInferResponse = message("inference.ModelStreamInferResponse")
_ServerLiveResponse = message("inference.ServerLiveResponse")
_ServerReadyResponse = message("inference.ServerReadyResponse")
_ModelReadyResponse = message("inference.ModelReadyResponse")
_ServerMetadataResponse = message("inference.ServerMetadataResponse")
_ModelMetadataResponse = message("inference.ModelMetadataResponse")
_ModelConfigResponse = message("inference.ModelConfigResponse")
_ModelStatisticsResponse = message("inference.ModelStatisticsResponse")


def services(dataplane: DataPlane, models: ModelAccess) -> list[Any]:
    """The handlers of this protocol's services."""
    inference = InferenceService(dataplane, models)
    acts = {
        "ServerLive": inference.live,
        "ServerReady": inference.ready,
        "ModelReady": inference.model_ready,
        "ServerMetadata": inference.server_metadata,
        "ModelMetadata": inference.model_metadata,
        "ModelInfer": inference.infer,
        "ModelConfig": inference.model_config,
        "ModelStatistics": inference.statistics,
        **ModelRepository(models).acts(),
    }
    methods = {name: unary(act, message(f"inference.{name}Request")) for name, act in acts.items()}
    methods["ModelStreamInfer"] = stream(inference.infer_stream, ModelInferRequest)
    return [service(NAME, methods)]
