"""`tensorflow.serving.PredictionService` and `tensorflow.serving.ModelService`, for every backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from google.protobuf.json_format import ParseDict

from adapters.base import Servable
from adapters.errors import InvalidInput
from adapters.tensors import Tensor
from adapters.tfserving.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_service_pb2,
    regression_pb2,
)
from adapters.tfserving.tensor_proto import decode, encode_values
from gateway.dataplane import DataPlane, Way
from gateway.errors import ModelNotFound, NotAllowed, Unsupported
from gateway.grpc_api.calls import Call, service, unary
from gateway.protocols.tf_serving import DEFAULT_SIGNATURE, check_signature_name, in_their_words, takes_examples
from gateway.protocols.tf_serving_models import describe_signature, describe_status
from gateway.registry import Able, Lease
from gateway.types import InferRequest, InferResponse, Target

if TYPE_CHECKING:
    from adapters.tfserving.client import TfServingClient

PREDICTION_SERVICE: Final[str] = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"].full_name
MODEL_SERVICE: Final[str] = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name

_SIGNATURES: Final = "signature_def"
_TASKS: Final = ("tensorflow/serving/classify", "tensorflow/serving/regress")


class PredictionService:
    """Inference: relayed to deployments of TF Serving's own, and by way of tensors to all others."""

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    async def predict(self, request: Any, call: Call) -> Any:
        """Predict."""
        spec = request.model_spec
        name = spec.name
        target = _target(spec)
        way = _route(self._dataplane, target, call)
        if way.lease.endpoint.backend == "tfserving":
            response = await self._relay("Predict", way, request, call)
            response.model_spec.name = name
            return response
        if way.lease.endpoint.remote.get("kind") == "raw":
            raise Unsupported(f"{way.deployment} takes no tensors; send its body to /predictions/{{model}} over HTTP")
        check_signature_name(spec.signature_name)
        inputs = {alias: _decode(alias, proto) for alias, proto in request.inputs.items()}
        outputs = _wanted(request.output_filter)
        answer = await self._dataplane.infer(InferRequest(target, inputs, None, outputs, call.timeout_ms), way)
        call.served_by(answer.deployment, answer.assigned)
        return _encode(answer, name)

    async def classify(self, request: Any, call: Call) -> Any:
        """Classify."""
        return await self._relay_examples("Classify", request, call)

    async def regress(self, request: Any, call: Call) -> Any:
        """Regress."""
        return await self._relay_examples("Regress", request, call)

    async def infer_multiple(self, request: Any, call: Call) -> Any:
        """MultiInference: several signatures of one model, on the version that the first task names."""
        tasks = request.tasks
        if not tasks:
            raise InvalidInput("Inference request must have at least one task.")
        names = {task.model_spec.name for task in tasks}
        if len(names) > 1:
            raise InvalidInput("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        for task in tasks:
            if task.method_name not in _TASKS:
                raise Unsupported(f"Unsupported signature method_name: {task.method_name:.80}")
        way = self._with_examples("MultiInference", tasks[0].model_spec, call)
        response = await self._relay("MultiInference", way, request, call)
        for result in response.results:
            result.model_spec.name = next(iter(names))
        return response

    async def metadata(self, request: Any, call: Call) -> Any:
        """GetModelMetadata."""
        name = request.model_spec.name
        lease = _resolve(self._dataplane, _target(request.model_spec))
        if not request.metadata_field:
            raise InvalidInput("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != _SIGNATURES:
                raise InvalidInput(f"Metadata field {field:.80} is not supported")
        if lease.endpoint.backend == "tfserving":
            with lease:  # no inference, and so not counted among them
                signatures = await lease.servable.let_through(lambda servable: _client(servable).describe_signatures())
        else:
            signatures = describe_signature(lease.endpoint.signature)
        call.served_by(lease.deployment)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = name
        response.model_spec.version.value = lease.deployment.version
        found = ParseDict({_SIGNATURES: signatures}, get_model_metadata_pb2.SignatureDefMap())
        response.metadata[_SIGNATURES].Pack(found)
        return response

    async def _relay_examples(self, method: str, request: Any, call: Call) -> Any:
        name = request.model_spec.name
        way = self._with_examples(method, request.model_spec, call)
        response = await self._relay(method, way, request, call)
        response.model_spec.name = name
        return response

    def _with_examples(self, method: str, spec: Any, call: Call) -> Way:
        """A deployment that takes tf.Examples; raises Unsupported where it is none of TF Serving's."""
        target = _target(spec)
        way = _route(self._dataplane, target, call, takes_examples)
        if not takes_examples(way.lease.endpoint):
            raise Unsupported(
                f"{method}: {way.deployment} takes no tf.Examples: only deployments on tfserving do, where the "
                f"SavedModel has a signature for it; send tensors to Predict, or ask for {target.model}@tfserving"
            )
        return way

    async def _relay(self, method: str, way: Way, request: Any, call: Call) -> Any:
        timeout_ms = call.timeout_ms
        limit_s = None if timeout_ms is None else timeout_ms / 1000

        def act(servable: Servable) -> Any:
            return _client(servable).relay(method, request, limit_s)

        response = await self._dataplane.relay(way, act, timeout_ms)
        call.served_by(way.deployment, way.assignment)
        return response


class ModelService:
    """What there is; what is served, the repository says, and no request."""

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    async def status(self, request: Any, _call: Call) -> Any:
        """GetModelStatus."""
        told = describe_status(_target(request.model_spec), self._dataplane.registry.tables)
        return ParseDict(told, get_model_status_pb2.GetModelStatusResponse())

    async def reload(self, _request: Any, _call: Call) -> Any:
        """HandleReloadConfigRequest: refused, whatever it asks for."""
        raise NotAllowed(
            "HandleReloadConfigRequest: what is served is what the model repository holds: to serve or unload a "
            "version, put its folder there or take it away; to move a label, use `torii label`"
        )


def handlers(dataplane: DataPlane) -> list[Any]:
    """The handlers of both services."""
    prediction, models = PredictionService(dataplane), ModelService(dataplane)
    return [
        service(
            PREDICTION_SERVICE,
            {
                "Predict": unary(prediction.predict, predict_pb2.PredictRequest),
                "Classify": unary(prediction.classify, classification_pb2.ClassificationRequest),
                "Regress": unary(prediction.regress, regression_pb2.RegressionRequest),
                "MultiInference": unary(prediction.infer_multiple, inference_pb2.MultiInferenceRequest),
                "GetModelMetadata": unary(prediction.metadata, get_model_metadata_pb2.GetModelMetadataRequest),
            },
        ),
        service(
            MODEL_SERVICE,
            {
                "GetModelStatus": unary(models.status, get_model_status_pb2.GetModelStatusRequest),
                "HandleReloadConfigRequest": unary(models.reload, model_management_pb2.ReloadConfigRequest),
            },
        ),
    ]


def _target(spec: Any) -> Target:
    if not spec.name:
        raise InvalidInput("ModelSpec has no name specified.")
    choice = spec.WhichOneof("version_choice")
    if choice == "version":
        return Target.parse(spec.name, str(spec.version.value))
    return Target.parse(spec.name, label=spec.version_label if choice else None)


def _route(dataplane: DataPlane, target: Target, call: Call, able: Able | None = None) -> Way:
    try:
        return dataplane.route(target, call, able=able)
    except ModelNotFound as error:
        raise in_their_words(target, error) from None


def _resolve(dataplane: DataPlane, target: Target) -> Lease:
    try:
        return dataplane.resolve(target)
    except ModelNotFound as error:
        raise in_their_words(target, error) from None


def _client(servable: Servable) -> TfServingClient:
    return cast("TfServingClient", servable)


def _wanted(output_filter: Sequence[str]) -> tuple[str, ...] | None:
    names = tuple(output_filter)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"duplicate output tensor alias: {twice:.80}")
    return names or None


def _decode(alias: str, proto: Any) -> Tensor:
    try:
        return decode(proto)
    except InvalidInput as error:
        raise InvalidInput(f"tensor parsing error: {alias:.80}: {error}") from None


def _encode(answer: InferResponse, name: str) -> Any:
    response = predict_pb2.PredictResponse()
    spec = response.model_spec
    spec.name = name
    spec.version.value = answer.deployment.version
    spec.signature_name = DEFAULT_SIGNATURE
    for alias, tensor in answer.outputs.items():
        encode_values(tensor, response.outputs[alias])
    return response
