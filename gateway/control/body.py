"""A request's body, up to a limit."""

from __future__ import annotations

from fastapi import Request
from starlette.requests import ClientDisconnect

from adapters.errors import InvalidInput
from gateway.errors import RequestTooLarge


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body.

    Raises:
        RequestTooLarge: it is over the limit, by its own header or by what came in; the rest is not read.
        InvalidInput: the caller left before its end.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes:
        raise RequestTooLarge(f"body: expected at most {max_bytes} bytes, got {int(length)}")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise RequestTooLarge(f"body: expected at most {max_bytes} bytes, got more")
    except ClientDisconnect:
        raise InvalidInput("body: the caller left before its end") from None
    return bytes(body)
