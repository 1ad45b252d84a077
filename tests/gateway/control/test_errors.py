"""What the control API answers when something goes wrong."""

from __future__ import annotations

import logging

import httpx
import pytest
from fastapi import FastAPI

from adapters.errors import LoadFailed
from gateway.control.errors import add_errors
from gateway.errors import NotAllowed, VersionNotReady


async def answer(error: Exception, path: str = "/v1/x") -> httpx.Response:
    app = FastAPI()
    add_errors(app)

    @app.get(path)
    async def fail() -> None:
        raise error

    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path)


@pytest.mark.parametrize(
    ("error", "path", "status"),
    [
        (NotAllowed("no"), "/v1/x", 403),
        (LoadFailed("no"), "/v2/x", 503),
        (VersionNotReady("no"), "/v2/x", 503),
        (VersionNotReady("no"), "/v1/x", 409),
    ],
)
async def test_every_error_has_its_status_and_text(error: Exception, path: str, status: int) -> None:
    response = await answer(error, path)
    assert (response.status_code, response.json()) == (status, {"error": "no"})


async def test_an_error_that_nobody_foresaw_is_told_to_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        response = await answer(ZeroDivisionError("a secret of the code"))
    assert response.status_code == 500
    text = response.json()["error"]
    assert "secret" not in text
    assert f"request {text.rpartition(' ')[2]} failed" in caplog.text
    assert "a secret of the code" in caplog.text


async def test_an_unknown_path_says_where_the_routes_are() -> None:
    app = FastAPI()
    add_errors(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        response = await client.get("/nothing")
    assert response.status_code == 404
    assert response.json() == {"error": "GET /nothing: Not Found; /docs lists the routes"}
