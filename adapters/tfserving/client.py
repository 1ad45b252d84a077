"""The data side of TF Serving: one gRPC channel, many Predict calls in flight, and what else its clients may ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict

from adapters.base import ROUTINE, Endpoint, Urgency
from adapters.errors import BackendUnavailable, InferenceFailed, InvalidInput, LoadFailed
from adapters.tensors import Signature, Tensor, Tensors
from adapters.tfserving.examples import Features, write_examples
from adapters.tfserving.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)
from adapters.tfserving.rpc import call, connected, open_channel
from adapters.tfserving.signatures import choose_signature
from adapters.tfserving.tensor_proto import decode, encode

_CONNECT_LIMIT_S = 5.0
_METADATA_LIMIT_S = 10.0
_DEFAULT_SIGNATURE = "serving_default"


class TfServingClient:
    """A Servable over TF Serving's PredictionService.

    `endpoint.remote` has the server's `model` and `version`, and the `signature_name` of `endpoint.signature`.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.signature = endpoint.signature
        self._channel = open_channel(endpoint.address)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._model = endpoint.remote["model"]
        self._version = int(endpoint.remote["version"])
        self._served = endpoint.remote["signature_name"]
        self._prototype = predict_pb2.PredictRequest()
        self._name(self._prototype.model_spec, self._served)
        self._signatures: Mapping[str, Any] | None = None

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

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> dict[str, Tensor]:
        """Predict; see Servable.infer. Cancelling cancels the call, which the server may finish all the same.

        Raises:
            InvalidInput: TF Serving or a tensor's encoding refuses the inputs.
        """
        request = predict_pb2.PredictRequest()
        request.CopyFrom(self._prototype)
        for name, tensor in inputs.items():
            encode(tensor, request.inputs[name])
        return _outputs(await call(self._stub.Predict, request))

    async def infer_by(self, signature_name: str, read: Callable[[Signature], Tensors]) -> dict[str, Tensor]:
        """Predict with any of the model's signatures; `read` gives the inputs that fit it, or raises.

        Raises:
            InvalidInput: the model has no such signature, or none that tensors can be sent to; or as `infer` does.
        """
        name, signature = await self._signature(await self.signature_name(signature_name))
        inputs = read(signature)
        request = predict_pb2.PredictRequest()
        self._name(request.model_spec, name)
        for key, tensor in inputs.items():
            encode(tensor, request.inputs[key])
        return _outputs(await call(self._stub.Predict, request, verbatim=True))

    async def classify(
        self, signature_name: str, examples: Sequence[Features], context: Features | None
    ) -> list[list[tuple[str, float]]]:
        """Classify; gives the classes of each example as label and score. Raises InvalidInput in TF Serving's words."""
        request = classification_pb2.ClassificationRequest()
        self._name(request.model_spec, await self.signature_name(signature_name))
        write_examples(examples, context, request.input)
        response = await call(self._stub.Classify, request, verbatim=True)
        found = response.result.classifications
        return [[(each.label, each.score) for each in classes.classes] for classes in found]

    async def regress(self, signature_name: str, examples: Sequence[Features], context: Features | None) -> list[float]:
        """Regress; gives a value for each example. Raises InvalidInput in TF Serving's words."""
        request = regression_pb2.RegressionRequest()
        self._name(request.model_spec, await self.signature_name(signature_name))
        write_examples(examples, context, request.input)
        response = await call(self._stub.Regress, request, verbatim=True)
        return [each.value for each in response.result.regressions]

    async def relay(self, method: str, request: Any, limit_s: float | None = None) -> Any:
        """Have another's request to PredictionService answered by this model; its ModelSpecs are overwritten.

        The answer's ModelSpecs have the server's names, which are not the caller's.

        Raises:
            InvalidInput: the caller's mistake, in TF Serving's words.
            ServingError: as `infer` does.
        """
        for spec in [request.model_spec] if method != "MultiInference" else [each.model_spec for each in request.tasks]:
            self._name(spec, await self.signature_name(spec.signature_name))
        return await call(getattr(self._stub, method), request, limit_s=limit_s, verbatim=True)

    async def describe_signatures(self) -> dict[str, Any]:
        """All signatures of the model: SignatureDefs as JSON, by name."""
        return {
            name: MessageToDict(each, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
            for name, each in (await self._all_signatures()).items()
        }

    async def signature_name(self, asked: str) -> str:
        """The signature that a request means: none, and a default that the model does not have, mean the served one."""
        if asked in ("", self._served):
            return self._served
        if asked == _DEFAULT_SIGNATURE and asked not in await self._all_signatures():
            return self._served
        return asked

    async def _signature(self, name: str) -> tuple[str, Signature]:
        signatures = await self._all_signatures()
        if name not in signatures:
            there = ", ".join(sorted(signatures))
            raise InvalidInput(f'Serving signature name: "{name:.80}" not found in signature def; there are: {there}')
        try:
            return choose_signature(signatures, name)
        except LoadFailed as error:  # it has tensors that no protocol of Torii carries
            raise InvalidInput(str(error)) from error

    async def _all_signatures(self) -> Mapping[str, Any]:
        if self._signatures is None:  # a version's never change
            request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
            self._name(request.model_spec, "")
            response = await call(self._stub.GetModelMetadata, request, limit_s=_METADATA_LIMIT_S)
            found = get_model_metadata_pb2.SignatureDefMap()
            if not response.metadata["signature_def"].Unpack(found):
                raise InferenceFailed("TF Serving answered metadata without a SignatureDefMap")
            self._signatures = dict(found.signature_def)
        return self._signatures

    def _name(self, spec: Any, signature_name: str) -> None:
        spec.name = self._model
        spec.version.value = self._version
        spec.signature_name = signature_name

    async def aclose(self) -> None:
        """Close the connection."""
        await self._channel.close()


def _outputs(response: Any) -> dict[str, Tensor]:
    try:
        return {name: decode(proto) for name, proto in response.outputs.items()}
    except InvalidInput as error:
        raise InferenceFailed(f"TF Serving answered something that is not a tensor: {error}") from error
