"""One unit gets one variant, whatever protocol it speaks and whoever answers; and every answer says which."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import grpc
import httpx
import numpy as np
import psutil
import pytest

from gateway.experiments.assignment import hash_unit
from gateway.protocols.protos import message
from tests.e2e.experiments.callers import Caller
from tests.e2e.experiments.control import Experiment
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish

SETTINGS = {"POLL_S": "0.1", "SETTLE_S": "0"}
UNITS = [f"user-{number}" for number in range(200)]
X = np.array([[1, 2]], np.float32)
FILE = """
state = "running"
units = ["header:torii-unit", "parameter:unit", "cookie:session"]
[variants.one]
target = "add/1"
weight = 60
[variants.two]
target = "add/2"
weight = 40
[metrics.good]
kind = "binary"
better = "higher"
margin = 0.01
"""
HEAD = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
V2 = "/v2/models/add/infer"
TORCHSERVE = "org.pytorch.serve.grpc.inference"


def wanted(unit: str) -> str:
    return "one" if hash_unit("add/which", unit.encode()).slot < 600_000 else "two"


@dataclass
class Told:
    """What an answer says, beside the first number of its output; `parameters` are V2's."""

    headers: Mapping[str, str]
    number: float
    parameters: Mapping[str, Any] | None = None
    variant: str = field(init=False)

    def __post_init__(self) -> None:
        self.variant = self.headers["torii-variant"]


