"""The gRPC port, as V2's clients meet it: answers, errors, deadlines, cancellation, health, reflection."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from gateway.protocols.protos import message
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, divide_model, publish, slow_model

ModelInferRequest = message("inference.ModelInferRequest")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    repository = tmp_path_factory.mktemp("grpc") / "repository"
    publish(repository, "add", 1, {"model.onnx": add_model(1)})
    publish(repository, "divide", 1, {"model.onnx": divide_model()})
    publish(repository, "slow", 1, {"model.onnx": slow_model()})
    publish(repository, "broken", 1, {"model.onnx": b"no model"})
    with RunningGateway.start(repository, MAX_BODY_BYTES="100000") as running:
        running.wait_ready(within_s=60)
        yield running


@pytest.fixture
def channel(gateway: RunningGateway) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(gateway.grpc) as opened:
        yield opened


def call(channel: grpc.Channel, method: str, **arguments: Any) -> Callable[..., Any]:
    path = f"/inference.GRPCInferenceService/{method}"
    kinds = {"request_serializer": lambda request: request.SerializeToString()}
    answer = message(f"inference.{method}Response").FromString
    return channel.unary_unary(path, response_deserializer=answer, **kinds, **arguments)


def infer_request(model: str = "add", values: tuple[float, float] = (1, 2), **fields: Any) -> Any:
    request = ModelInferRequest(model_name=model, **fields)
    request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    request.raw_input_contents.append(struct.pack("<2f", *values))
    return request


def refused(act: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        act()
    return caught.value.code(), caught.value.details()


def test_an_answer_says_who_gave_it(channel: grpc.Channel) -> None:
    answer, done = call(channel, "ModelInfer").with_call(infer_request(id="7"), timeout=10)
    assert struct.unpack("<2f", answer.raw_output_contents[0]) == (2, 3)
    assert (answer.id, answer.model_version) == ("7", "1")
    assert ("torii-served-by", "add/1@onnxruntime") in done.trailing_metadata()


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"model": "nothing"}, "NOT_FOUND", "'nothing' is not in the repository"),
        ({"model_version": "9"}, "NOT_FOUND", "no version 9"),
        ({"model": "add@tflite"}, "NOT_FOUND", "tflite"),
        ({"model": "broken"}, "UNAVAILABLE", "FAILED"),
        ({"model": "../etc"}, "INVALID_ARGUMENT", "expected a name"),
        ({"model_version": "latest"}, "INVALID_ARGUMENT", "positive integer"),
        ({"model": "slow"}, "INVALID_ARGUMENT", "'n' is missing"),
    ],
)
def test_an_error_has_its_status_and_says_what_to_do(
    channel: grpc.Channel, change: dict[str, str], code: str, said: str
) -> None:
    got, text = refused(lambda: call(channel, "ModelInfer")(infer_request(**change), timeout=10))
    assert (got.name, said in text) == (code, True), text


def test_a_message_that_cannot_be_parsed_is_the_caller_s_fault(channel: grpc.Channel) -> None:
    send = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    for rubbish in (b"\xff" * 20, b"\x0a\xff\xff\xff\xff\x0f", b"\x2a\x05\x0a\x03\xff\xfe\xfd"):
        assert refused(lambda data=rubbish: send(data, timeout=10))[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_a_method_that_is_not_there_is_unimplemented(channel: grpc.Channel) -> None:
    for path in ("/inference.GRPCInferenceService/Nothing", "/nothing.Service/Nothing"):
        assert refused(lambda p=path: channel.unary_unary(p)(b"", timeout=10))[0] is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("packed", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_over_the_limit_is_refused_packed_or_not(channel: grpc.Channel, packed: grpc.Compression) -> None:
    request = infer_request()
    request.raw_input_contents.append(bytes(50_000_000))
    code, text = refused(lambda: call(channel, "ModelInfer")(request, timeout=20, compression=packed))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED, text


def test_a_packed_message_is_unpacked(channel: grpc.Channel) -> None:
    for packed in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        assert call(channel, "ModelInfer")(infer_request(), timeout=10, compression=packed).model_name == "add"


def slow_request(rounds: int) -> Any:
    request = ModelInferRequest(model_name="slow")
    request.inputs.add(name="n", datatype="INT64", shape=[1]).contents.int64_contents.append(rounds)
    return request


def test_a_deadline_ends_the_wait_for_the_model(gateway: RunningGateway, channel: grpc.Channel) -> None:
    infer = call(channel, "ModelInfer")
    request = slow_request(300)
    request.parameters["timeout"].int64_param = 20_000
    code, text = refused(lambda: infer(request, timeout=30))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "longer than 20 ms" in text
    assert refused(lambda: infer(slow_request(300), timeout=0.02))[0] is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_cancelled_call_is_dropped_from_the_model_s_queue(gateway: RunningGateway, channel: grpc.Channel) -> None:
    infer = call(channel, "ModelInfer")
    done: list[Any] = []
    busy = threading.Thread(target=lambda: done.append(infer(slow_request(1500), timeout=60)))
    busy.start()
    worker = psutil.Process(gateway.deployments()["slow/1@onnxruntime"]["pid"])
    gateway.until(lambda: worker.cpu_percent(0.05) > 20)
    for left in [infer.future(slow_request(10**7), timeout=600) for _ in range(3)]:  # hours, if they ever ran
        left.cancel()
    busy.join(60)
    assert done[0].outputs[0].contents.int64_contents == [1500]
    assert infer(slow_request(1), timeout=60).outputs[0].contents.int64_contents == [1]


def test_a_stream_answers_in_order_and_an_error_does_not_end_it(channel: grpc.Channel) -> None:
    Answer = message("inference.ModelStreamInferResponse")  # noqa: N806
    stream = channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=Answer.FromString,
    )
    requests = [infer_request("add" if n % 10 else "nothing", (n, n), id=str(n)) for n in range(200)]
    answers = list(stream(iter(requests), timeout=60))
    assert [each.infer_response.id for each in answers] == [str(n) for n in range(200)]
    for n, each in enumerate(answers):
        if n % 10:
            assert struct.unpack("<2f", each.infer_response.raw_output_contents[0]) == (n + 1, n + 1)
        else:
            assert "'nothing' is not in the repository" in each.error_message


def test_a_stream_that_its_caller_leaves_is_forgotten(channel: grpc.Channel) -> None:
    stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    for _ in range(5):
        going = stream(iter([slow_request(2000).SerializeToString()] * 3), timeout=600)
        going.cancel()
    # What a model has begun, it ends: some seconds. All fifteen would take half a minute.
    assert call(channel, "ModelInfer")(slow_request(1), timeout=25).model_name == "slow"


def test_what_there_is_can_be_asked(gateway: RunningGateway, channel: grpc.Channel) -> None:
    def ask(method: str, **fields: Any) -> Any:
        return call(channel, method)(message(f"inference.{method}Request")(**fields), timeout=10)

    assert ask("ServerLive").live
    assert ask("ServerReady").ready
    assert [ask("ModelReady", name=name).ready for name in ("add", "nothing", "broken")] == [True, False, False]
    assert "binary_tensor_data" in ask("ServerMetadata").extensions
    (x,) = ask("ModelMetadata", name="add").inputs
    assert (x.name, x.datatype, x.shape) == ("x", "FP32", [-1, 2])
    assert ask("ModelConfig", name="add").config.input[0].name == "x"
    before = ask("ModelStatistics", name="add").model_stats[0].inference_count
    call(channel, "ModelInfer")(infer_request(), timeout=10)
    assert ask("ModelStatistics", name="add", version="1").model_stats[0].inference_count == before + 1
    assert refused(lambda: ask("ModelMetadata", name="nothing"))[0] is grpc.StatusCode.NOT_FOUND


def test_health_is_told_for_the_server_and_for_each_service(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "inference.GRPCInferenceService"):
        assert health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10).status == 1
    code, _ = refused(lambda: health.Check(health_pb2.HealthCheckRequest(service="nothing"), timeout=10))
    assert code is grpc.StatusCode.NOT_FOUND


def test_reflection_gives_every_service_s_messages(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    services = list(database.get_services())
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(services)
    pool = DescriptorPool(database)
    for name in services:
        for method in pool.FindServiceByName(name).methods:
            assert method.input_type.full_name
    numbers = {field.name: field.number for field in pool.FindMessageTypeByName("inference.ModelInferRequest").fields}
    assert numbers["raw_input_contents"] == 7


def test_what_is_no_grpc_does_not_hurt(gateway: RunningGateway, channel: grpc.Channel) -> None:
    host, _, port = gateway.grpc.rpartition(":")
    for rubbish in (b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100, b"\0" * 1000):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(rubbish)
    assert call(channel, "ServerLive")(message("inference.ServerLiveRequest")(), timeout=10).live


def test_a_gateway_that_stops_answers_what_runs(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    publish(repository, "slow", 1, {"model.onnx": slow_model()})
    with RunningGateway.running(repository) as gateway:
        gateway.wait_ready(within_s=60)
        with grpc.insecure_channel(gateway.grpc) as channel:
            going = call(channel, "ModelInfer").future(slow_request(1000), timeout=60)
            worker = psutil.Process(gateway.deployments()["slow/1@onnxruntime"]["pid"])
            gateway.until(lambda: worker.cpu_percent(0.05) > 20)
            gateway.process.terminate()
            assert going.result().outputs[0].contents.int64_contents == [1000]
        assert gateway.process.wait(30) == 0


def test_nan_goes_over_grpc_as_it_is(channel: grpc.Channel) -> None:
    answer = call(channel, "ModelInfer")(infer_request("divide", (0, 1)), timeout=10)
    assert np.isnan(struct.unpack("<2f", answer.raw_output_contents[0])[0])


def test_empty_messages_are_refused_politely(channel: grpc.Channel) -> None:
    send = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer", request_serializer=lambda m: m.SerializeToString()
    )
    assert refused(lambda: send(Empty(), timeout=10))[0] is grpc.StatusCode.INVALID_ARGUMENT
