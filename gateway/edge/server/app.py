"""The routes together, and what leaves when something goes wrong."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from aiohttp import hdrs, web

from adapters.errors import InvalidInput, ServingError
from gateway.edge.server.checking import check
from gateway.edge.server.delivery import metadata, target
from gateway.edge.server.demo import Demo, newest_root
from gateway.edge.server.reporting import report
from gateway.edge.server.reports import MOST_BYTES
from gateway.edge.server.standing import status
from gateway.edge.server.state import STATE, State
from gateway.errors import Conflict, ModelNotFound, NotAllowed, Overloaded

_log = logging.getLogger(__name__)

_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_STATUS: Final[dict[type[ServingError], int]] = {
    InvalidInput: 400,
    NotAllowed: 403,
    ModelNotFound: 404,
    Conflict: 409,
    Overloaded: 503,
}

_EXPOSED: Final = "ETag, Content-Range, Accept-Ranges, Content-Length, Retry-After"


def build(state: State) -> web.Application:
    """The application; what it needs to be kept going is not begun here."""
    app = web.Application(middlewares=[_errors], client_max_size=MOST_BYTES)
    app[STATE] = state
    app.router.add_get("/edge/v1/metadata/{file}", metadata)
    app.router.add_get("/edge/v1/targets/{path:.+}", target)
    app.router.add_get("/edge/v1/models/{model}/check", check)
    app.router.add_get("/edge/v1/status", status)
    app.router.add_post("/edge/v1/reports", report)
    if state.charge.demo:
        Demo(Path(state.charge.demo), lambda: newest_root(state.watch.catalog.metadata)).add_to(app)
    if state.charge.allow_origin:
        app.router.add_route(hdrs.METH_OPTIONS, "/edge/v1/{path:.+}", _preflight)
    app.on_response_prepare.append(_sign)
    return app


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers[hdrs.SERVER] = "torii"
    response.headers["X-Content-Type-Options"] = "nosniff"
    origin = request.app[STATE].charge.allow_origin
    if origin and request.path != "/edge/v1/status":
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED


async def _preflight(request: web.Request) -> web.Response:
    headers = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, HEAD, POST",
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Content-Type, Range, If-Range, If-None-Match",
        hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
    }
    return web.Response(status=204, headers=headers)


@web.middleware
async def _errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Have every error leave as {"error": text}."""
    try:
        return await handler(request)
    except ServingError as error:
        answer = _error(_STATUS.get(type(error), 400), str(error))
        if isinstance(error, Overloaded):
            answer.headers[hdrs.RETRY_AFTER] = str(error.retry_after)
        return answer
    except web.HTTPRequestEntityTooLarge:
        return _error(413, f"body: expected at most {MOST_BYTES} bytes, got more", over=True)
    except web.HTTPRequestTimeout as error:
        return _error(408, error.text or "", over=True)
    except web.HTTPException as error:
        of_router = request.match_info.http_exception is not None
        text = f"{request.method} {request.path[:200]!r}: {error.reason}" if of_router else error.text or error.reason
        answer = _error(error.status, text)
        if allow := error.headers.get(hdrs.ALLOW):
            answer.headers[hdrs.ALLOW] = allow
        return answer
    except ConnectionError:
        raise
    except Exception:  # noqa: BLE001  # whatever it is, its text is not for callers
        number = uuid.uuid4().hex[:12]
        _log.exception("request %s failed", number)
        return _error(500, f"internal error; the edge server's log has it under {number}")


def _error(status: int, text: str, over: bool = False) -> web.Response:
    answer = web.Response(
        status=status,
        body=msgspec.json.encode({"error": text}),
        content_type="application/json",
        headers={hdrs.CACHE_CONTROL: "no-store"},
    )
    if over:
        answer.force_close()
    return answer
