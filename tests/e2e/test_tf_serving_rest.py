"""TF Serving's REST API, as its clients meet it: the same requests, on every backend."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, divide_model, publish
from tests.e2e.test_digits import DEPLOYMENTS, golden, path_of


@pytest.fixture(scope="module")
def gateway(test_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """TF Serving's own test model as m, and small ONNX models beside it."""
    repository = tmp_path_factory.mktemp("tfserving") / "repository"
    publish(repository, "add", 1, {"model.onnx": add_model(1)})
    publish(repository, "add", 2, {"model.onnx": add_model(2)})
    (repository / "add" / "labels.toml").write_text("canary = 1\n")
    publish(repository, "divide", 1, {"model.onnx": divide_model()})
    publish(repository, "broken", 1, {"model.onnx": b"no model"})
    shutil.copytree(test_data("tf/serving/saved_model_half_plus_two_cpu"), repository / "m")
    with RunningGateway.start(repository) as running:
        running.wait_ready(within_s=60)
        yield running


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_golden_inputs_give_the_golden_outputs_by_row_and_by_column(digits: RunningGateway, deployment: str) -> None:
    images, probabilities = golden(int(deployment[7]))
    forms: list[tuple[dict[str, Any], str]] = [
        ({"instances": images.tolist()}, "predictions"),
        ({"instances": [{"image": image} for image in images.tolist()]}, "predictions"),
        ({"inputs": images.tolist(), "signature_name": "serving_default"}, "outputs"),
        ({"inputs": {"image": images.tolist()}}, "outputs"),
    ]
    for body, key in forms:
        response = digits.post(f"/v1/models/{path_of(deployment)}:predict", json=body)
        assert response.status_code == 200, response.text
        assert response.headers["torii-served-by"] == deployment
        assert response.headers["content-type"] == "application/json"
        assert list(response.json()) == [key]
        np.testing.assert_allclose(response.json()[key], probabilities, atol=1e-4)


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_metadata_name_the_tensors(digits: RunningGateway, deployment: str) -> None:
    described = digits.get(f"/v1/models/{path_of(deployment)}/metadata").json()
    assert described["model_spec"]["version"] == deployment[7]
    signature = described["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["image"]["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in signature["inputs"]["image"]["tensor_shape"]["dim"]] == ["-1", "8", "8"]
    assert signature["outputs"]["probabilities"]["dtype"] == "DT_FLOAT"
    assert signature["method_name"] == "tensorflow/serving/predict"


def test_requests_of_tf_serving_s_own_tests_are_answered_as_there(
    gateway: RunningGateway, test_data: Callable[[str], Path]
) -> None:
    cases = json.loads(test_data("cases/tfserving_good_requests.json").read_text())
    metadata = json.loads(test_data("tf/serving/half_plus_two_model_metadata.json").read_text())
    metadata["model_spec"]["name"] = "m"
    answered = 0
    for case in cases["good"]:
        if not case["path"].startswith("/v1/"):
            continue
        response = gateway.client.request(case["method"], gateway.url + case["path"], json=case.get("body"))
        assert response.status_code == 200, response.text
        assert response.json() == case.get("response", metadata), case
        answered += 1
    assert answered == 6


def test_nan_and_infinities_come_and_go_as_bare_tokens(gateway: RunningGateway) -> None:
    response = gateway.post("/v1/models/divide:predict", json={"instances": [[0, 1], [-1, 2.5]]})
    assert response.text == '{"predictions":[[NaN,Infinity],[-Infinity,Infinity]]}'
    again = gateway.post("/v1/models/add:predict", content=response.text.replace("predictions", "instances"))
    assert again.text == response.text


def test_a_label_and_a_version_are_part_of_the_path(gateway: RunningGateway) -> None:
    for path, expected in {
        "add": 3,
        "add/versions/1": 2,
        "add/labels/canary": 2,
        "add@onnxruntime/versions/2": 3,
    }.items():
        response = gateway.post(f"/v1/models/{path}:predict", json={"instances": [[1, 1]]})
        assert response.json() == {"predictions": [[expected, expected]]}


def test_signatures_besides_the_served_one_are_tf_serving_s(gateway: RunningGateway) -> None:
    other = {"signature_name": "regress_x2_to_y3", "instances": [[2.0]]}
    assert gateway.post("/v1/models/m:predict", json=other).json() == {"predictions": [[4.0]]}
    for model in ("m", "add"):
        response = gateway.post(f"/v1/models/{model}:predict", json={**other, "signature_name": "nix"})
        assert response.status_code == 400
        assert 'Serving signature name: "nix" not found in signature def' in response.json()["error"]


