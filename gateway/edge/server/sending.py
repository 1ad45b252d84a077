"""How answers leave: documents from memory, files by sendfile, and neither to whom takes them too slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from gateway.edge.server import negotiation
from gateway.edge.server.documents import Document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PIECE_BYTES: Final = 1 << 16
"""What of a document is handed to the kernel at a time: of the rest, no connection has a copy."""

_PATIENCE_S: Final = 30.0
_LEAST_BYTES_A_S: Final = 8 << 10
"""Whoever takes less on average is cut off, and may go on where it was by a range."""


async def send_document(request: web.Request, document: Document, headers: Mapping[str, str]) -> web.StreamResponse:
    """Answer with a document, or that the caller has it."""
    encoding = negotiation.encoding(request.headers.get(hdrs.ACCEPT_ENCODING, ""), document.encoded)
    tag = _tag(document.tag, encoding)
    told = {**headers, hdrs.ETAG: tag}
    if document.encoded:
        told[hdrs.VARY] = hdrs.ACCEPT_ENCODING
    if answer := _condition(request, tag, told):
        return answer
    content = document.content
    if encoding is not None:
        content = document.encoded[encoding]
        told[hdrs.CONTENT_ENCODING] = encoding
    if len(content) <= _PIECE_BYTES or request.method == hdrs.METH_HEAD:
        return web.Response(body=content, headers=told)
    response = web.StreamResponse(headers=told)
    response.content_length = len(content)
    async with _in_time(request, len(content)):
        await response.prepare(request)
        for start in range(0, len(content), _PIECE_BYTES):
            await response.write(content[start : start + _PIECE_BYTES])
    return response


async def send_file(
    request: web.Request, files: Mapping[str, Path], digest: str, length: int, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Answer with a file or the part of it that is asked for; what it holds, its `digest` (hex) and `length` say.

    `files` has the file by the encoding "identity", and perhaps the same in other encodings. Raises HTTPNotFound where
    the file is not there, or not of that length.
    """
    encoding = negotiation.encoding(request.headers.get(hdrs.ACCEPT_ENCODING, ""), files)
    tag = _tag(digest, encoding)
    told = {**headers, hdrs.ETAG: tag, hdrs.ACCEPT_RANGES: "bytes"}
    if len(files) > 1:
        told[hdrs.VARY] = hdrs.ACCEPT_ENCODING
    if answer := _condition(request, tag, told):
        return answer
    if encoding is not None:
        told[hdrs.CONTENT_ENCODING] = encoding
    return await _send(request, files[encoding or "identity"], tag, None if encoding else length, told)


async def _send(
    request: web.Request, path: Path, tag: str, length: int | None, headers: dict[str, str]
) -> web.StreamResponse:
    # Here and not in a thread: opening takes less than a thread's turn, and sendfile reads the disk here as well.
    try:
        file = path.open("rb")
    except OSError:
        raise web.HTTPNotFound(text="it is in the signed list, and its file is not there") from None
    with file:
        size = file.seek(0, 2)
        if length is not None and size != length:
            raise web.HTTPNotFound(text=f"it is signed with {length} bytes, and its file has {size}")
        try:
            asked = request.headers if request.method == hdrs.METH_GET else {}
            span = negotiation.span(asked.get(hdrs.RANGE), asked.get(hdrs.IF_RANGE), tag, size)
        except negotiation.Unsatisfiable:
            headers[hdrs.CONTENT_RANGE] = f"bytes */{size}"
            return web.Response(status=416, headers=headers)
        response = web.StreamResponse(status=206 if span else 200, headers=headers)
        start, count = span or negotiation.Span(0, size)
        if span:
            response.headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{start + count - 1}/{size}"
        response.content_length = count
        async with _in_time(request, count):
            await response.prepare(request)
            if count and request.method == hdrs.METH_GET:
                transport = request.transport
                if transport is None or transport.is_closing():
                    raise ConnectionError("who asked has gone")
                sent = await asyncio.get_running_loop().sendfile(transport, file, start, count)
                if sent != count:
                    raise ConnectionError("the file was cut short while it was sent")
    return response


def _tag(digest: str, encoding: str | None) -> str:
    return f'"{digest}"' if encoding is None else f'"{digest}.{encoding}"'


def _condition(request: web.Request, tag: str, headers: Mapping[str, str]) -> web.Response | None:
    if not negotiation.allows(request.headers.get(hdrs.IF_MATCH), tag):
        return web.Response(status=412, headers=headers)
    if negotiation.names(request.headers.get(hdrs.IF_NONE_MATCH), tag):
        return web.Response(status=304, headers=headers)
    return None


@asynccontextmanager
async def _in_time(request: web.Request, count: int) -> AsyncIterator[None]:
    """Cut off who takes too long for `count` bytes; of who hangs up, no word is lost either."""
    try:
        async with asyncio.timeout(_PATIENCE_S + count / _LEAST_BYTES_A_S):
            yield
    except (TimeoutError, ConnectionError):
        if request.transport is not None:
            request.transport.abort()
