"""TF Serving's gRPC services, with its own stubs, on every backend."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

if find_spec("tensorflow") is None or find_spec("tensorflow_serving") is None:
    pytest.skip("tensorflow-serving-api is not installed", allow_module_level=True)

from google.protobuf.json_format import MessageToDict

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
)
from adapters.tfserving.tensor_proto import decode, encode
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish, slow_model
from tests.e2e.test_digits import DEPLOYMENTS, golden

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
X = np.array([[1], [2], [5]], np.float32)


class Client:
    """TF Serving's stubs on a gateway's gRPC port."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.channel = grpc.insecure_channel(gateway.grpc, [("grpc.enable_http_proxy", 0)])
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, model: str, name: str, tensor: np.ndarray, **options: Any) -> Any:
        request = spec(predict_pb2.PredictRequest(), model, **options)
        encode(tensor, request.inputs[name])
        return self.prediction.Predict(request)


@pytest.fixture(scope="module")
def gateway(test_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    repository = tmp_path_factory.mktemp("tfserving") / "repository"
    publish(repository, "add", 1, {"model.onnx": add_model(1)})
    publish(repository, "slow", 1, {"model.onnx": slow_model()})
    shutil.copytree(test_data("tf/serving/saved_model_half_plus_two_cpu"), repository / "half")
    with RunningGateway.start(repository) as running:
        running.wait_ready(within_s=60)
        yield running


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[Client]:
    made = Client(gateway)
    yield made
    made.channel.close()


def spec(message: Any, model: str, *, version: int = 0, signature: str = "") -> Any:
    message.model_spec.name = model
    message.model_spec.signature_name = signature
    if version:
        message.model_spec.version.value = version
    return message


def refused(act: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as raised:
        act()
    return raised.value.code().name, raised.value.details()


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_golden_inputs_give_the_golden_outputs(digits: RunningGateway, deployment: str) -> None:
    version, backend = int(deployment[7]), deployment.partition("@")[2]
    images, probabilities = golden(version)
    client = Client(digits)
    response = client.predict(f"digits@{backend}", "image", images, version=version)
    told = response.model_spec
    assert (told.name, told.version.value, told.signature_name) == (f"digits@{backend}", version, "serving_default")
    output = response.outputs["probabilities"]
    np.testing.assert_allclose(np.reshape(output.float_val, probabilities.shape), probabilities, atol=1e-4)
    client.channel.close()


def test_half_plus_two_answers_by_every_signature(client: Client) -> None:
    def answer(**options: Any) -> list[float]:
        (output,) = client.predict("half", "x", X, **options).outputs.values()
        return decode(output).ravel().tolist()

    assert answer() == answer(version=123) == answer(signature="serving_default") == [2.5, 3, 4.5]
    other = client.predict("half@tfserving", "inputs", X, signature="regress_x2_to_y3")
    assert decode(other.outputs["outputs"]).ravel().tolist() == [3.5, 4, 5.5]
    assert (other.model_spec.name, other.model_spec.signature_name) == ("half@tfserving", "regress_x2_to_y3")


def with_example(message: Any, x: float) -> Any:
    message.input.example_list.examples.add().features.feature["x"].float_list.value.append(x)
    return message


def test_examples_are_classified_and_regressed_on(client: Client) -> None:
    classified = client.prediction.Classify(
        with_example(spec(classification_pb2.ClassificationRequest(), "half", signature="classify_x_to_y"), 2)
    )
    (classes,) = classified.result.classifications
    assert [(each.label, each.score) for each in classes.classes] == [("", 3.0)]
    assert (classified.model_spec.name, classified.model_spec.version.value) == ("half", 123)
    regressed = client.prediction.Regress(
        with_example(spec(regression_pb2.RegressionRequest(), "half", signature="regress_x_to_y"), 2)
    )
    assert [each.value for each in regressed.result.regressions] == [3.0]


def test_several_signatures_run_on_the_same_examples(client: Client) -> None:
    request = inference_pb2.MultiInferenceRequest()
    for method, signature in ((REGRESS, "regress_x_to_y"), (CLASSIFY, "classify_x_to_y")):
        spec(request.tasks.add(method_name=method), "half", signature=signature)
    response = client.prediction.MultiInference(with_example(request, 2))
    regression, classification = response.results
    assert [each.value for each in regression.regression_result.regressions] == [3.0]
    assert classification.classification_result.classifications[0].classes[0].score == 3.0
    assert {(each.model_spec.name, each.model_spec.version.value) for each in response.results} == {("half", 123)}


def test_metadata_are_those_that_tf_serving_tells(client: Client, test_data: Callable[[str], Path]) -> None:
    request = spec(get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]), "half")
    response = client.prediction.GetModelMetadata(request)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    told = MessageToDict(found, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    real = json.loads(test_data("tf/serving/half_plus_two_model_metadata.json").read_text())
    assert told == real["metadata"]["signature_def"]
    assert (response.model_spec.name, response.model_spec.version.value) == ("half", 123)


def test_states_are_told_and_the_configuration_stays_as_it_is(client: Client) -> None:
    asked = spec(get_model_status_pb2.GetModelStatusRequest(), "half")
    before = client.models.GetModelStatus(asked)
    assert [(each.version, each.state) for each in before.model_version_status] == [(123, 30)]
    code, text = refused(lambda: client.models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest()))
    assert code == "PERMISSION_DENIED"
    assert "torii label" in text
    assert client.models.GetModelStatus(asked) == before


