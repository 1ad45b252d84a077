"""What the control API answers when something goes wrong."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.errors import ServingError
from gateway.errors import VersionNotReady
from gateway.protocols.open_inference import STATUS

_log = logging.getLogger(__name__)

_V1_STATUS: Mapping[type[ServingError], int] = {**STATUS, VersionNotReady: 409}
"""A change that what is there does not allow yet is a conflict; no inference waits for it."""


def add_errors(app: FastAPI) -> None:
    """Have every error leave as {"error": text}."""
    app.add_middleware(Unforeseen)

    @app.exception_handler(ServingError)
    async def serving_error(request: Request, error: ServingError) -> JSONResponse:
        status = _V1_STATUS if request.url.path.startswith("/v1/") else STATUS
        return JSONResponse({"error": str(error)}, status[type(error)])

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        text = f"{request.method} {request.url.path[:200]}: {error.detail}; /docs lists the routes"
        return JSONResponse({"error": text}, error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": str(error.errors())[:500]}, 400)


class Unforeseen:
    """Answers exceptions that nobody foresaw with 500 and an id; the text stays in the log, under that id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI callable."""
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            if started:
                raise
            number = uuid.uuid4().hex[:12]
            _log.exception("request %s failed", number)
            text = f"internal error; the gateway's log has it under {number}"
            await JSONResponse({"error": text}, 500)(scope, receive, send)
