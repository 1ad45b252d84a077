"""What a caller gets wrong comes back as a clear error of the right code, and the next request is answered."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from adapters.errors import InvalidInput
from gateway.protocols.open_inference import decode_infer
from gateway.types import Target
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, divide_model, publish, slow_model

GOOD = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    repository = tmp_path_factory.mktemp("bad") / "repository"
    publish(repository, "add", 1, {"model.onnx": add_model(1)})
    publish(repository, "divide", 1, {"model.onnx": divide_model()})
    publish(repository, "broken", 1, {"model.onnx": b"no model"})
    with RunningGateway.start(repository, MAX_BODY_BYTES="100000") as running:
        running.wait_ready(within_s=60)
        yield running


@pytest.fixture(autouse=True)
def _still_serving(gateway: RunningGateway) -> Iterator[None]:
    yield
    assert gateway.infer("add", x=np.ones((1, 2), np.float32)).status_code == 200


def inputs(**changes: Any) -> bytes:
    tensor = {key: value for key, value in {**GOOD, **changes}.items() if value != "left out"}
    return json.dumps({"inputs": [tensor]}).encode()


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("nothing", 404, ["'nothing'", "add, broken, divide"]),
        ("add/versions/9", 404, ["no version 9", "1"]),
        ("add@tflite", 404, ["'tflite'", "onnxruntime"]),
        ("add@nonsense", 404, ["'nonsense'", "onnxruntime"]),
        ("broken", 503, ["broken/1@onnxruntime is FAILED"]),
        ("broken/versions/1", 503, ["FAILED"]),
        ("add/versions/0", 400, ["'0'", "positive integer"]),
        ("add/versions/latest", 400, ["'latest'", "positive integer"]),
        ("Add", 400, ["'Add'"]),
        ("a%2Fb", 400, ["'a/b'", "no slash"]),
        ("..%2F..%2Fetc", 400, ["no slash"]),
        ("%252e%252e", 400, ["expected a name"]),
        ("add/nonsense/1", 400, ["/v2/models/MODEL/infer"]),
    ],
)
def test_an_unknown_target_says_what_there_is(gateway: RunningGateway, path: str, status: int, said: list[str]) -> None:
    response = gateway.post(f"/v2/models/{path}/infer", content=inputs())
    assert response.status_code == status
    for part in said:
        assert part in response.json()["error"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", ["empty body"]),
        (b"{", ["not JSON"]),
        (b"[]", ["expected a JSON object"]),
        (b"\xff\xfe", ["not JSON"]),
        (b"[" * 10_000 + b"]" * 10_000, ["not JSON"]),
        (inputs(data=None).replace(b"null", b"[" * 10_000 + b"]" * 10_000), ["not JSON"]),
        (b"{}", ["inputs: expected a list", "nothing"]),
        (b'{"inputs": {}}', ["inputs: expected a list", "an object"]),
        (b'{"inputs": []}', ["'x' is missing"]),
        (b'{"inputs": [1]}', ["inputs[0]"]),
        (inputs(name="left out"), ["inputs[0].name"]),
        (inputs(name="y"), ["'x' is missing", "'y'"]),
        (inputs(datatype="left out"), ["datatype is missing"]),
        (inputs(datatype="FLOAT"), ["'FLOAT'", "FP32"]),
        (inputs(datatype="INT64"), ["expected datatype FP32", "got INT64"]),
        (inputs(datatype=["FP32"]), ["unknown datatype"]),
        (inputs(shape=[2]), ["expected 2 dimensions", "got 1"]),
        (inputs(shape=[1, 3], data=[1, 2, 3]), ["expected shape [-1, 2]", "got [1, 3]"]),
        (inputs(shape=[1, 2, 1]), ["expected 2 dimensions", "got 3"]),
        (inputs(shape=[2, 2]), ["means 4 elements", "data has 2"]),
        (inputs(shape=[-1, 2]), ["shape", "-1"]),
        (inputs(shape=[2**62, 2**62]), ["elements", "data has 2"]),
        (inputs(shape=[10**30]), ["shape"]),
        (inputs(shape=[2**31, 0], data=[]), ["shape", "beside a 0"]),
        (inputs(shape=[1.0, 2]), ["shape", "1.0"]),
        (inputs(shape=[True, 2]), ["shape", "true"]),
        (inputs(shape="left out"), ["shape is missing"]),
        (inputs(data="left out"), ["data is missing"]),
        (inputs(data=[True, 2]), ["expected numbers", "true"]),
        (inputs(data=["1", 2]), ["expected numbers", "'1'"]),
        (inputs(data=[None, 2]), ["expected numbers", "null"]),
        (inputs(data=[[1], [2, 3]]), ["different lengths"]),
        (inputs(data=[[1], [2]]), ["nested as [2, 1]", "[1, 2]"]),
        (inputs(data=[1e300, 1]), ["too large for FP32"]),
        (json.dumps({"inputs": [GOOD, GOOD]}).encode(), ["'x' is there twice"]),
        (json.dumps({"inputs": [GOOD, {**GOOD, "name": "z"}]}).encode(), ["'z' is unknown", "'x' FP32 [-1, 2]"]),
        (json.dumps({"inputs": [GOOD], "outputs": [{"name": "q"}]}).encode(), ["output 'q' is unknown", "y"]),
        (json.dumps({"inputs": [GOOD], "id": 7}).encode(), ["id: expected a string"]),
        (json.dumps({"inputs": [GOOD], "parameters": {"timeout": -1}}).encode(), ["parameters.timeout"]),
    ],
)
def test_a_malformed_request_names_field_expected_and_got(
    gateway: RunningGateway, body: bytes, said: list[str]
) -> None:
    response = gateway.post("/v2/models/add/infer", content=body)
    assert response.status_code == 400, response.text
    for part in said:
        assert part in response.json()["error"]


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
def test_a_body_over_the_limit_is_refused(gateway: RunningGateway, chunked: bool) -> None:
    body = inputs(data=[1] * 50_000)
    response = gateway.post("/v2/models/add/infer", content=iter([body]) if chunked else body)
    assert response.status_code == 413
    assert "100000" in response.json()["error"]


def test_a_claimed_length_over_the_limit_is_refused_before_the_body_is_sent(gateway: RunningGateway) -> None:
    port = int(gateway.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n{")
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_nan_in_an_answer_is_an_error_that_says_how_to_get_it(gateway: RunningGateway) -> None:
    response = gateway.infer("divide", x=np.array([[0, 1]], np.float32))
    assert response.status_code == 400
    assert "'y' holds NaN" in response.json()["error"]
    assert "non_finite" in response.json()["error"]


def test_nan_is_a_string_for_those_who_ask(gateway: RunningGateway) -> None:
    body = {"inputs": [{**GOOD, "data": [0, -1]}], "parameters": {"non_finite": "string"}}
    response = gateway.post("/v2/models/divide/infer", json=body)
    assert response.json()["outputs"][0]["data"] == ["NaN", "-Infinity"]


@pytest.mark.parametrize("path", ["/nowhere", "/v2/models", "/v2/models/add/infer/more", "/v3"])
def test_a_route_that_is_not_there_answers_in_the_same_form(gateway: RunningGateway, path: str) -> None:
    response = gateway.post(path, content=b"{}")
    assert response.status_code in (404, 405)
    assert "error" in response.json()


def test_a_caller_that_hangs_up_in_its_body_is_forgotten(gateway: RunningGateway) -> None:
    port = int(gateway.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"POST /v2/models/add/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")


def test_a_request_may_name_its_outputs_and_gets_its_id_back(gateway: RunningGateway) -> None:
    body = {"id": "mine", "inputs": [GOOD], "outputs": [{"name": "y"}]}
    answer = gateway.post("/v2/models/add/infer", json=body).json()
    assert answer["id"] == "mine"
    assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [2.0, 3.0]}]


def test_a_repository_file_is_never_served(gateway: RunningGateway, tmp_path: Path) -> None:
    for path in ("/v2/models/../model.toml", "/v2/models/add/1/model.onnx", "/..%2f..%2fetc/passwd"):
        assert gateway.get(path).status_code in (400, 404)


def test_a_request_that_takes_too_long_gets_504(gateway: RunningGateway) -> None:
    body = {"inputs": [GOOD], "parameters": {"timeout": 1}}
    codes = {gateway.post("/v2/models/add/infer", json=body).status_code for _ in range(20)}
    assert codes <= {200, 504}
    assert 504 in codes


def test_what_a_caller_asked_for_is_dropped_when_it_hangs_up(
    serve: Callable[..., RunningGateway], tmp_path: Path
) -> None:
    publish(tmp_path / "repository", "slow", 1, {"model.onnx": slow_model()})
    gateway = serve()
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(gateway.infer("slow", n=np.array([3000])).status_code))
    asking.start()
    worker = psutil.Process(gateway.deployments()["slow/1@onnxruntime"]["pid"])
    gateway.until(lambda: worker.cpu_percent(0.05) > 20)
    for _ in range(3):  # each would keep the worker busy for hours
        hang_up_after_asking(gateway, rounds=10**7)
    assert gateway.infer("slow", n=np.array([1])).status_code == 200
    asking.join()
    assert answers == [200]


def hang_up_after_asking(gateway: RunningGateway, rounds: int) -> None:
    body = json.dumps({"inputs": [{"name": "n", "shape": [1], "datatype": "INT64", "data": [rounds]}]}).encode()
    head = b"POST /v2/models/slow/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2]))) as connection:
        connection.sendall(head + body)


def exchange(gateway: RunningGateway, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def post(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST /v2/models/add/infer HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def test_an_offer_to_upgrade_is_ignored(gateway: RunningGateway) -> None:
    request = post(inputs(), b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA")
    with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(request)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_headers_without_end_are_refused(gateway: RunningGateway) -> None:
    port = int(gateway.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n")
        answer = b""
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(b"X-Long: " + b"a" * 10_000 + b"\r\n")
        with contextlib.suppress(ConnectionError):
            answer = connection.recv(65536)
    assert not answer.startswith(b"HTTP/1.1 200")


def test_pipelined_requests_are_answered_in_order_and_rubbish_behind_them_ends_the_connection(
    gateway: RunningGateway,
) -> None:
    first, second = post(inputs(data=[1, 1])), post(inputs(data=[5, 5]))
    answers = exchange(gateway, first + second + post(inputs(data=[8, 8]), b"Connection: close"))
    assert [answers.find(b"[%d.0,%d.0]" % (each, each)) > 0 for each in (2, 6, 9)] == [True] * 3
    exchange(gateway, post(inputs()) * 3 + b"rubbish\r\n\r\n")
    assert "the handler is closed" not in gateway.log.read_text()


def test_health_can_be_asked_for_with_head(gateway: RunningGateway) -> None:
    assert gateway.client.head(gateway.url + "/v2/health/ready").status_code == 200


@pytest.mark.parametrize("count", ["strings", "numbers", "lists"])
def test_more_values_than_could_be_read_in_time_are_refused_before_they_are_parsed(count: str) -> None:
    data = {
        "strings": b'"",' * (1 << 20) + b'""',
        "numbers": b"0," * ((1 << 23) + 1) + b"0",
        "lists": b"[]," * (1 << 20) + b"[]",
    }
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[' + data[count] + b"]}]}"
    with pytest.raises(InvalidInput, match="at most"):
        decode_infer(Target("m"), body)
