"""The inference port: dialects answer their requests before any router, the rest goes to FastAPI."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence

from adapters.errors import ServingError
from gateway.api.body import unpacked
from gateway.api.dialect import Answer, App, Dialect, HttpRequest, Receive, Scope, Send, refusal, segments
from gateway.api.heads import Head, KnownHeads

_log = logging.getLogger(__name__)


class DialectEndpoint:
    """Gives each request to the dialect that claims it.

    No router, no middleware and no ASGI stand in the way of an inference request: `gateway.api.http` asks `claim` and
    `answer`. As an ASGI callable it takes whatever no dialect claims.
    """

    def __init__(self, dialects: Sequence[Dialect], max_body_bytes: int, app: App) -> None:
        """The first of `dialects` words what is wrong with paths that nobody claims."""
        self.max_body_bytes = max_body_bytes
        self.heads = KnownHeads()
        self._dialects = dialects
        self._app = app

    def claim(self, method: str, path: bytes) -> Dialect | None:
        """The dialect that answers such requests, if any does."""
        return next((each for each in self._dialects if each.claims(method, path)), None)

    async def answer(self, head: Head, body: bytes) -> Answer:
        """Answer a whole request; whatever goes wrong is an answer too, but for a cancellation."""
        try:
            if b"content-encoding" in head.headers:
                body = await unpacked(body, head.headers[b"content-encoding"], self.max_body_bytes)
            return await head.dialect.answer(HttpRequest(head.method, head.path, head.query, head.headers, body))
        except asyncio.CancelledError:
            raise
        except ServingError as error:
            return refusal(head.dialect, error)
        except Exception:  # noqa: BLE001  # nothing may leave a caller without an answer
            return refusal(head.dialect, unforeseen())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI callable."""
        if scope["type"] == "http" and b"%" in scope["raw_path"]:
            try:
                segments(scope["raw_path"])  # the router sees the decoded path: an encoded slash is one like others
            except ServingError as error:
                await _send(refusal(self._dialects[0], error), send)
                return
        await self._app(scope, receive, send)


def unforeseen() -> ServingError:
    """What callers are told of an exception that nobody foresaw: its text stays in the log, under the id they get."""
    number = uuid.uuid4().hex[:12]
    _log.exception("request %s failed", number)
    return ServingError(f"internal error; the gateway's log has it under {number}")


async def _send(answer: Answer, send: Send) -> None:
    body = b"".join(answer.parts)
    headers = [*answer.headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
