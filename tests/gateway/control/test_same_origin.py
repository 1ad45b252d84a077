"""Web pages of elsewhere cannot use a browser on this machine to reach the control port."""

from __future__ import annotations

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.control.same_origin import SameOrigin, is_loopback


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(Request(scope).method)(scope, receive, send)


async def ask(loopback: bool = True, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(SameOrigin(app, loopback))) as client:
        answer = await client.post("http://127.0.0.1:8002/v1/x", headers={"host": "127.0.0.1:8002", **named})
    return answer.status_code


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8002", "localhost:8002", "[::1]:8002", "127.1.2.3"])
async def test_programs_and_own_pages_are_let_in(host: str) -> None:
    assert await ask(host=host) == 200
    assert await ask(host=host, origin=f"http://{host}", sec_fetch_site="same-origin") == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "file://"])
async def test_pages_of_elsewhere_are_kept_out(origin: str) -> None:
    assert await ask(origin=origin) == 403
    assert await ask(loopback=False, origin=origin) == 403


async def test_a_request_that_a_browser_marks_as_another_site_s_is_kept_out() -> None:
    assert await ask(sec_fetch_site="cross-site") == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8002", "127.0.0.1.evil.example", "[", "10.0.0.1"])
async def test_a_foreign_name_for_loopback_is_refused_with_its_own_origin_too(host: str) -> None:
    assert await ask(host=host, origin=f"http://{host}") == 403
    assert not is_loopback(host)


async def test_a_port_that_is_open_to_others_goes_by_any_name() -> None:
    assert await ask(loopback=False, host="torii.example:8002") == 200
