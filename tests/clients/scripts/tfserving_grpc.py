"""tensorflow-serving-api's stubs, as clients of TF Serving use them; `digits` has labels: stable = 1, canary = 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from cases import Gateway, run
from tensorflow_serving.apis import classification_pb2 as classification
from tensorflow_serving.apis import get_model_metadata_pb2 as metadata
from tensorflow_serving.apis import get_model_status_pb2 as status
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2 as predict
from tensorflow_serving.apis import regression_pb2 as regression

GOLDEN = np.load(Path(__file__).parents[3] / "model_repo/digits/1/golden.npz")
IMAGES = GOLDEN["inputs/image"]
PROBABILITIES = GOLDEN["outputs/probabilities"]


def _predictions(gateway: Gateway) -> prediction_service_pb2_grpc.PredictionServiceStub:
    return prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(gateway.grpc))


def _models(gateway: Gateway) -> model_service_pb2_grpc.ModelServiceStub:
    return model_service_pb2_grpc.ModelServiceStub(grpc.insecure_channel(gateway.grpc))


def _request(images: np.ndarray = IMAGES, model: str = "digits", **spec: Any) -> predict.PredictRequest:
    request = predict.PredictRequest()
    request.model_spec.name = model
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    if "label" in spec:
        request.model_spec.version_label = spec["label"]
    request.model_spec.signature_name = spec.get("signature", "")
    request.inputs["image"].CopyFrom(tf.make_tensor_proto(images))
    return request


def _refused(codes: set[grpc.StatusCode], call: Any, request: Any, says: str = "") -> None:
    error = None
    try:
        call(request, timeout=30)
    except grpc.RpcError as raised:
        error = raised
    assert error is not None, f"no error, expected one of {codes}"
    assert error.code() in codes, (error.code(), error.details())
    assert says in error.details(), error.details()


def predict_gives_the_right_probabilities(gateway: Gateway) -> None:
    response = _predictions(gateway).Predict(_request(version=1), timeout=30)
    np.testing.assert_allclose(tf.make_ndarray(response.outputs["probabilities"]), PROBABILITIES, atol=1e-4)
    assert response.model_spec.name == "digits", response.model_spec
    assert response.model_spec.version.value == 1, response.model_spec


def without_a_version_the_stable_one_answers(gateway: Gateway) -> None:
    response = _predictions(gateway).Predict(_request(), timeout=30)
    assert response.model_spec.version.value == 1, response.model_spec


def a_version_and_a_label_say_which_one_answers(gateway: Gateway) -> None:
    stub = _predictions(gateway)
    assert stub.Predict(_request(version=2), timeout=30).model_spec.version.value == 2
    assert stub.Predict(_request(label="canary"), timeout=30).model_spec.version.value == 2
    assert stub.Predict(_request(label="stable"), timeout=30).model_spec.version.value == 1


def tensors_are_taken_as_raw_content_and_as_values(gateway: Gateway) -> None:
    values = _request(version=1)
    tensor = values.inputs["image"]
    tensor.ClearField("tensor_content")
    tensor.float_val.extend(IMAGES.ravel().tolist())
    response = _predictions(gateway).Predict(values, timeout=30)
    np.testing.assert_allclose(tf.make_ndarray(response.outputs["probabilities"]), PROBABILITIES, atol=1e-4)


def the_default_signature_may_be_named_and_a_strange_one_may_not(gateway: Gateway) -> None:
    stub = _predictions(gateway)
    assert "probabilities" in stub.Predict(_request(signature="serving_default"), timeout=30).outputs
    codes = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION}
    _refused(codes, stub.Predict, _request(signature="strange"), says='"strange" not found in signature def')


def an_output_filter_chooses_the_outputs(gateway: Gateway) -> None:
    request = _request()
    request.output_filter.append("probabilities")
    assert list(_predictions(gateway).Predict(request, timeout=30).outputs) == ["probabilities"]
    request.output_filter[0] = "strange"
    _refused({grpc.StatusCode.INVALID_ARGUMENT}, _predictions(gateway).Predict, request)


def the_metadata_has_the_signature(gateway: Gateway) -> None:
    request = metadata.GetModelMetadataRequest()
    request.model_spec.name = "digits"
    request.metadata_field.append("signature_def")
    response = _predictions(gateway).GetModelMetadata(request, timeout=30)
    assert response.model_spec.version.value == 1, response.model_spec
    signatures = metadata.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def["serving_default"]
    image, probabilities = signature.inputs["image"], signature.outputs["probabilities"]
    assert image.dtype == probabilities.dtype == tf.float32.as_datatype_enum, signature
    assert [each.size for each in image.tensor_shape.dim] == [-1, 8, 8], signature
    assert [each.size for each in probabilities.tensor_shape.dim] == [-1, 10], signature


def the_status_lists_the_versions_that_are_available(gateway: Gateway) -> None:
    request = status.GetModelStatusRequest()
    request.model_spec.name = "digits"
    statuses = _models(gateway).GetModelStatus(request, timeout=30).model_version_status
    states = {each.version: each.state for each in statuses}
    available = status.ModelVersionStatus.State.AVAILABLE
    assert states == {1: available, 2: available}, states
    request.model_spec.version.value = 2
    [only] = _models(gateway).GetModelStatus(request, timeout=30).model_version_status
    assert (only.version, only.state) == (2, available), only


def a_model_without_classification_says_so(gateway: Gateway) -> None:
    codes = {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
    }
    for message, call in (
        (classification.ClassificationRequest(), _predictions(gateway).Classify),
        (regression.RegressionRequest(), _predictions(gateway).Regress),
    ):
        message.model_spec.name = "digits"
        example = message.input.example_list.examples.add()
        example.features.feature["image"].float_list.value.extend(IMAGES[0].ravel().tolist())
        _refused(codes, call, message)


def strangers_are_not_found(gateway: Gateway) -> None:
    stub, not_found = _predictions(gateway), {grpc.StatusCode.NOT_FOUND}
    _refused(
        not_found, stub.Predict, _request(model="stranger"), says="Servable not found for request: Latest(stranger)"
    )
    _refused(not_found, stub.Predict, _request(version=9), says="9")
    _refused(not_found | {grpc.StatusCode.INVALID_ARGUMENT}, stub.Predict, _request(label="strange"), says="strange")
    request = status.GetModelStatusRequest()
    request.model_spec.name = "stranger"
    _refused(not_found, _models(gateway).GetModelStatus, request, says="stranger")


def wrong_inputs_are_invalid_arguments(gateway: Gateway) -> None:
    stub, invalid = _predictions(gateway), {grpc.StatusCode.INVALID_ARGUMENT}
    _refused(invalid, stub.Predict, _request(np.zeros((1, 5, 5), np.float32)))
    _refused(invalid, stub.Predict, _request(np.zeros((1, 8, 8), np.int64)))
    nameless = _request()
    nameless.inputs["strange"].CopyFrom(nameless.inputs["image"])
    del nameless.inputs["image"]
    _refused(invalid, stub.Predict, nameless, says="image")


if __name__ == "__main__":
    run(globals())