def test_what_cannot_be_answered_is_refused_in_tf_serving_s_words(client: Client) -> None:
    def predict(model: str, tensor: np.ndarray = X, **options: Any) -> Callable[[], Any]:
        return lambda: client.predict(model, options.pop("name", "x"), tensor, **options)

    assert refused(predict("nix"))[0] == "NOT_FOUND"
    assert "Servable not found for request: Latest(nix)" in refused(predict("nix"))[1]
    assert "Servable not found for request: Specific(half, 7)" in refused(predict("half", version=7))[1]
    assert refused(predict("half", signature="nix")) == ("INVALID_ARGUMENT", 'Serving signature key "nix" not found.')
    assert refused(predict("half", name="y"))[1].startswith("input tensor alias not found in signature: y.")
    assert refused(predict("add", signature="nix"))[0] == "INVALID_ARGUMENT"
    example = with_example(spec(regression_pb2.RegressionRequest(), "half"), 2)
    assert refused(lambda: client.prediction.Regress(example)) == (
        "INVALID_ARGUMENT",
        "Expected regression signature method_name to be tensorflow/serving/regress. Was: tensorflow/serving/predict",
    )
    example.model_spec.name = "add"
    assert refused(lambda: client.prediction.Regress(example))[0] == "UNIMPLEMENTED"


def test_a_call_ends_at_its_deadline(client: Client) -> None:
    request = spec(predict_pb2.PredictRequest(), "slow")
    encode(np.array([3000], np.int64), request.inputs["n"])
    assert refused(lambda: client.prediction.Predict(request, timeout=0.2))[0] == "DEADLINE_EXCEEDED"


def test_a_megabyte_goes_through_as_it_is(client: Client) -> None:
    many = np.random.default_rng(0).standard_normal((300_000, 1)).astype(np.float32)
    for model in ("half@tfserving", "half"):
        output = client.predict(model, "x", many).outputs["y"]
        np.testing.assert_array_equal(decode(output), many * np.float32(0.5) + 2)


def test_rubbish_is_refused_and_the_next_call_answered(client: Client) -> None:
    for method in ("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"):
        raw = client.channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
        for data in (b"", b"\xff" * 100, b"\x0a\x02\x0a\x00", b"\x0a\x06\x0a\x04half" * 1000):
            assert refused(lambda raw=raw, data=data: raw(data))[0] in (
                "INVALID_ARGUMENT",
                "UNIMPLEMENTED",
                "NOT_FOUND",
            )
    assert decode(client.predict("half", "x", X).outputs["y"]).ravel().tolist() == [2.5, 3, 4.5]


def test_a_message_of_millions_of_empty_strings_is_refused_before_it_is_parsed(client: Client) -> None:
    request = spec(predict_pb2.PredictRequest(), "half")
    request.inputs["x"].string_val.extend([b""] * 2**20)
    code, text = refused(lambda: client.prediction.Predict(request))
    assert code == "INVALID_ARGUMENT"
    assert "expected at most 262144 fields" in text
