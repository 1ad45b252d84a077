"""The data side of TF Serving: one gRPC channel, many Predict calls in flight."""

from __future__ import annotations

import asyncio

from adapters.base import Endpoint
from adapters.errors import BackendUnavailable, InferenceFailed, InvalidInput
from adapters.tensors import Tensor, Tensors
from adapters.tfserving.protos import predict_pb2, prediction_service_pb2_grpc
from adapters.tfserving.rpc import call, connected, open_channel
from adapters.tfserving.tensor_proto import decode, encode

_CONNECT_LIMIT_S = 5.0


class TfServingClient:
    """A Servable over TF Serving's PredictionService.

    `endpoint.remote` has the server's `model` and `version`, and the `signature_name` of `endpoint.signature`.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.signature = endpoint.signature
        self._channel = open_channel(endpoint.address)
        self._predict = prediction_service_pb2_grpc.PredictionServiceStub(self._channel).Predict
        self._prototype = predict_pb2.PredictRequest()
        self._prototype.model_spec.name = endpoint.remote["model"]
        self._prototype.model_spec.version.value = int(endpoint.remote["version"])
        self._prototype.model_spec.signature_name = endpoint.remote["signature_name"]

    @classmethod
    async def connect(cls, endpoint: Endpoint) -> TfServingClient:
        """Connect; raises BackendUnavailable where nothing answers at the endpoint's address."""
        client = cls(endpoint)
        try:
            async with asyncio.timeout(_CONNECT_LIMIT_S):
                await connected(client._channel, endpoint.address)
        except TimeoutError as error:
            await client.aclose()
            raise BackendUnavailable(f"nothing answers at {endpoint.address} within {_CONNECT_LIMIT_S:g} s") from error
        except BaseException:
            await client.aclose()
            raise
        return client

    async def infer(self, inputs: Tensors) -> dict[str, Tensor]:
        """Predict; see Servable.infer. Cancelling cancels the call, which the server may finish all the same.

        Raises:
            InvalidInput: TF Serving or a tensor's encoding refuses the inputs.
        """
        request = predict_pb2.PredictRequest()
        request.CopyFrom(self._prototype)
        for name, tensor in inputs.items():
            encode(tensor, request.inputs[name])
        response = await call(self._predict, request)
        try:
            return {name: decode(proto) for name, proto in response.outputs.items()}
        except InvalidInput as error:
            raise InferenceFailed(f"TF Serving answered something that is not a tensor: {error}") from error

    async def aclose(self) -> None:
        """Close the connection."""
        await self._channel.close()
