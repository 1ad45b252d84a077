"""What an HTTP dialect is: it claims requests, answers them, and words its refusals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any, Protocol, TypeAlias
from urllib.parse import unquote

import msgspec

from adapters.errors import InvalidInput, ServingError
from gateway.errors import Overloaded
from gateway.types import Assigned

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Header: TypeAlias = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")
BINARY: Header = (b"content-type", b"application/octet-stream")


class HttpRequest(msgspec.Struct, frozen=True):
    """A whole request. `path` is as it was sent, without the query; `body` is unpacked; names of headers are lower."""

    method: str
    path: bytes
    query: bytes
    headers: Mapping[bytes, bytes]
    body: bytes = b""

    def header(self, name: str) -> bytes | None:
        """See Caller."""
        return self.headers.get(name.encode())


class Answer(msgspec.Struct, frozen=True):
    """A whole answer; `parts` are the body's, `served_by` gave it, for the variant `assigned` of an experiment."""

    parts: tuple[bytes | memoryview, ...]
    status: int = 200
    headers: tuple[Header, ...] = (JSON,)
    served_by: object = None
    assigned: Assigned | None = None


class Dialect(Protocol):
    """One protocol over HTTP: bytes in, bytes out."""

    status: Mapping[type[ServingError], int]
    """Every error's HTTP status."""

    def claims(self, method: str, path: bytes) -> bool:
        """Whether this request is answered here; everything else goes to the app behind."""
        ...

    async def answer(self, request: HttpRequest) -> Answer:
        """Answer a request; raises ServingError."""
        ...

    def error_body(self, status: int, error: ServingError) -> bytes:
        """The body of a refusal."""
        ...


def refusal(dialect: Dialect, error: ServingError) -> Answer:
    """The answer that an error is in a dialect; a bare ServingError is what nobody foresaw."""
    status = dialect.status.get(type(error), 500)
    headers = [JSON, *((name.encode(), value.encode()) for name, value in error.headers)]
    if isinstance(error, Overloaded):
        headers.append((b"retry-after", b"%d" % error.retry_after))
    return Answer((dialect.error_body(status, error),), status, tuple(headers))


@lru_cache(maxsize=1024)
def segments(path: bytes) -> tuple[str, ...]:
    """The segments of a raw path, each decoded once, after the split: an encoded slash stays inside its segment.

    Raises:
        InvalidInput: a segment is no UTF-8, or holds a slash or a control character.
    """
    try:
        decoded = tuple(unquote(part, errors="strict") for part in path.decode("ascii").split("/")[1:])
    except UnicodeDecodeError:
        raise InvalidInput("path: expected UTF-8, percent-encoded") from None
    for segment in decoded:
        if "/" in segment or "\\" in segment or not segment.isprintable():
            raise InvalidInput(f"path: segment {segment!r:.80}: expected no slash and no control character")
    return decoded