def test_examples_may_share_a_context(gateway: RunningGateway) -> None:
    asked = {"signature_name": "regress_x_to_y2", "context": {"x": 2.0}, "examples": [{}, {"x": 4.0}]}
    assert gateway.post("/v1/models/m:regress", json=asked).json() == {"results": [4.0, 5.0]}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 100_000,
        b'{"examples": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"examples": [{"x": ' + b"[" * 900 + b"]" * 900 + b"}]}",
        b'{"examples": [{"x": {"b64": "!"}}]}',
        b'{"examples": [{"x": [1, 1.5]}]}',
        b'{"examples": [{"x": 18446744073709551615}]}',
        b'{"examples": [{"x": "\xff"}]}',
        b'{"examples": [' + b"{}," * 100_000 + b"{}]}",
        b'{"examples": [{}], "context": 1}',
        b'{"instances": [1]}',
    ],
    ids=lambda body: body[:30].decode(errors="replace"),
)
@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_hostile_examples_are_refused(gateway: RunningGateway, verb: str, body: bytes) -> None:
    response = gateway.post(f"/v1/models/m:{verb}", content=body)
    assert (response.status_code, list(response.json())) == (400, ["error"])
    assert len(response.content) < 1000


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "n:predict", {}, 404, "Servable not found for request: Latest(n); model 'n' is not in the repository"),
        ("POST", "m/versions/7:predict", {}, 404, "Servable not found for request: Specific(m, 7); model 'm' has no"),
        ("POST", "m/labels/x:predict", {}, 400, "Unrecognized servable version label: x"),
        ("POST", "broken:predict", {}, 503, "broken/1@onnxruntime is FAILED"),
        ("POST", "add:classify", {"examples": [{}]}, 501, "only deployments on tfserving can"),
        (
            "POST",
            "m:regress",
            {"examples": [{}]},
            400,
            "Expected regression signature method_name to be tensorflow/serv",
        ),
        ("POST", "m:classify", {"signature_name": "nix", "examples": [{}]}, 400, "nix"),
        ("POST", "m:regress", {"signature_name": "regress_x_to_y", "examples": [{}]}, 400, "Feature: x"),
        ("POST", "add:predict", {"instances": [[1, 2, 3]]}, 400, "input 'x': expected shape [-1, 2], got [1, 3]"),
        ("POST", "add:explain", {}, 400, "Malformed request: POST /v1/models/add:explain"),
        ("GET", "n", None, 404, "Could not find any versions of model n"),
        ("GET", "n/metadata", None, 404, "Servable not found for request: Latest(n)"),
        ("GET", "", None, 400, "Malformed request: GET /v1/models/"),
        ("GET", "a%2Fb", None, 400, "expected no slash"),
        ("GET", "..%2f..%2fetc%2fpasswd", None, 400, "expected no slash"),
        ("GET", "%252e%252e%252f", None, 400, "expected a name"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_reason(
    gateway: RunningGateway, method: str, path: str, body: Any, status: int, says: str
) -> None:
    response = gateway.client.request(method, f"{gateway.url}/v1/models/{path}", json=body)
    assert (response.status_code, list(response.json())) == (status, ["error"])
    assert says in response.json()["error"]


def test_no_name_is_said_to_be_missing(gateway: RunningGateway) -> None:
    response = gateway.get("/v1/models")
    assert (response.status_code, response.json()) == (400, {"error": "Missing model name in request."})


def test_states_are_told_with_what_failed(gateway: RunningGateway) -> None:
    ok = {"error_code": "OK", "error_message": ""}
    assert gateway.get("/v1/models/add").json()["model_version_status"] == [
        {"version": "2", "state": "AVAILABLE", "status": ok},
        {"version": "1", "state": "AVAILABLE", "status": ok},
    ]
    assert gateway.get("/v1/models/add/labels/canary").json()["model_version_status"][0]["version"] == "1"
    (broken,) = gateway.get("/v1/models/broken").json()["model_version_status"]
    assert (broken["state"], broken["status"]["error_code"]) == ("END", "UNKNOWN")
    assert broken["status"]["error_message"]


def test_the_routes_are_in_the_documentation(gateway: RunningGateway) -> None:
    paths = gateway.get("/openapi.json").json()["paths"]
    assert {"/v1/models/{model}:predict", "/v1/models/{model}/labels/{label}/metadata"} <= paths.keys()


def test_a_path_that_is_encoded_without_need_reaches_no_route(gateway: RunningGateway) -> None:
    good = {"instances": [[1, 1]]}
    for method, path, body in (
        ("POST", "/%761/models/add:predict", good),
        ("GET", "/%761/models/add", None),
        ("POST", "/%761/models/add:regress", {"examples": [{}]}),
    ):
        response = gateway.client.request(method, gateway.url + path, json=body)
        assert 400 <= response.status_code < 500, response.text
