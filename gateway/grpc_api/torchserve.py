"""TorchServe's inference API over gRPC: ping and predictions."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.empty_pb2 import Empty

from adapters.base import RawAnswer, RawServable, Servable
from adapters.errors import InvalidInput
from gateway.dataplane import DataPlane, Way
from gateway.errors import ModelNotFound, Unsupported, VersionNotReady
from gateway.grpc_api.calls import Call, service, unary
from gateway.protocols.form_fields import write_fields
from gateway.protocols.protos import message
from gateway.protocols.torchserve import (
    Refusal,
    encode_health,
    handler_error,
    is_healthy,
    missing,
    read_target,
    takes_bodies,
)
from gateway.protocols.torchserve_tensors import decode_fields, encode_outputs
from gateway.types import InferRequest, Target

PACKAGE: Final = "org.pytorch.serve.grpc.inference"
NAME: Final = f"{PACKAGE}.InferenceAPIsService"

_PredictionsRequest: Final = message(f"{PACKAGE}.PredictionsRequest")
_PredictionResponse: Final = message(f"{PACKAGE}.PredictionResponse")
_HealthResponse: Final = message(f"{PACKAGE}.TorchServeHealthResponse")


class TorchServeService:
    """Predictions: a deployment with a handler of its own gets the map's entries, every other tensors in them."""

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    async def ping(self, _request: Any, _call: Call) -> Any:
        """Ping: as over HTTP, a JSON text; an unhealthy server says so in it."""
        registry = self._dataplane.registry
        return _HealthResponse(health=encode_health(is_healthy(registry.ready, registry.tables)).decode().strip())

    async def predictions(self, request: Any, call: Call) -> Any:
        """Predictions: the answer's bytes are what the body would be over HTTP."""
        if not request.model_name:
            raise InvalidInput("Parameter model_name is required.")
        try:
            tables = self._dataplane.registry.tables
            target = read_target(request.model_name, request.model_version or None, tables)
            way = self._route(target, call)
        except Refusal as refusal:
            raise ModelNotFound(str(refusal)) from None
        if takes_bodies(way.lease.endpoint):
            prediction = await self._exchange(request, way, call)
        else:
            prediction = await self._infer(request, target, way, call)
        call.served_by(way.deployment, way.assignment)
        return _PredictionResponse(prediction=prediction)

    def _route(self, target: Target, call: Call) -> Way:
        try:
            return self._dataplane.route(target, call)
        except (ModelNotFound, VersionNotReady) as error:
            raise missing(target, self._dataplane.registry.tables.get(target.model)) or error from None

    async def _infer(self, request: Any, target: Target, way: Way, call: Call) -> bytes:
        inputs = decode_fields(request.input, way.lease.endpoint.signature)
        response = await self._dataplane.infer(InferRequest(target, inputs.tensors, timeout_ms=call.timeout_ms), way)
        accept = call.metadata().get("accept", b"")
        return encode_outputs(response.outputs, inputs.one_row, accept.encode() if isinstance(accept, str) else accept)[
            1
        ]

    async def _exchange(self, request: Any, way: Way, call: Call) -> bytes:
        content_type, body = write_fields(request.input)

        async def act(servable: Servable) -> RawAnswer:
            assert isinstance(servable, RawServable)
            answer = await servable.exchange(body, {"content-type": content_type})
            if answer.status >= 400:
                raise handler_error(answer)
            return answer

        return (await self._dataplane.relay(way, act, call.timeout_ms)).body

    async def sequence(self, _request: Any, _call: Call) -> Any:
        """StreamPredictions2: for handlers that keep state from request to request."""
        raise Unsupported("StreamPredictions2 is for stateful models, which are not served here; use Predictions")


def services(dataplane: DataPlane) -> list[Any]:
    """The handlers of this protocol's services."""
    torchserve = TorchServeService(dataplane)
    methods = {
        "Ping": unary(torchserve.ping, Empty),
        "Predictions": unary(torchserve.predictions, _PredictionsRequest),
        # On the wire, one answer is a stream of one: what a handler gives in pieces comes as a whole.
        "StreamPredictions": unary(torchserve.predictions, _PredictionsRequest),
        "StreamPredictions2": unary(torchserve.sequence, _PredictionsRequest),
    }
    return [service(NAME, methods)]
