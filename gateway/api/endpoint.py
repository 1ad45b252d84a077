"""The inference port's ASGI callable: dialects answer their requests before any router, the rest goes to FastAPI."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence

from adapters.errors import ServingError
from gateway.api.body import ClientLeft, read_body
from gateway.api.dialect import Answer, App, Dialect, HttpRequest, Receive, Scope, Send, refusal, segments
from gateway.api.http import CONNECTION, HttpProtocol

_log = logging.getLogger(__name__)


class DialectEndpoint:
    """Gives each request to the dialect that claims it.

    No router, no middleware and no request object stand in the way of an inference request.
    """

    def __init__(self, dialects: Sequence[Dialect], max_body_bytes: int, app: App) -> None:
        """The first of `dialects` words what is wrong with paths that nobody claims."""
        self._dialects = dialects
        self._max_body_bytes = max_body_bytes
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI callable."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: bytes = scope["raw_path"]
        method: str = scope["method"]
        for dialect in self._dialects:
            if dialect.claims(method, path):
                await self._serve(dialect, scope, receive, send)
                return
        if b"%" in path:
            try:
                segments(path)  # the router sees the decoded path, where an encoded slash is one like others
            except ServingError as error:
                await _send(refusal(self._dialects[0], error), send)
                return
        await self._app(scope, receive, send)

    async def _serve(self, dialect: Dialect, scope: Scope, receive: Receive, send: Send) -> None:
        connection: HttpProtocol = scope[CONNECTION]
        connection.running = asyncio.current_task()
        try:
            headers = dict(scope["headers"])
            body = await read_body(headers, receive, self._max_body_bytes)
            request = HttpRequest(scope["method"], scope["raw_path"], scope["query_string"], headers, body)
            answer = await dialect.answer(request)
        except ClientLeft:
            return
        except asyncio.CancelledError:
            if connection.lost:
                return  # the caller hung up; its request was dropped wherever it waited
            raise
        except ServingError as error:
            answer = refusal(dialect, error)
        except Exception:  # noqa: BLE001  # nothing may leave a caller without an answer
            answer = refusal(dialect, unforeseen())
        finally:
            connection.running = None
        await _send(answer, send)


def unforeseen() -> ServingError:
    """What callers are told of an exception that nobody foresaw: its text stays in the log, under the id they get."""
    number = uuid.uuid4().hex[:12]
    _log.exception("request %s failed", number)
    return ServingError(f"internal error; the gateway's log has it under {number}")


async def _send(answer: Answer, send: Send) -> None:
    parts = answer.parts
    headers = [*answer.headers, (b"content-length", b"%d" % sum(map(len, parts)))]
    if answer.served_by is not None:
        headers.append((b"torii-served-by", str(answer.served_by).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    for part in parts[:-1]:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": parts[-1]})
