"""TF Serving's gRPC services over a socket: tensors for every backend, and the rest relayed to its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio

if find_spec("tensorflow") is None or find_spec("tensorflow_serving") is None:
    pytest.skip("tensorflow-serving-api is not installed", allow_module_level=True)

from adapters.base import ROUTINE, Endpoint, Urgency
from adapters.errors import DeadlineExceeded, InvalidInput
from adapters.tensors import Signature, Tensors
from adapters.tfserving.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
    types_pb2,
)
from adapters.tfserving.tensor_proto import decode, encode
from gateway.dataplane import DataPlane
from gateway.grpc_api import tf_serving
from gateway.grpc_api.tf_serving_services import PredictionService
from gateway.registry import Registry
from gateway.types import Deployment, ModelTable, Serving, Standing, State
from tests.gateway.fakes import SIGNATURE, QuickServable
from tests.waiting import until

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
REMOTES = {"torchserve": {"kind": "raw"}, "tfserving": {"model": "b.1", "version": "1", "signature_name": "served"}}


class FakeTfServing(QuickServable):
    """A TfServingClient without a server: what it relays, the test answers."""

    def __init__(self) -> None:
        super().__init__()
        self.relayed: list[tuple[str, Any, float | None]] = []
        self.answer: Callable[[Any], Awaitable[Any]] = self._nothing

    async def _nothing(self, request: Any) -> Any:
        raise InvalidInput("its very words")

    async def relay(self, method: str, request: Any, limit_s: float | None = None) -> Any:
        self.relayed.append((method, request, limit_s))
        return await self.answer(request)

    async def describe_signatures(self) -> dict[str, Any]:
        return {"served": {"method_name": "real", "inputs": {"x": {"dtype": "DT_FLOAT"}}}}


class HungServable(QuickServable):
    """Never answers."""

    cancelled = False

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
        self.running.append(asyncio.get_running_loop().create_future())
        try:
            return await self.running[0]
        except asyncio.CancelledError:
            self.cancelled = True
            raise


class Server:
    """The services over the model m: version 1 (labelled canary) on three backends, version 2 on one, 3 loading."""

    def __init__(self, folder: Path) -> None:
        self.servables: dict[str, Any] = {}
        self.address = f"unix:{folder}/s"
        self.registry = Registry(self._connect, drain_timeout_s=60)
        self.server = grpc.aio.server()

    async def _connect(self, endpoint: Endpoint) -> QuickServable:
        kinds = {"tfserving": FakeTfServing, "tflite": HungServable}
        made = self.servables[endpoint.address] = kinds.get(endpoint.backend, QuickServable)()
        return made

    async def start(self) -> None:
        standings = {Deployment("m", 3, "onnxruntime"): Standing(State.LOADING)}
        deployments = [(1, "onnxruntime"), (1, "torchserve"), (1, "tfserving"), (2, "onnxruntime"), (1, "tflite")]
        for version, backend in deployments:
            deployment = Deployment("m", version, backend)
            signature = Signature((), ()) if backend == "torchserve" else SIGNATURE
            endpoint = Endpoint(backend, str(deployment), signature, "fake", remote=REMOTES.get(backend, {}))
            await self.registry.publish(deployment, endpoint, Serving())
            standings[deployment] = Standing(State.READY)
        self.registry.show({"m": ModelTable("m", ("onnxruntime", "tfserving"), {"canary": 1}, standings)})
        self.server.add_generic_rpc_handlers(tuple(tf_serving.services(DataPlane(self.registry))))
        self.server.add_insecure_port(self.address)
        await self.server.start()
        self.channel = grpc.aio.insecure_channel(self.address)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    @property
    def tf_serving(self) -> FakeTfServing:
        fake: FakeTfServing = self.servables["m/1@tfserving"]
        return fake

    async def stop(self) -> None:
        await self.channel.close()
        await self.server.stop(None)


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path)
    await made.start()
    yield made
    await made.stop()


def spec(message: Any, name: str = "m", *, version: int = 0, label: str = "", signature: str = "") -> Any:
    message.model_spec.name = name
    message.model_spec.signature_name = signature
    if version:
        message.model_spec.version.value = version
    if label:
        message.model_spec.version_label = label
    return message


def predict(name: str = "m", outputs: tuple[str, ...] = (), **model: Any) -> Any:
    request = spec(predict_pb2.PredictRequest(output_filter=outputs), name, **model)
    encode(np.array([1, 2], np.float32), request.inputs["x"])
    return request


async def refused(call: Awaitable[Any]) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code().name, str(raised.value.details())


async def test_predict_takes_tensors_to_any_backend(server: Server) -> None:
    call = server.prediction.Predict(predict("m@onnxruntime"))
    response = await call
    told = response.model_spec
    assert {name: decode(proto).tolist() for name, proto in response.outputs.items()} == {"x": [1, 2], "y": [2, 4]}
    assert (told.name, told.version.value, told.signature_name) == ("m@onnxruntime", 2, "serving_default")
    assert dict(await call.trailing_metadata())["torii-served-by"] == "m/2@onnxruntime"


async def test_values_stand_where_clients_without_tensorflow_look_for_them(server: Server) -> None:
    response = await server.prediction.Predict(predict())
    assert list(response.outputs["y"].float_val) == [2, 4]
    assert [dim.size for dim in response.outputs["y"].tensor_shape.dim] == [2]


@pytest.mark.parametrize(
    ("model", "version"),
    [({"version": 1}, 1), ({"label": "canary"}, 1), ({}, 2), ({"signature": "serving_default"}, 2)],
)
async def test_a_model_spec_names_a_version_or_a_label(server: Server, model: dict[str, Any], version: int) -> None:
    assert (await server.prediction.Predict(predict(**model))).model_spec.version.value == version


async def test_only_the_outputs_of_the_filter_come(server: Server) -> None:
    assert set((await server.prediction.Predict(predict(outputs=("y",)))).outputs) == {"y"}
    assert await refused(server.prediction.Predict(predict(outputs=("y", "x", "y")))) == (
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: y",
    )
    code, text = await refused(server.prediction.Predict(predict(outputs=("z",))))
    assert code == "INVALID_ARGUMENT"
    assert "'z' is unknown" in text


def misread() -> Any:
    request = spec(predict_pb2.PredictRequest())
    request.inputs["x"].dtype = types_pb2.DT_FLOAT
    request.inputs["x"].tensor_shape.dim.add(size=2**40)
    return request


@pytest.mark.parametrize(
    ("request_", "code", "says"),
    [
        (predict("n"), "NOT_FOUND", "Servable not found for request: Latest(n); model 'n' is not in the repository"),
        (predict(version=7), "NOT_FOUND", "Servable not found for request: Specific(m, 7); model 'm' has no version 7"),
        (predict(label="x"), "INVALID_ARGUMENT", "Unrecognized servable version label: x; model 'm' has no label 'x'"),
        (predict(version=3), "UNAVAILABLE", "m/3@onnxruntime is LOADING"),
        (predict(version=-1), "INVALID_ARGUMENT", "version '-1': expected a positive integer"),
        (predict(""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (predict("../m"), "INVALID_ARGUMENT", "model '../m': expected a name of"),
        (predict(signature="x"), "INVALID_ARGUMENT", 'Serving signature name: "x" not found in signature def'),
        (predict("m@torchserve"), "UNIMPLEMENTED", "m/1@torchserve takes no tensors"),
        (
            misread(),
            "INVALID_ARGUMENT",
            "tensor parsing error: x: expected 1099511627776 values for the tensor's shape",
        ),
        (spec(predict_pb2.PredictRequest()), "INVALID_ARGUMENT", "input 'x' is missing"),
    ],
)
async def test_what_cannot_be_predicted_is_refused(server: Server, request_: Any, code: str, says: str) -> None:
    got, text = await refused(server.prediction.Predict(request_))
    assert (got, text[: len(says)]) == (code, says)


async def test_a_message_that_is_none_is_refused(server: Server) -> None:
    method = server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    assert (await refused(method(b"\xff\xff")))[0] == "INVALID_ARGUMENT"


async def test_a_deadline_goes_on_to_the_backend(server: Server) -> None:
    code, _ = await refused(server.prediction.Predict(predict("m@tflite"), timeout=0.05))
    assert code == "DEADLINE_EXCEEDED"
    hung: HungServable = server.servables["m/1@tflite"]
    await until(lambda: hung.cancelled)


class LateCall:
    """A call whose caller waits for a millisecond more."""

    timeout_ms = 1.0

    def served_by(self, deployment: Deployment) -> None:
        """Nobody listens."""


async def test_a_deadline_ends_what_the_backend_goes_on_with(server: Server) -> None:
    async def never(_request: Any) -> Any:
        await asyncio.Event().wait()

    service = PredictionService(DataPlane(server.registry))
    server.tf_serving.answer = never
    for model in ("m@tflite", "m@tfserving"):
        with pytest.raises(DeadlineExceeded, match=r"m/1@tf\w+ took longer than 1 ms"):
            await service.predict(predict(model), LateCall())


async def test_who_hangs_up_leaves_nothing_running(server: Server) -> None:
    call = server.prediction.Predict(predict("m@tflite"))
    waiting = asyncio.create_task(refused(call))
    hung: HungServable = server.servables["m/1@tflite"]
    await until(lambda: hung.running)
    call.cancel()
    await until(lambda: hung.cancelled)
    waiting.cancel()


async def test_tf_serving_s_own_deployments_get_the_request_and_the_caller_his_own_names_back(server: Server) -> None:
    async def answer(request: Any) -> Any:
        response = spec(predict_pb2.PredictResponse(), "b.1", version=1, signature="served")
        response.outputs["y"].CopyFrom(request.inputs["x"])
        return response

    server.tf_serving.answer = answer
    sent = predict("m@tfserving", signature="other", outputs=("y",))
    call = server.prediction.Predict(sent, timeout=30)
    response = await call
    ((method, relayed, limit_s),) = server.tf_serving.relayed
    assert method == "Predict"
    assert relayed == sent
    assert limit_s is not None
    assert 20 < limit_s < 40
    told = response.model_spec
    assert (told.name, told.version.value, told.signature_name) == ("m@tfserving", 1, "served")
    assert response.outputs["y"] == sent.inputs["x"]
    assert dict(await call.trailing_metadata())["torii-served-by"] == "m/1@tfserving"


async def test_its_refusals_come_in_its_words(server: Server) -> None:
    assert await refused(server.prediction.Predict(predict("m@tfserving"))) == ("INVALID_ARGUMENT", "its very words")


def examples(kind: Any, name: str) -> Any:
    request = spec(kind(), name)
    request.input.example_list.examples.add()
    return request


def tasks(*methods: str, name: str = "m@tfserving") -> Any:
    request = inference_pb2.MultiInferenceRequest()
    for method in methods:
        spec(request.tasks.add(method_name=method), name)
    request.input.example_list.examples.add()
    return request


async def test_examples_are_relayed_to_tf_serving(server: Server) -> None:
    async def classify(_request: Any) -> Any:
        response = spec(classification_pb2.ClassificationResponse(), "b.1", version=1)
        response.result.classifications.add().classes.add(label="a", score=0.5)
        return response

    async def regress(_request: Any) -> Any:
        response = spec(regression_pb2.RegressionResponse(), "b.1", version=1)
        response.result.regressions.add(value=0.5)
        return response

    server.tf_serving.answer = classify
    classified = await server.prediction.Classify(examples(classification_pb2.ClassificationRequest, "m@tfserving"))
    assert (classified.model_spec.name, classified.result.classifications[0].classes[0].label) == ("m@tfserving", "a")
    server.tf_serving.answer = regress
    regressed = await server.prediction.Regress(examples(regression_pb2.RegressionRequest, "m@tfserving"))
    assert (regressed.model_spec.name, regressed.result.regressions[0].value) == ("m@tfserving", 0.5)
    assert [method for method, _, _ in server.tf_serving.relayed] == ["Classify", "Regress"]


async def test_several_tasks_are_relayed_as_one(server: Server) -> None:
    async def answer(request: Any) -> Any:
        response = inference_pb2.MultiInferenceResponse()
        for _ in request.tasks:
            spec(response.results.add(), "b.1", version=1).regression_result.regressions.add(value=1)
        return response

    server.tf_serving.answer = answer
    response = await server.prediction.MultiInference(tasks(REGRESS, CLASSIFY))
    assert [(each.model_spec.name, each.model_spec.version.value) for each in response.results] == [
        ("m@tfserving", 1)
    ] * 2


def of_two_models() -> Any:
    request = tasks(REGRESS, CLASSIFY)
    request.tasks[1].model_spec.name = "m"
    return request


@pytest.mark.parametrize(
    ("request_", "code", "says"),
    [
        (tasks(), "INVALID_ARGUMENT", "Inference request must have at least one task."),
        (of_two_models(), "INVALID_ARGUMENT", "All ModelSpecs in a MultiInferenceRequest must access the same model"),
        (
            tasks("tensorflow/serving/predict"),
            "UNIMPLEMENTED",
            "Unsupported signature method_name: tensorflow/serving/p",
        ),
        (tasks(REGRESS, name="m"), "UNIMPLEMENTED", "MultiInference: m/2@onnxruntime takes no tf.Examples: only"),
        (tasks(REGRESS, name="n"), "NOT_FOUND", "Servable not found for request: Latest(n)"),
    ],
)
async def test_tasks_that_nobody_can_do_are_refused(server: Server, request_: Any, code: str, says: str) -> None:
    got, text = await refused(server.prediction.MultiInference(request_))
    assert (got, text[: len(says)]) == (code, says)


async def test_other_backends_take_no_examples(server: Server) -> None:
    classify, regress = classification_pb2.ClassificationRequest, regression_pb2.RegressionRequest
    for call in (
        server.prediction.Classify(examples(classify, "m")),
        server.prediction.Regress(examples(regress, "m")),
    ):
        code, text = await refused(call)
        assert code == "UNIMPLEMENTED"
        assert "m/2@onnxruntime takes no tf.Examples: only deployments on tfserving do" in text
        assert "m@tfserving" in text


def metadata(name: str, *fields: str) -> Any:
    return spec(get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields), name)


async def test_metadata_are_real_signatures_or_one_made_of_tensors(server: Server) -> None:
    for name, version, signature in (("m", 2, "serving_default"), ("m@tfserving", 1, "served")):
        response = await server.prediction.GetModelMetadata(metadata(name, "signature_def"))
        found = get_model_metadata_pb2.SignatureDefMap()
        assert response.metadata["signature_def"].Unpack(found)
        assert (response.model_spec.name, response.model_spec.version.value) == (name, version)
        assert list(found.signature_def) == [signature]
        assert found.signature_def[signature].inputs["x"].dtype == types_pb2.DT_FLOAT


async def test_metadata_are_asked_for_by_name(server: Server) -> None:
    nothing, other = metadata("m"), metadata("m", "signature_def", "other")
    assert await refused(server.prediction.GetModelMetadata(nothing)) == (
        "INVALID_ARGUMENT",
        "GetModelMetadataRequest must specify at least one metadata_field",
    )
    assert await refused(server.prediction.GetModelMetadata(other)) == (
        "INVALID_ARGUMENT",
        "Metadata field other is not supported",
    )
    assert (await refused(server.prediction.GetModelMetadata(metadata("n", "signature_def"))))[0] == "NOT_FOUND"


async def test_states_are_told(server: Server) -> None:
    response = await server.models.GetModelStatus(spec(get_model_status_pb2.GetModelStatusRequest()))
    name = get_model_status_pb2.ModelVersionStatus.State.Name
    told = [(each.version, name(each.state), each.status.error_code) for each in response.model_version_status]
    assert told == [(3, "LOADING", 0), (2, "AVAILABLE", 0), (1, "AVAILABLE", 0)]
    assert await refused(server.models.GetModelStatus(spec(get_model_status_pb2.GetModelStatusRequest(), "n"))) == (
        "NOT_FOUND",
        "Could not find any versions of model n; it is not in the repository",
    )


async def test_no_request_changes_what_is_served(server: Server) -> None:
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.config.add(name="m", base_path="/etc", model_platform="tensorflow")
    code, text = await refused(server.models.HandleReloadConfigRequest(request))
    assert code == "PERMISSION_DENIED"
    assert "torii label" in text
    assert "/etc" not in text


async def test_without_its_messages_nothing_is_offered(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tf_serving, "find_spec", lambda module: None if module == "tensorflow_serving" else object())
    caplog.set_level("DEBUG", "gateway.grpc_api.tf_serving")
    assert tf_serving.services(DataPlane(server.registry)) == []
    assert "tensorflow_serving is not installed" in caplog.text
