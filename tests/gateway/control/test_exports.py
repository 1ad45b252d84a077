"""The control API's routes for exports."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gateway.control.errors import add_errors
from gateway.control.exports import add_exports
from gateway.exports.jobs import Exports
from gateway.exports.origin import Origin
from tests.gateway.exports.engine import FakeEngine
from tests.waiting import until

ORDER = {"model": "m", "version": 1, "to": "tflite", "quantize": "int8"}


class Caller:
    """A client of the routes, and what is behind them."""

    def __init__(self, root: Path) -> None:
        (root / "1").mkdir()
        (root / "1" / "model.onnx").write_bytes(b"weights")
        self.engine = FakeEngine()
        self.exports = Exports(lambda model, version: Origin(root / str(version)), lambda: None, self.engine)
        app = FastAPI()
        add_exports(app, self.exports, max_body_bytes=1000)
        add_errors(app)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://control")

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        answer = await self.client.request(method, path, json=body)
        return answer.status_code, answer.json()


@pytest.fixture
async def caller(tmp_path: Path) -> AsyncIterator[Caller]:
    caller = Caller(tmp_path)
    async with caller.client:
        yield caller
    await caller.exports.close()


async def test_an_export_is_asked_for_watched_and_done(caller: Caller) -> None:
    caller.engine.hold = asyncio.Event()
    answer = await caller.client.post("/v1/exports", json=ORDER)
    job = answer.json()
    assert (answer.status_code, job["state"], answer.headers["location"]) == (202, "queued", f"/v1/exports/{job['id']}")
    await until(lambda: caller.engine.running)
    _, job = await caller.ask("GET", f"/v1/exports/{job['id']}")
    assert (job["state"], job["step"], job["fraction"]) == ("running", "onnx → saved_model", 0.1)
    assert (job["certificate"], job["deployment"], job["error"]) == (None, None, None)
    caller.engine.hold.set()
    await until(lambda: caller.exports.get(job["id"]).ended)
    status, job = await caller.ask("GET", f"/v1/exports/{job['id']}")
    assert (status, job["state"], job["fraction"]) == (200, "done", 1.0)
    assert (job["file"], job["deployment"]) == ("model.int8.tflite", "m/1@tflite-int8")
    assert job["route"] == ["onnx → saved_model", "saved_model → x"]
    assert (job["certificate"]["schema"], job["certificate"]["passed"]) == (1, True)
    assert await caller.ask("GET", "/v1/exports") == (200, {"exports": [job]})


async def test_calibration_comes_as_bytes_up_to_the_limit_of_a_body(caller: Caller) -> None:
    status, job = await caller.ask("POST", "/v1/exports", {**ORDER, "calibration": base64.b64encode(b"npz").decode()})
    assert status == 202
    await until(lambda: caller.exports.get(job["id"]).ended)
    assert caller.engine.calibrations == [b"npz"]
    status, answer = await caller.ask("POST", "/v1/exports", {**ORDER, "calibration": "AAAA" * 300})
    assert (status, answer["error"].startswith("body: expected at most 1000 bytes")) == (413, True)


async def test_an_export_is_ended_by_delete(caller: Caller) -> None:
    caller.engine.hold = asyncio.Event()
    _, job = await caller.ask("POST", "/v1/exports", ORDER)
    await until(lambda: caller.engine.running)
    status, job = await caller.ask("DELETE", f"/v1/exports/{job['id']}")
    assert (status, job["state"], job["error"]) == (200, "cancelled", "cancelled; nothing was published")
    assert caller.engine.running == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/v1/exports", {**ORDER, "to": "/etc/passwd"}, 400, "to: expected one of"),
        ("POST", "/v1/exports", {**ORDER, "path": "x"}, 400, "unknown field `path`"),
        ("POST", "/v1/exports", None, 400, "body: "),
        ("GET", "/v1/exports/nothing", None, 404, "export 'nothing' is not known"),
        ("DELETE", "/v1/exports/nothing", None, 404, "export 'nothing' is not known"),
    ],
)
async def test_what_is_wrong_is_said(
    caller: Caller, method: str, path: str, body: object, status: int, says: str
) -> None:
    answered, answer = await caller.ask(method, path, body)
    assert answered == status
    assert says in answer["error"]


async def test_the_same_export_twice_at_once_is_a_conflict(caller: Caller) -> None:
    caller.engine.hold = asyncio.Event()
    assert (await caller.ask("POST", "/v1/exports", ORDER))[0] == 202
    assert (await caller.ask("POST", "/v1/exports", ORDER))[0] == 409
