"""Load and unload on the inference ports: refused, unless the server's settings allow them there."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from gateway.protocols.protos import message
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish

Serve = Callable[..., RunningGateway]


def call(gateway: RunningGateway, method: str, **fields: Any) -> Any:
    with grpc.insecure_channel(gateway.grpc) as channel:
        send = channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=message(f"inference.{method}Response").FromString,
        )
        return send(message(f"inference.{method}Request")(**fields), timeout=30)


def answers(gateway: RunningGateway) -> bool:
    return gateway.infer("add", x=np.ones((1, 2), np.float32)).status_code == 200


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    publish(folder, "add", 1, {"model.onnx": add_model(1)})
    return folder


@pytest.fixture(scope="module")
def taking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that takes them there, but no files; each test leaves its model loaded."""
    folder = tmp_path_factory.mktemp("taking") / "repository"
    publish(folder, "add", 1, {"model.onnx": add_model(1)})
    with RunningGateway.running(folder, POLL_S="0.1", SETTLE_S="0.2", MODEL_CONTROL="true") as gateway:
        gateway.wait_ready(within_s=60)
        yield gateway


def test_they_are_refused_by_default_and_say_where_they_are_taken(serve: Serve, repository: Path) -> None:
    gateway = serve(repository)
    for act in ("load", "unload"):
        refused = gateway.post(f"/v2/repository/models/add/{act}")
        assert (refused.status_code, "model_control = true" in refused.json()["error"]) == (403, True)
        with pytest.raises(grpc.RpcError) as caught:
            call(gateway, f"RepositoryModel{act.capitalize()}", model_name="add")
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert answers(gateway)
    listed = {"name": "add", "version": "1", "state": "READY", "reason": ""}
    assert gateway.post("/v2/repository/index").json() == [listed]
    (model,) = call(gateway, "RepositoryIndex").models
    assert (model.name, model.version, model.state) == ("add", "1", "READY")


def test_they_are_taken_where_the_settings_say_so(taking: RunningGateway) -> None:
    assert taking.post("/v2/repository/models/add/unload").status_code == 200
    assert not answers(taking)
    assert taking.post("/v2/repository/index", json={"ready": True}).json() == []
    assert taking.post("/v2/repository/models/add/load", json={"parameters": {}}).status_code == 200
    assert answers(taking)
    call(taking, "RepositoryModelUnload", model_name="add")
    assert not answers(taking)
    call(taking, "RepositoryModelLoad", model_name="add")
    assert answers(taking)


def test_files_are_taken_only_where_the_settings_say_that_too(taking: RunningGateway) -> None:
    model = base64.b64encode(add_model(10)).decode()
    body = {"parameters": {"file:1/model.onnx": model}}
    refused = taking.post("/v2/repository/models/add/load", json=body)
    assert (refused.status_code, "model_upload" in refused.json()["error"]) == (403, True)


def test_files_come_as_base64_over_http_and_as_bytes_over_grpc(serve: Serve, repository: Path) -> None:
    gateway = serve(repository, MODEL_CONTROL="true", MODEL_UPLOAD="true")
    x = np.ones((1, 2), np.float32)
    body = {"parameters": {"file:1/model.onnx": base64.b64encode(add_model(10)).decode()}}
    assert gateway.post("/v2/repository/models/add/load", json=body).status_code == 200
    assert gateway.outputs("add", x=x)["y"].tolist() == [[11, 11]]
    parameters = {"file:1/model.onnx": message("inference.ModelRepositoryParameter")(bytes_param=add_model(20))}
    call(gateway, "RepositoryModelLoad", model_name="add", parameters=parameters)
    assert gateway.outputs("add", x=x)["y"].tolist() == [[21, 21]]
    assert gateway.post("/v2/repository/models/add/load").status_code == 200
    assert gateway.outputs("add", x=x)["y"].tolist() == [[2, 2]]


@pytest.mark.parametrize("path", ["/v2/repository/models/nothing/load", "/v2/repository/models/nothing/unload"])
def test_what_is_not_there_is_not_found(taking: RunningGateway, path: str) -> None:
    assert taking.post(path).status_code == 404
    assert taking.post("/v2/repository/nothing").status_code == 404
    assert taking.post("/v2/repository/index", content=b"[").status_code == 400
    assert taking.post("/v2/repository/models/..%2F..%2Fx/load").status_code == 400