class Speaker:
    """Asks the model add in every dialect."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.gateway = gateway
        self.channel = grpc.insecure_channel(gateway.grpc, [("grpc.enable_http_proxy", 0)])

    def http(self, path: str, unit: str, headers: Mapping[str, str] | None = None, **body: Any) -> httpx.Response:
        response = self.gateway.post(path, headers={"torii-unit": unit, **(headers or {})}, **body)
        assert response.status_code == 200, response.text
        return response

    def v2_json(self, unit: str) -> Told:
        return v2(self.http(V2, unit, json=HEAD))

    def v2_parameter(self, unit: str) -> Told:
        response = self.gateway.post(V2, json={**HEAD, "parameters": {"unit": unit}})
        return v2(response)

    def v2_cookie(self, unit: str) -> Told:
        return v2(self.gateway.post(V2, json=HEAD, headers={"cookie": f"a=b; session={unit}"}))

    def v2_binary(self, unit: str) -> Told:
        described = {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
        head = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
        headers = {"inference-header-content-length": str(len(head))}
        return v2_binary(self.http(V2, unit, headers, content=head + X.tobytes()))

    def v2_raw(self, unit: str) -> Told:
        headers = {"inference-header-content-length": "0"}
        return v2_binary(self.http(V2, unit, headers, content=X[0].tobytes()))

    def tf_serving(self, unit: str) -> Told:
        response = self.http("/v1/models/add:predict", unit, json={"instances": X.tolist()})
        return Told(response.headers, response.json()["predictions"][0][0])

    def torchserve(self, unit: str) -> Told:
        response = self.http("/predictions/add", unit, json=X.tolist())
        return Told(response.headers, response.json()[0][0])

    def call(self, method: str, request: Any, answer: Any, unit: str | None) -> tuple[Any, dict[str, str]]:
        send = self.channel.unary_unary(
            method, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
        )
        metadata = (("torii-unit", unit),) if unit else ()
        response, call = send.with_call(request, metadata=metadata, timeout=30)
        return response, {key: str(value) for key, value in call.trailing_metadata()}

    def grpc_v2(self, unit: str) -> Told:
        method = "/inference.GRPCInferenceService/ModelInfer"
        response, trailing = self.call(method, v2_message(), message("inference.ModelInferResponse"), unit)
        return v2_answer(response, trailing)

    def grpc_v2_parameter(self, unit: str) -> Told:
        method, request = "/inference.GRPCInferenceService/ModelInfer", v2_message(unit)
        response, trailing = self.call(method, request, message("inference.ModelInferResponse"), None)
        return v2_answer(response, trailing)

    def grpc_torchserve(self, unit: str) -> Told:
        request = message(f"{TORCHSERVE}.PredictionsRequest")(model_name="add")
        request.input["data"] = json.dumps(X.tolist()).encode()
        method = f"/{TORCHSERVE}.InferenceAPIsService/Predictions"
        response, trailing = self.call(method, request, message(f"{TORCHSERVE}.PredictionResponse"), unit)
        return Told(trailing, json.loads(response.prediction)[0][0])

    def grpc_tf_serving(self, unit: str) -> Told:
        if find_spec("tensorflow_serving") is None:
            pytest.skip("tensorflow-serving-api is not installed")
        from adapters.tfserving.protos import predict_pb2
        from adapters.tfserving.tensor_proto import decode, encode

        request = predict_pb2.PredictRequest()
        request.model_spec.name = "add"
        encode(X, request.inputs["x"])
        method = "/tensorflow.serving.PredictionService/Predict"
        response, trailing = self.call(method, request, predict_pb2.PredictResponse, unit)
        assert response.model_spec.version.value == (1 if trailing["torii-variant"] == "one" else 2)
        return Told(trailing, float(decode(response.outputs["y"])[0, 0]))


def v2(response: httpx.Response) -> Told:
    assert response.status_code == 200, response.text
    document = response.json()
    return Told(response.headers, document["outputs"][0]["data"][0], document["parameters"])


def v2_binary(response: httpx.Response) -> Told:
    length = int(response.headers["inference-header-content-length"])
    number = np.frombuffer(response.content[length:], np.float32)[0]
    return Told(response.headers, float(number), json.loads(response.content[:length])["parameters"])


def v2_message(unit: str | None = None) -> Any:
    request = message("inference.ModelInferRequest")(model_name="add")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    request.raw_input_contents.append(X.tobytes())
    if unit is not None:
        request.parameters["unit"].string_param = unit
    return request


def v2_answer(response: Any, trailing: Mapping[str, str]) -> Told:
    parameters = {name: each.string_param for name, each in response.parameters.items()}
    return Told(trailing, float(np.frombuffer(response.raw_output_contents[0], np.float32)[0]), parameters)


DIALECTS: dict[str, Callable[[Speaker, str], Told]] = {
    each.__name__: each
    for each in (
        Speaker.v2_json, Speaker.v2_parameter, Speaker.v2_cookie, Speaker.v2_binary, Speaker.v2_raw,
        Speaker.tf_serving, Speaker.torchserve,
        Speaker.grpc_v2, Speaker.grpc_v2_parameter, Speaker.grpc_torchserve, Speaker.grpc_tf_serving,
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """Two versions of add, and an experiment that was written by hand."""
    repository = tmp_path_factory.mktemp("dialects") / "repository"
    for version in (1, 2):
        publish(repository, "add", version, {"model.onnx": add_model(version)})
    (repository / "add/experiments").mkdir()
    (repository / "add/experiments/which.toml").write_text(FILE)
    with RunningGateway.running(repository, **SETTINGS) as running:
        running.wait_ready(within_s=60)
        running.until(lambda: "torii-variant" in running.post(V2, json=HEAD).headers)
        yield running


@pytest.fixture(scope="module")
def speaker(gateway: RunningGateway) -> Speaker:
    return Speaker(gateway)


@pytest.mark.parametrize("speak", DIALECTS.values(), ids=DIALECTS.keys())
def test_a_unit_gets_its_variant_in_every_dialect(speaker: Speaker, speak: Callable[[Speaker, str], Told]) -> None:
    told = {unit: speak(speaker, unit) for unit in UNITS}
    assert {unit: each.variant for unit, each in told.items()} == {unit: wanted(unit) for unit in UNITS}
    requests = set()
    for each in told.values():
        version = 1 if each.variant == "one" else 2
        assert each.number == 1 + version  # it is what really answered
        assert each.headers["torii-served-by"] == f"add/{version}@onnxruntime"
        assert each.headers["torii-experiment"] == "add/which"
        requests.add(each.headers["torii-request-id"])
        if each.parameters is not None:
            assert each.parameters["experiment"] == "add/which"
            assert each.parameters["variant"] == each.variant
            assert each.parameters["request_id"] == each.headers["torii-request-id"]
    assert len(requests) == len(UNITS)


def test_in_a_stream_each_request_has_its_own_variant(speaker: Speaker) -> None:
    send = speaker.channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=message("inference.ModelInferRequest").SerializeToString,
        response_deserializer=message("inference.ModelStreamInferResponse").FromString,
    )
    answers = list(send(iter([v2_message(unit) for unit in UNITS]), timeout=60))
    found = [each.infer_response.parameters["variant"].string_param for each in answers]
    assert found == [wanted(unit) for unit in UNITS]
    requests = {each.infer_response.parameters["request_id"].string_param for each in answers}
    assert len(requests) == len(UNITS)


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/add/versions/1/infer",
        "/v2/models/add@onnxruntime/infer",
        "/v2/models/add@onnxruntime/versions/2/infer",
    ],
)
def test_what_is_pinned_takes_no_part(gateway: RunningGateway, path: str) -> None:
    for unit in UNITS[:20]:
        response = gateway.post(path, json=HEAD, headers={"torii-unit": unit})
        assert response.status_code == 200
        assert "torii-variant" not in response.headers
        assert "experiment" not in response.json()["parameters"]


def test_hostile_units_are_answered_or_refused_and_never_break_anything(gateway: RunningGateway) -> None:
    for unit in ([[]], {"a": {}}, "", "\x00", "x" * (1 << 20), "\U0010ffff", 10**30, 1e308, True, None):
        response = gateway.post(V2, json={**HEAD, "parameters": {"unit": unit}})
        assert response.status_code == 200, response.text
        assert response.headers["torii-variant"] in ("one", "two")
    nested = '{"parameters":{"unit":' + "[" * 900 + "]" * 900 + "}," + json.dumps(HEAD)[1:]
    surrogate = '{"parameters":{"unit":"\\ud800"},' + json.dumps(HEAD)[1:]
    for body in (nested, surrogate):
        assert gateway.post(V2, content=body.encode()).status_code in (200, 400)
    for raw in (b"\xff\xfe", b"a\x80b", b"x" * 60_000):
        response = gateway.post(V2, json=HEAD, headers=[(b"torii-unit", raw)])
        assert response.headers["torii-variant"] in ("one", "two")
    assert not re.search("request [0-9a-f]{12} failed", gateway.log.read_text())


def frontends(gateway: RunningGateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.status()["frontends"]
    return found


def serving(gateway: RunningGateway) -> bool:
    return [each["state"] for each in frontends(gateway)] == ["serving"] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shares out connections among processes")
def test_two_frontends_started_anew_assign_alike_and_lose_nothing_but_a_moment(gateway: RunningGateway) -> None:
    with RunningGateway.running(gateway.repository, **SETTINGS, FRONTENDS="2") as other:
        other.wait_ready(within_s=60)
        other.until(lambda: serving(other) and "torii-variant" in other.post(V2, json=HEAD).headers)
        experiment = Experiment(other, "add", "which")
        other.until(lambda: experiment.requests() == 1)

        def ask(unit: str) -> str:
            with Caller(other.url) as caller:  # for each a connection: the kernel chooses the frontend
                return caller.infer("add", json.dumps(HEAD).encode(), unit).variant

        assert [ask(unit) for unit in UNITS] == [wanted(unit) for unit in UNITS]
        other.until(lambda: experiment.requests() == 1 + len(UNITS))
        victim = next(each for each in frontends(other) if each["requests"] > 10)
        os.kill(victim["pid"], signal.SIGKILL)
        other.until(lambda: not psutil.pid_exists(victim["pid"]) and serving(other), within_s=30)
        assert [ask(unit) for unit in UNITS] == [wanted(unit) for unit in UNITS]
        other.until(lambda: experiment.requests() == 1 + 2 * len(UNITS))
