from __future__ import annotations

import json

import numpy as np

from adapters.tfserving.protos import predict_pb2
from adapters.tfserving.tensor_proto import decode
from gateway.protocols.open_inference_messages import ModelInferRequest
from loadtests.bench import payloads

TENSOR = np.arange(2 * 300, dtype=np.float32).reshape(2, 300)  # sizes and lengths of one byte and of more


def test_the_v2_message_reads_back_as_a_tensor_in_raw_contents() -> None:
    message = ModelInferRequest.FromString(payloads.v2_grpc("mlp", "x", TENSOR))

    (tensor,), (raw,) = message.inputs, message.raw_input_contents
    assert (message.model_name, tensor.name, tensor.datatype) == ("mlp", "x", "FP32")
    assert list(tensor.shape) == [2, 300]
    assert raw == TENSOR.tobytes()


def test_tf_servings_message_reads_back_as_a_tensor() -> None:
    message = predict_pb2.PredictRequest.FromString(payloads.tf_serving_grpc("digits", "image", TENSOR))

    assert message.model_spec.name == "digits"
    assert list(message.inputs) == ["image"]
    np.testing.assert_array_equal(decode(message.inputs["image"]), TENSOR)


def test_a_binary_body_is_parted_where_its_header_says() -> None:
    body, lines = payloads.v2_binary("x", TENSOR)

    length = int(lines[1].removeprefix("Inference-Header-Content-Length: "))
    head = json.loads(body[:length])
    assert head["parameters"] == {"binary_data_output": True}
    assert head["inputs"][0]["parameters"] == {"binary_data_size": TENSOR.nbytes}
    assert body[length:] == TENSOR.tobytes()
