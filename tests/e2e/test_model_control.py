"""Load and unload by name on the control port, as Triton's clients ask for it; uploads where they are allowed."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish

X = np.array([[1, 2]], np.float32)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two versions of a model that adds its version."""
    folder = tmp_path / "repository"
    for number in (1, 2):
        publish(folder, "add", number, {"model.onnx": add_model(number)})
    return folder


def call(gateway: RunningGateway, path: str, body: Any = None) -> httpx.Response:
    content = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
    return gateway.client.post(f"{gateway.control}/v2/repository/{path}", **content)


def load(gateway: RunningGateway, model: str, **parameters: Any) -> httpx.Response:
    return call(gateway, f"models/{model}/load", {"parameters": parameters})


def index(gateway: RunningGateway, body: Any = None) -> dict[str, tuple[str, str]]:
    entries = call(gateway, "index", body).json()
    return {f"{each['name']}/{each.get('version')}": (each["state"], each["reason"]) for each in entries}


def answer(gateway: RunningGateway, model: str = "add") -> float | int:
    response = gateway.infer(model, x=X)
    return response.json()["outputs"][0]["data"][0] - 1 if response.status_code == 200 else response.status_code


def weights(constant: float) -> str:
    return base64.b64encode(add_model(constant)).decode()


def test_a_model_is_unloaded_stays_so_and_is_loaded(serve: Callable[..., RunningGateway], repository: Path) -> None:
    gateway = serve(repository)
    assert index(gateway) == {"add/1": ("READY", ""), "add/2": ("READY", "")}
    unloaded = call(gateway, "models/add/unload", {"parameters": {"unload_dependents": True}})
    assert (unloaded.status_code, unloaded.content) == (200, b"")
    assert [answer(gateway, f"add{path}") for path in ("", "/versions/1", "/versions/2")] == [503, 503, 503]
    publish(repository, "add", 3, {"model.onnx": add_model(3)})
    gateway.until(lambda: index(gateway) == {f"add/{number}": ("UNAVAILABLE", "unloaded") for number in (1, 2, 3)})
    gateway.until(lambda: not gateway.children())
    assert index(gateway, {"ready": True}) == {}
    assert call(gateway, "models/add/load").status_code == 200
    assert [answer(gateway, f"add{path}") for path in ("", "/versions/1", "/versions/2")] == [3, 1, 2]
    assert set(index(gateway, {"ready": True})) == {"add/1", "add/2", "add/3"}
    call(gateway, "models/add/unload")
    gateway.stop()
    assert answer(serve(repository)) == 3, "a restart forgets what was asked by name"


def test_what_cannot_be_loaded_is_told_with_its_reason(serve: Callable[..., RunningGateway], repository: Path) -> None:
    gateway = serve(repository, MAX_BODY_BYTES="1000")
    publish(repository, "bad", 1, {"model.onnx": b"no model"})
    failed = call(gateway, "models/bad/load")
    assert (failed.status_code, failed.json()["error"].partition(": ")[0]) == (503, "bad/1@onnxruntime")
    for status, response in [
        (404, call(gateway, "models/nothing/load")),
        (404, call(gateway, "models/nothing/unload")),
        (404, call(gateway, "models/../load")),
        (404, call(gateway, "models/%2e%2e/load")),
        (404, call(gateway, "nothing")),
        (405, gateway.client.get(f"{gateway.control}/v2/repository/index")),
        (400, call(gateway, "index", b"{")),
        (400, call(gateway, "index", [])),
        (400, call(gateway, "index", {"ready": 1})),
        (400, call(gateway, "models/add/load", b"[1]")),
        (400, call(gateway, "models/add/load", {"parameters": []})),
        (400, call(gateway, "models/add/unload", b"\xff")),
        (413, call(gateway, "models/add/load", b" " * 1001)),
        (413, call(gateway, "index", b" " * 1001)),
        (403, load(gateway, "add", **{"file:1/model.onnx": "AAAA"})),
        (403, load(gateway, "add", config="{}")),
    ]:
        assert (response.status_code, list(response.json())) == (status, ["error"]), response.text
    assert "model_upload = true" in load(gateway, "add", config="{}").json()["error"]
    assert answer(gateway) == 2


