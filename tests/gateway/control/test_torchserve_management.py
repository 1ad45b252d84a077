"""TorchServe's management routes over a control plane without processes: register, scale, describe, unregister."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from adapters.base import Endpoint, Scalable
from adapters.errors import BackendUnavailable, LoadFailed
from gateway import controlplane
from gateway.control import torchserve_management
from gateway.control.torchserve_management import TorchServeManagement
from gateway.control.torchserve_models import TorchServeModels
from gateway.control.torchserve_routes import add_torchserve_management
from gateway.front import LocalFront
from gateway.repository import Snapshot
from tests.gateway.fakes import FakeAdapter
from tests.gateway.plane import Plane
from tests.waiting import until


class ScalingAdapter(FakeAdapter):
    """A FakeAdapter whose endpoints have as many workers as was asked for; new ones are LOADING while `slow`."""

    def __init__(self) -> None:
        super().__init__("torchserve")
        self.asked: list[tuple[str, int, int]] = []
        self.count = 1
        self.slow = False
        self.gone = False

    async def scale(self, endpoint: Endpoint, minimum: int, maximum: int) -> None:
        self.asked.append((endpoint.address.partition("#")[0], minimum, maximum))
        self.count = min(max(self.count, minimum), maximum)

    async def workers(self, endpoint: Endpoint) -> Mapping[str, Any]:
        if self.gone:
            raise BackendUnavailable("TorchServe is gone")
        states = ["READY", *["LOADING" if self.slow else "READY"] * (self.count - 1)]
        return {"modelName": endpoint.address, "workers": [{"status": state} for state in states]}


class Manager:
    """A client of the routes, over a plane with ONNX Runtime and TorchServe."""

    def __init__(self, plane: Plane, torchserve: ScalingAdapter) -> None:
        self.plane = plane
        self.torchserve = torchserve
        app = FastAPI()
        front = LocalFront(plane.registry)
        management = TorchServeManagement(plane.control, front, plane.by_name, plane.labels)
        add_torchserve_management(app, TorchServeModels(plane.control, front), management)
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://control")

    async def ask(self, method: str, path: str, **query: Any) -> tuple[int, Any]:
        answer = await self._client.request(method, path, params=query or None)
        return answer.status_code, answer.json()

    async def ready(self, *deployments: str) -> None:
        await until(lambda: all(self.plane.state(each) == "READY" for each in deployments))


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    plane = Plane(tmp_path, "onnxruntime", "torchserve")
    torchserve = plane.adapters["torchserve"] = ScalingAdapter()
    async with plane.running():
        plane.publish("own/1", "own one", "model.pt")
        plane.publish("both/1", "both", "model.onnx")
        plane.publish("both/1", "both too", "model.pt")
        manager = Manager(plane, torchserve)
        await manager.ready("own/1@torchserve", "both/1@onnxruntime", "both/1@torchserve")
        yield manager


def test_the_fake_scales_as_the_real_one_does() -> None:
    assert isinstance(ScalingAdapter(), Scalable)
    assert not isinstance(FakeAdapter(), Scalable)


async def test_torchserves_deployments_are_scaled_by_torchserve(manager: Manager) -> None:
    scaled = {"status": "Workers scaled to 3 for model: own"}
    assert await manager.ask("PUT", "/models/own", min_worker=3, synchronous="true") == (200, scaled)
    assert await manager.ask("PUT", "/models/own/1", min_worker=1, max_worker=2, synchronous="true") == (
        200,
        {"status": "Workers scaled to 1 for model: own, version: 1"},
    )
    assert (await manager.ask("PUT", "/models/both@torchserve", max_worker=4))[0] == 202
    assert manager.torchserve.asked == [
        ("own/1@torchserve", 3, 3),
        ("own/1@torchserve", 1, 2),
        ("both/1@torchserve", 1, 4),
    ]


async def test_only_who_asks_for_it_waits_for_the_workers(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    manager.torchserve.slow = True
    assert (await manager.ask("PUT", "/models/own", min_worker=2))[0] == 202
    waiting = asyncio.create_task(manager.ask("PUT", "/models/own", min_worker=2, synchronous="true"))
    await until(lambda: len(manager.torchserve.asked) == 2)
    assert not waiting.done()
    manager.torchserve.slow = False
    assert (await waiting)[0] == 200
    monkeypatch.setattr(torchserve_management, "_START_S", 0.01)
    manager.torchserve.slow = True
    status, body = await manager.ask("PUT", "/models/own", min_worker=2, synchronous="true")
    assert (status, body["type"]) == (500, "InternalServerException")
    assert body["message"].startswith("Failed to start workers for model own version: 1: ")


async def test_a_model_is_registered_with_as_many_workers_as_torchserve_can_give_it(manager: Manager) -> None:
    await manager.ask("DELETE", "/models/own")
    assert (await manager.ask("GET", "/models/own"))[0] == 404
    assert await manager.ask("POST", "/models", url="own", initial_workers=2) == (
        200,
        {"status": 'Model "own" Version: 1 registered with 2 initial workers'},
    )
    assert manager.torchserve.asked == [("own/1@torchserve", 2, 2)]
    await manager.ask("DELETE", "/models/both")
    status, body = await manager.ask("POST", "/models", url="both", initial_workers=2)
    assert (status, "both@torchserve" in body["message"]) == (400, True)


async def test_a_registration_in_the_background_is_waited_for_by_the_scaling_that_follows(manager: Manager) -> None:
    hold = manager.torchserve.hold = asyncio.Event()
    manager.plane.publish("late/1", "late", "model.pt")
    await until(lambda: manager.plane.state("late/1@torchserve") == "LOADING")
    assert (await manager.ask("POST", "/models", url="late", synchronous="false"))[0] == 202
    assert (await manager.ask("PUT", "/models/late", min_worker=1))[0] == 202
    scaling = asyncio.create_task(manager.ask("PUT", "/models/late", min_worker=1, synchronous="true"))
    await asyncio.sleep(0)
    assert not scaling.done()
    hold.set()
    assert (await scaling)[0] == 200


async def test_what_comes_into_the_folder_is_registered_before_the_next_look(tmp_path: Path) -> None:
    plane = Plane(tmp_path, "onnxruntime", "torchserve", poll_s=3600)
    manager = Manager(plane, ScalingAdapter())
    async with plane.running():
        await until(plane.control.scanned.is_set)
        plane.publish("new/1", "new")
        assert (await manager.ask("POST", "/models", url="new.mar"))[0] == 200
        assert (await manager.ask("GET", "/models/new"))[1][0]["modelUrl"] == "new/1/model.onnx"


async def test_what_the_registration_itself_had_loaded_at_once_was_not_registered_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = Plane(tmp_path, "onnxruntime", "torchserve", poll_s=3600)
    manager = Manager(plane, ScalingAdapter())
    look = controlplane.scan

    def slow(root: Path) -> Snapshot:
        give_up_s = time.monotonic() + 10
        while "new" in plane.control.repository.models and plane.state("new/1@onnxruntime") != "READY":
            assert time.monotonic() < give_up_s
            time.sleep(0.001)
        return look(root)

    monkeypatch.setattr(controlplane, "scan", slow)
    async with plane.running():
        await until(plane.control.scanned.is_set)
        plane.publish("new/1", "new")
        assert (await manager.ask("POST", "/models", url="new"))[0] == 200
        assert (await manager.ask("POST", "/models", url="new"))[0] == 409


async def test_a_failure_is_told_to_who_waits_and_to_who_scales(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    manager.torchserve.failures["bad"] = LoadFailed("no model")
    manager.plane.publish("bad/1", "bad", "model.pt")
    await until(lambda: manager.plane.state("bad/1@torchserve") == "FAILED")
    status, body = await manager.ask("POST", "/models", url="bad/1")
    assert (status, "no model" in body["message"]) == (500, True)
    assert (await manager.ask("POST", "/models", url="bad/1", synchronous="false"))[0] == 202
    await until(lambda: "registration of bad" in caplog.text)
    status, body = await manager.ask("PUT", "/models/bad", synchronous="true")
    assert (status, body["message"].startswith("Failed to start workers for model bad version: 1")) == (500, True)


async def test_the_default_version_moves_only_to_one_that_is_there(manager: Manager) -> None:
    manager.plane.publish("own/2", "own two", "model.pt")
    await manager.ready("own/2@torchserve")
    moved = {"status": 'Default version successfully updated for model "own" to "1"'}
    assert await manager.ask("PUT", "/models/own/1.0/set-default") == (200, moved)
    assert (await manager.ask("GET", "/models/own"))[1][0]["modelVersion"] == "1"
    for version in ("9", "0", "x", "-1"):
        status, body = await manager.ask("PUT", f"/models/own/{version}/set-default")
        assert (status, body["message"]) == (404, f"Model version {version} does not exist for model own")
    assert (await manager.ask("PUT", "/models/own@torchserve/1/set-default"))[0] == 400
    manager.plane.write("own/labels.toml", "stable = 7")
    await until(lambda: manager.plane.registry.tables["own"].labels == {"stable": 7})
    assert (await manager.ask("GET", "/models/own"))[0] == 404
    assert len((await manager.ask("GET", "/models/own/all"))[1]) == 2
    assert (await manager.ask("PUT", "/models/own/2/set-default"))[0] == 200


async def test_the_default_version_goes_last(manager: Manager) -> None:
    manager.plane.publish("own/2", "own two", "model.pt")
    await manager.ready("own/2@torchserve")
    for path in ("/models/own", "/models/own/2"):
        status, body = await manager.ask("DELETE", path)
        assert (status, body["type"]) == (403, "InvalidModelVersionException")
    gone = {"status": 'Model "own" unregistered'}
    assert await manager.ask("DELETE", "/models/own/1") == (200, gone)
    assert (await manager.ask("DELETE", "/models/own/1"))[0] == 404
    assert await manager.ask("DELETE", "/models/own/2") == (200, gone)
    assert (await manager.ask("DELETE", "/models/own"))[0] == 404
    names = [each["modelName"] for each in (await manager.ask("GET", "/models"))[1]["models"]]
    assert names == ["both"]


async def test_a_description_has_the_callers_names_and_the_backends_facts(manager: Manager) -> None:
    status, (described,) = await manager.ask("GET", "/models/both@torchserve")
    assert status == 200
    assert described == {
        "modelName": "both@torchserve", "modelVersion": "1", "modelUrl": "both/1/model.pt",
        "workers": [{"status": "READY"}], "loadedAtStartup": described["loadedAtStartup"],
    }  # fmt: skip
    manager.plane.publish("both/2", "newer", "model.onnx")
    await manager.ready("both/2@onnxruntime")
    assert [each["modelVersion"] for each in (await manager.ask("GET", "/models/both/all"))[1]] == ["1", "2"]
    for path in ("/models/both@torchserve/all", "/models/both@torchserve"):
        assert [each["modelVersion"] for each in (await manager.ask("GET", path))[1]] == ["1"]
    assert (await manager.ask("GET", "/models/both@torchserve/2"))[0] == 404
    manager.torchserve.gone = True
    status, body = await manager.ask("GET", "/models/both@torchserve")
    assert (status, body["type"]) == (503, "ServiceUnavailableException")


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("PATCH", "/models/own", 405, "MethodNotAllowedException"),
        ("POST", "/models/own/1", 405, "MethodNotAllowedException"),
        ("GET", "/models/own/1/set-default", 405, "MethodNotAllowedException"),
        ("GET", "/models/own/1/more", 404, "ResourceNotFoundException"),
        ("GET", "/models/a%2Fb", 404, "ModelNotFoundException"),
        ("GET", "/models/%252e%252e", 404, "ModelNotFoundException"),
        ("GET", "/models/own%00", 404, "ModelNotFoundException"),
        ("GET", "/models/own/latest", 404, "ModelVersionNotFoundException"),
        ("GET", "/models/own@nope", 404, "ModelNotFoundException"),
        ("DELETE", "/models/Own", 404, "ModelNotFoundException"),
        ("GET", "/models?limit=0", 400, "BadRequestException"),
        ("GET", "/models?limit=1001", 400, "BadRequestException"),
        ("GET", "/models?next_page_token=-1", 400, "BadRequestException"),
        ("POST", "/models?url=own&initial_workers=-1", 400, "BadRequestException"),
        ("POST", "/models?url=own&initial_workers=99999999999999", 400, "BadRequestException"),
        ("POST", "/models?url=", 404, "ModelNotFoundException"),
    ],
)
async def test_what_is_wrong_is_told_in_torchserves_form(
    manager: Manager, method: str, path: str, status: int, kind: str
) -> None:
    code, body = await manager.ask(method, path)
    assert (code, body["code"], body["type"]) == (status, status, kind)
