"""Golden data over the control API."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from gateway.control import golden
from gateway.control.errors import add_errors
from gateway.control.golden import add_golden
from tests.gateway.plane import Plane

PATH = "/v1/models/m/versions/1/golden"


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    plane = Plane(tmp_path)
    plane.publish("m/1", "one")
    async with plane.running():
        await plane.reaches(v1="READY")
        yield plane


@pytest.fixture
async def client(plane: Plane) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    add_golden(app, plane.control)
    add_errors(app)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8002") as client:
        yield client


async def test_the_file_comes_as_it_lies_in_the_versions_folder(plane: Plane, client: httpx.AsyncClient) -> None:
    (plane.root / "m/1/golden.npz").write_bytes(b"rows and answers")
    answer = await client.get(PATH)
    assert answer.status_code == 200
    assert answer.content == b"rows and answers"
    assert answer.headers["content-disposition"].startswith("attachment")


async def test_where_there_is_none_it_is_said_what_to_put_there(client: httpx.AsyncClient) -> None:
    answer = await client.get(PATH)
    assert answer.status_code == 404
    assert "inputs/<tensor>" in answer.json()["error"]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
async def test_what_is_no_plain_file_is_none(plane: Plane, client: httpx.AsyncClient, kind: str) -> None:
    file = plane.root / "m/1/golden.npz"
    if kind == "link":
        (plane.root.parent / "secret").write_text("secret")
        file.symlink_to(plane.root.parent / "secret")
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.mkdir()
    assert (await client.get(PATH)).status_code == 404


async def test_one_that_is_too_large_is_refused(
    plane: Plane, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "MOST_BYTES", 10)
    (plane.root / "m/1/golden.npz").write_bytes(b"x" * 10)
    assert (await client.get(PATH)).status_code == 200
    (plane.root / "m/1/golden.npz").write_bytes(b"x" * 11)
    answer = await client.get(PATH)
    assert answer.status_code == 413
    assert "keep fewer rows" in answer.json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/nope/versions/1/golden",
        "/v1/models/m/versions/7/golden",
        "/v1/models/m/versions/99999999999999999999999/golden",
        "/v1/models/%2e%2e/versions/1/golden",
        "/v1/models/..%2f..%2fm/versions/1/golden",
    ],
)
async def test_nothing_of_the_request_becomes_a_path(plane: Plane, client: httpx.AsyncClient, path: str) -> None:
    (plane.root / "golden.npz").write_bytes(b"secret")
    answer = await client.get(path)
    assert answer.status_code == 404
    assert "secret" not in answer.text


async def test_a_version_that_is_no_number_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/models/m/versions/one/golden")).status_code == 400