def test_an_upload_is_served_until_the_next_word(serve: Callable[..., RunningGateway], repository: Path) -> None:
    gateway = serve(repository, MODEL_UPLOAD="true")
    before = gateway.deployments()["add/2@onnxruntime"]["pid"]
    response = load(gateway, "add", config='{"max_batch_size": 4}', **{"file:2/model.onnx": weights(20)})
    assert (response.status_code, response.text) == (200, "")
    assert answer(gateway) == 20
    deployment = gateway.deployments()["add/2@onnxruntime"]
    assert (deployment["max_rows"], deployment["pid"] != before) == (4, True)
    gateway.until(lambda: index(gateway) == {"add/2": ("READY", "")})
    assert load(gateway, "new", **{"file:1/model.onnx": weights(5)}).status_code == 200
    assert (answer(gateway, "new"), index(gateway)["new/1"]) == (5, ("READY", ""))
    assert call(gateway, "models/add/load").status_code == 200
    assert [answer(gateway, f"add{path}") for path in ("", "/versions/1")] == [2, 1]
    assert call(gateway, "models/new/unload").status_code == 200
    gateway.until(lambda: answer(gateway, "new") == 404)
    assert sorted(each.name for each in repository.iterdir()) == ["add"], "nothing is written there"


def test_a_bad_upload_changes_nothing(serve: Callable[..., RunningGateway], repository: Path) -> None:
    gateway = serve(repository, MODEL_UPLOAD="true", MAX_BODY_BYTES="20000")
    good, stop = [answer(gateway)], threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=60) as client:
            body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
            while not stop.is_set():
                got = client.post(f"{gateway.url}/v2/models/add/infer", json=body)
                good.append(got.json()["outputs"][0]["data"][0] - 1 if got.status_code == 200 else got.status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    outside = repository.parent / "evil"
    try:
        for status, parameters in [
            (400, {f"file:1/../../../../../../../..{outside}": weights(9)}),
            (400, {f"file:{outside}": weights(9)}),
            (400, {"file:1/.hidden": weights(9)}),
            (400, {"file:../add/3/model.onnx": weights(9)}),
            (400, {"file:1/a\0": weights(9)}),
            (400, {"file:2/model.onnx": "no base64!"}),
            (400, {"file:2/model.onnx": weights(9) + "\n"}),
            (400, {"file:2/model.onnx": 7}),
            (400, {"file:2/model.onnx": weights(9), "config": "{"}),
            (400, {"file:2/model.onnx": weights(9), "config": '{"name": "other"}'}),
            (400, {"config": '{"max_batch_size": "many"}'}),
            (413, {"file:2/model.onnx": "A" * 20000}),
            (503, {"file:2/model.onnx": base64.b64encode(b"no model").decode()}),
            (503, {"file:7/model.onnx": base64.b64encode(b"no model").decode()}),
            (503, {"file:7/model.mar": base64.b64encode(b"no archive").decode()}),
        ]:
            response = load(gateway, "add", **parameters)
            assert (response.status_code, list(response.json())) == (status, ["error"]), response.text
        assert "allow_code" in response.json()["error"], "an upload opens no way around that setting"
        assert load(gateway, "..%2fadd", **{"file:1/model.onnx": weights(9)}).status_code in (400, 404)
    finally:
        stop.set()
        asking.join()
    assert set(good) == {2}, "no request noticed"
    gateway.until(lambda: index(gateway) == {"add/1": ("READY", ""), "add/2": ("READY", "")})
    assert not outside.exists()
    assert sorted(each.name for each in repository.iterdir()) == ["add"]
