"""Any tensor of any datatype goes to a model and comes back bit for bit, over every way that V2 has."""

from __future__ import annotations

import os
from collections.abc import Iterator

import grpc
import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.tensors import DataType, Tensor, from_bytes, to_bytes
from gateway.protocols.json_tensors import write_data
from gateway.protocols.open_inference import decode_infer
from gateway.protocols.open_inference_messages import ModelInferRequest, ModelInferResponse
from gateway.types import Target
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import publish_echoes
from tests.strategies import same, tensors

CASES = int(os.environ.get("TORII_TEST_CASES", "500"))  # `make proof-many`: many more
every_tensor = settings(
    max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TEXTS = st.text(max_size=9).map(str.encode)
"""What ONNX has for BYTES; bytes that are no text go to models of other formats."""

TYPED = {
    DataType.BOOL: "bool_contents", DataType.INT8: "int_contents", DataType.INT16: "int_contents",
    DataType.INT32: "int_contents", DataType.INT64: "int64_contents", DataType.UINT8: "uint_contents",
    DataType.UINT16: "uint_contents", DataType.UINT32: "uint_contents", DataType.UINT64: "uint64_contents",
    DataType.FP32: "fp32_contents", DataType.FP64: "fp64_contents", DataType.BYTES: "bytes_contents",
}  # fmt: skip


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    repository = tmp_path_factory.mktemp("echoes") / "repository"
    publish_echoes(repository)
    with RunningGateway.start(repository, LOG_LEVEL="info") as running:
        running.wait_ready(within_s=60)
        yield running


@pytest.fixture(scope="module")
def channel(gateway: RunningGateway) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(gateway.grpc) as opened:
        yield opened


def route(datatype: DataType) -> str:
    return f"/v2/models/echo-{datatype.lower()}/infer"


def equal(left: Tensor, right: Tensor) -> bool:
    """Equal to the last bit, but for NaNs, of which JSON knows one."""
    if left.dtype.kind != "f":
        return same(left, right)
    nan = np.isnan(left)
    return left.shape == right.shape and bool((nan == np.isnan(right)).all()) and same(left[~nan], right[~nan])


@every_tensor
@given(tensor=tensors([each for each in DataType if each is not DataType.BF16], elements=TEXTS))
def test_in_json(gateway: RunningGateway, tensor: Tensor) -> None:
    datatype = DataType.of(tensor.dtype)
    x = {"name": "x", "shape": tensor.shape, "datatype": datatype, "data": write_data(tensor, "x", True)}
    body = orjson.dumps({"inputs": [x], "parameters": {"non_finite": "string"}}, option=orjson.OPT_SERIALIZE_NUMPY)
    response = gateway.post(route(datatype), content=body)
    assert response.status_code == 200, response.text
    (output,) = response.json()["outputs"]
    document = {"inputs": [{**output, "name": "x"}], "parameters": {"non_finite": "string"}}
    assert equal(decode_infer(Target("m"), orjson.dumps(document))[0].inputs["x"], tensor)


@every_tensor
@given(tensor=tensors(elements=TEXTS))
def test_in_binary(gateway: RunningGateway, tensor: Tensor) -> None:
    datatype = DataType.of(tensor.dtype)
    blob = bytes(to_bytes(tensor))
    x = {"name": "x", "shape": tensor.shape, "datatype": datatype, "parameters": {"binary_data_size": len(blob)}}
    head = orjson.dumps({"inputs": [x], "parameters": {"binary_data_output": True}})
    headers = {"Inference-Header-Content-Length": str(len(head))}
    response = gateway.post(route(datatype), content=head + blob, headers=headers)
    assert response.status_code == 200, response.text
    length = int(response.headers["Inference-Header-Content-Length"])
    (output,) = orjson.loads(response.content[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": len(blob)}
    assert same(from_bytes(datatype, tuple(output["shape"]), response.content[length:]), tensor)


def infer(channel: grpc.Channel, request: ModelInferRequest) -> ModelInferResponse:
    call = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=ModelInferResponse.FromString,
    )
    return call(request, timeout=60)


@every_tensor
@given(tensor=tensors(elements=TEXTS))
def test_over_grpc_in_raw_contents(channel: grpc.Channel, tensor: Tensor) -> None:
    datatype = DataType.of(tensor.dtype)
    request = ModelInferRequest(model_name=f"echo-{datatype.lower()}", id="7")
    request.inputs.add(name="x", datatype=datatype, shape=tensor.shape)
    request.raw_input_contents.append(bytes(to_bytes(tensor)))
    response = infer(channel, request)
    assert (response.id, response.outputs[0].datatype) == ("7", datatype)
    assert not response.outputs[0].HasField("contents")
    assert same(from_bytes(datatype, tuple(response.outputs[0].shape), response.raw_output_contents[0]), tensor)


@every_tensor
@given(tensor=tensors(list(TYPED), elements=TEXTS))
def test_over_grpc_in_typed_contents(channel: grpc.Channel, tensor: Tensor) -> None:
    datatype = DataType.of(tensor.dtype)
    request = ModelInferRequest(model_name=f"echo-{datatype.lower()}")
    x = request.inputs.add(name="x", datatype=datatype, shape=tensor.shape)
    x.contents.SetInParent()
    getattr(x.contents, TYPED[datatype]).extend(tensor.ravel().tolist())
    response = infer(channel, request)
    (output,) = response.outputs
    assert not response.raw_output_contents
    values = getattr(output.contents, TYPED[datatype])
    back = np.fromiter(values, datatype.dtype, len(values)).reshape(tuple(output.shape))
    assert equal(back, tensor)
