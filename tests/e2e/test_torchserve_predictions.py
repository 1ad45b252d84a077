"""TorchServe's predictions for models that take tensors, on every backend; and what callers get wrong, in its form."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from gateway.protocols.protos import message
from tests.conftest import ROOT
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, divide_model, publish

SERVICE = "org.pytorch.serve.grpc.inference"
BACKENDS = ("onnxruntime", "tflite", "tfserving", "torchserve")
NPY = {"accept": "application/x-npy"}


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def golden() -> tuple[np.ndarray, np.ndarray]:
    with np.load(ROOT / "model_repo/digits/1/golden.npz") as file:
        outputs = next(name for name in file if name.startswith("outputs/"))
        return file["inputs/image"][:3], file[outputs][:3]


def read(response: httpx.Response) -> np.ndarray:
    assert response.status_code == 200, response.text
    if response.headers["content-type"] == "application/x-npy":
        return np.load(io.BytesIO(response.content), allow_pickle=False)
    return np.array(response.json())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "say",
    [
        lambda x: {"json": x.tolist()},
        lambda x: {"json": {"image": x.tolist()}},
        lambda x: {"content": npy(x)},
        lambda x: {"content": npy(x), "headers": NPY},
        lambda x: {"files": {"data": npy(x)}, "headers": NPY},
        lambda x: {"files": {"image": json.dumps(x.tolist()).encode()}},
        lambda x: {"data": {"data": json.dumps(x.tolist())}},
    ],
    ids=["json", "json by name", "npy", "npy both ways", "multipart npy", "multipart json by name", "urlencoded"],
)
def test_every_backend_answers_every_form_of_a_batch_and_of_one_row(
    digits: RunningGateway, backend: str, say: Callable[[np.ndarray], Any]
) -> None:
    images, logits = golden()
    for inputs, outputs in ((images, logits), (images[0], logits[0])):
        response = digits.post(f"/predictions/digits@{backend}/1", **say(inputs))
        np.testing.assert_allclose(read(response), outputs, rtol=1e-3, atol=1e-4)
        assert response.headers["torii-served-by"] == f"digits/1@{backend}"


def test_one_row_as_a_column_of_numbers_is_how_curl_sends_it(digits: RunningGateway) -> None:
    body = json.dumps(golden()[0][0].tolist())
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert len(digits.post("/predictions/digits", content=body, headers=form).json()) == 10


@pytest.mark.parametrize("backend", BACKENDS)
def test_grpc_answers_what_http_answers(digits: RunningGateway, backend: str) -> None:
    images, _ = golden()
    fields = {"model_name": f"digits@{backend}", "model_version": "1"}
    with grpc.insecure_channel(digits.grpc) as channel:
        for accept in ({}, NPY):
            asked = message(f"{SERVICE}.PredictionsRequest")(**fields, input={"data": npy(images)})
            call = channel.unary_unary(
                f"/{SERVICE}.InferenceAPIsService/Predictions",
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=message(f"{SERVICE}.PredictionResponse").FromString,
            )
            answer, info = call.with_call(asked, metadata=tuple(accept.items()), timeout=30)
            over_http = digits.post(f"/predictions/digits@{backend}/1", content=npy(images), headers=accept)
            assert answer.prediction == over_http.content
            assert dict(info.trailing_metadata())["torii-served-by"] == f"digits/1@{backend}"


def test_the_routes_are_in_the_documentation_and_management_is_not(digits: RunningGateway) -> None:
    paths = digits.get("/openapi.json").json()["paths"]
    assert {"/ping", "/predictions/{model}", "/explanations/{model}/{version}"} <= paths.keys()
    assert not [path for path in paths if path.startswith("/models")]
    for path in ("/models", "/models/digits"):
        assert digits.get(path).status_code == 404
    assert digits.get("/api-description").json()["paths"].keys() == paths.keys()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    repository = tmp_path_factory.mktemp("torchserve") / "repository"
    publish(repository, "add", 1, {"model.onnx": add_model(1)})
    publish(repository, "divide", 1, {"model.onnx": divide_model()})
    publish(repository, "broken", 1, {"model.onnx": b"no model"})
    with RunningGateway.start(repository, MAX_BODY_BYTES="100000") as running:
        running.wait_ready(within_s=60)
        yield running


@pytest.fixture(autouse=True)
def _still_serving(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "gateway" in request.fixturenames:
        gateway: RunningGateway = request.getfixturevalue("gateway")
        assert gateway.post("/predictions/add", json=[1, 2]).json() == [2, 3]


def refused(response: httpx.Response, status: int, kind: str) -> str:
    body = response.json()
    assert (response.status_code, body["code"], body["type"]) == (status, status, kind), response.text
    assert body.keys() == {"code", "type", "message"}
    text: str = body["message"]
    return text


def header(text: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode() + data


MULTIPART = {"content-type": "multipart/form-data; boundary=x"}
PART = b'--x\r\nContent-Disposition: form-data; name="data"\r\n\r\n'


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (b"", {}, "empty"),
        (b"{", {}, "neither"),
        (b"\xff\xd8\xff\xe0", {"content-type": "image/jpeg"}, "neither"),
        (b"[" * 50_000 + b"]" * 40_000, {}, "neither"),
        (b"[" * 1000 + b"]" * 1000, {}, "nested too deep"),
        (b"[[1, 2], [3]]", {}, "different lengths"),
        (b"[[1, 2, 3]]", {}, "expected shape [-1, 2]"),
        (b"[1, NaN]", {}, "neither"),
        (b"[1, 1e999]", {}, ""),
        (b'{"y": [1, 2]}', {}, "'y' is unknown"),
        (b"{}", {}, "'x' is missing"),
        (b"[[]]", {}, "expected shape"),
        (npy(np.ones((1, 2))), {}, "array.astype('float32')"),
        (npy(np.ones((1, 2), np.float32))[:-1], {}, "8 bytes of data, got 7"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999, 2), }"), {}, "bytes of data, got 0"),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (1, 2), }", b"cos\nsystem\n"), {}, "'|O'"),
        (header("-" * 4000 + "1"), {}, "expected a header"),
        (b"\x93NUMPY\2\0\xff\xff\xff\xff", {}, "header of at most"),
        (PART + b"[1, 2]", MULTIPART, "before its last boundary"),
        (b"--x", MULTIPART, "before its last boundary"),
        (b"rubbish", MULTIPART, "multipart/form-data"),
        (PART + b"[1, 2]\r\n--x--", {"content-type": "multipart/form-data"}, "boundary"),
        (b"--x\r\n" + b"A: b\r\n" * 1000, MULTIPART, "header count"),
        (PART * 1000, MULTIPART, "there twice"),
        (b"data=[1&data=2]", {"content-type": "application/x-www-form-urlencoded"}, "twice"),
        (b"[1, 2]", {"content-encoding": "gzip"}, "gzip"),
        (b"[1, 2]", {"content-encoding": "br"}, "content-encoding"),
    ],
)
def test_what_a_caller_gets_wrong_is_named_in_torchserves_form(
    gateway: RunningGateway, body: bytes, headers: dict[str, str], said: str
) -> None:
    response = gateway.post("/predictions/add", content=body, headers=headers)
    assert said in refused(response, 400, "BadRequestException")


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("nope", 404, "ModelNotFoundException"),
        ("Add", 404, "ModelNotFoundException"),
        ("add@tflite", 404, "ModelNotFoundException"),
        ("%252e%252e%252fadd", 404, "ModelNotFoundException"),
        ("add/9", 404, "ModelVersionNotFoundException"),
        ("add/latest", 404, "ModelVersionNotFoundException"),
        ("add/%31/%2e%2e", 404, "ResourceNotFoundException"),
        ("add/1/2", 404, "ResourceNotFoundException"),
        ("", 404, "ResourceNotFoundException"),
        ("a%2Fb", 400, "BadRequestException"),
        ("..%2f..%2fetc%2fpasswd", 400, "BadRequestException"),
        ("add%00", 400, "BadRequestException"),
        ("%c0%af", 400, "BadRequestException"),
        ("broken", 503, "ServiceUnavailableException"),
    ],
)
def test_a_target_that_is_not_there_is_told_in_torchserves_form(
    gateway: RunningGateway, path: str, status: int, kind: str
) -> None:
    # httpx would tidy the path up; a socket sends it as it is.
    request = f"POST /predictions/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nConnection: close\r\n\r\n[1, 2]"
    with socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status, answer
    assert (json.loads(body)["code"], json.loads(body)["type"]) == (status, kind)


@pytest.mark.parametrize("verb", ["predictions", "explanations"])
def test_a_body_over_the_limit_is_refused(gateway: RunningGateway, verb: str) -> None:
    response = gateway.post(f"/{verb}/add", content=b"[" + b"1," * 60_000)
    assert "at most 100000 bytes" in refused(response, 413, "RequestEntityTooLargeException")
    port = int(gateway.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"POST /predictions/add HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n[")
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_nan_has_no_json_and_the_text_says_how_to_get_it(gateway: RunningGateway) -> None:
    text = refused(gateway.post("/predictions/divide", json=[[0, 1]]), 400, "BadRequestException")
    assert "accept: application/x-npy" in text
    answer = read(gateway.post("/predictions/divide", json=[[0, 1]], headers=NPY))
    assert np.isnan(answer[0, 0])
    assert np.isinf(answer[0, 1])


def test_explanations_of_a_tensor_model_are_refused_with_a_reason(gateway: RunningGateway) -> None:
    text = refused(gateway.post("/explanations/add", json=[1, 2]), 501, "NotImplementedException")
    assert "handler of its own" in text


def test_ping_answers_as_torchserve_does(gateway: RunningGateway) -> None:
    response = gateway.get("/ping")
    assert (response.status_code, response.content) == (200, b'{\n  "status": "Healthy"\n}\n')
    assert gateway.client.head(gateway.url + "/ping").status_code == 200
