"""`POST /v2/models/…/infer` as a plain ASGI endpoint: no router, no middleware, no request object on its way."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import unquote

from adapters.errors import InvalidInput, ServingError
from gateway.api.http import CONNECTION, HttpProtocol
from gateway.dataplane import DataPlane
from gateway.errors import Overloaded, RequestTooLarge
from gateway.protocols.open_inference import STATUS, asks_non_finite, decode_infer, encode_error, encode_infer
from gateway.types import Target

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)

_PREFIX = b"/v2/models/"
_SUFFIX = b"/infer"
_JSON = (b"content-type", b"application/json")


class ClientLeft(Exception):
    """The client closed the connection before its request was complete."""


class InferenceEndpoint:
    """Answers inference requests; everything else goes to the app behind it."""

    def __init__(self, dataplane: DataPlane, max_body_bytes: int, app: App) -> None:
        self._dataplane = dataplane
        self._max_body_bytes = max_body_bytes
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI callable."""
        if scope["type"] == "http" and scope["method"] == "POST":
            path: bytes = scope["raw_path"]
            if path.startswith(_PREFIX) and path.endswith(_SUFFIX):
                await self._answer(path, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _answer(self, path: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        connection: HttpProtocol = scope[CONNECTION]
        connection.running = asyncio.current_task()
        try:
            target = _target(path)
            body = await read_body(scope, receive, self._max_body_bytes)
            request = decode_infer(target, body)
            response = await self._dataplane.infer(request)
            non_finite = bool(request.parameters) and asks_non_finite(request.parameters)
            answer = encode_infer(response, non_finite)
        except ClientLeft:
            return
        except asyncio.CancelledError:
            if connection.lost:
                return  # the caller hung up; its request was dropped wherever it waited
            raise
        except ServingError as error:
            await send_error(error, send)
            return
        except Exception:  # noqa: BLE001  # nothing may leave a caller without an answer
            await _send_unknown(send)
            return
        finally:
            connection.running = None
        headers = [
            _JSON,
            (b"content-length", b"%d" % len(answer)),
            (b"torii-served-by", str(response.deployment).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


@lru_cache(maxsize=1024)
def _target(path: bytes) -> Target:
    """The target of `/v2/models/{model}[/versions/{version}]/infer`; each segment is decoded once, after the split."""
    segments = [unquote(part) for part in path[len(_PREFIX) : -len(_SUFFIX)].decode("ascii", "replace").split("/")]
    match segments:
        case [model]:
            return Target.parse(model)
        case [model, "versions", version]:
            return Target.parse(model, version)
    raise InvalidInput(
        f"path {'/'.join(segments)!r:.200}: expected /v2/models/MODEL/infer or /v2/models/MODEL/versions/VERSION/infer"
    )


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """The whole body of a request.

    Raises:
        RequestTooLarge: it is over the limit, by its own header or by what came in; the rest is not read.
        ClientLeft: the connection was closed before its end.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > max_bytes:
            raise RequestTooLarge(f"body: expected at most {max_bytes} bytes, got {int(value)}")
    chunks: list[bytes] = []
    total = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        chunk: bytes = message.get("body", b"")
        total += len(chunk)
        if total > max_bytes:
            raise RequestTooLarge(f"body: expected at most {max_bytes} bytes, got more")
        if not message.get("more_body", False):
            return b"".join(chunks) + chunk if chunks else chunk
        chunks.append(chunk)


async def send_error(error: ServingError, send: Send) -> None:
    """Answer with an error in V2's form."""
    body = encode_error(error)
    headers = [_JSON, (b"content-length", b"%d" % len(body))]
    if isinstance(error, Overloaded):
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after_s))))
    if isinstance(error, RequestTooLarge):
        headers.append((b"connection", b"close"))  # the rest of the body is still on its way
    await send({"type": "http.response.start", "status": STATUS[type(error)], "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _send_unknown(send: Send) -> None:
    """Answer for an exception that nobody foresaw: its text stays in the log, under the id that the caller gets."""
    number = uuid.uuid4().hex[:12]
    _log.exception("request %s failed", number)
    body = encode_error(ServingError(f"internal error; the gateway's log has it under {number}"))
    headers = [_JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})
