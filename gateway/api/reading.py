"""What comes in on a connection: requests that dialects claim are taken off it here, all others are uvicorn's."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.api.dialect import Answer, Dialect, refusal
from gateway.api.endpoint import DialectEndpoint
from gateway.api.heads import Head
from gateway.errors import RequestTooLarge

_MAX_HEAD_BYTES: Final = 1 << 16
_SMALL_BYTES: Final = 4096
"""Pieces of a body below it are joined as they come: each by itself would take many times its size."""

_HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\ncontent-length: 76\r\n"
    b'connection: close\r\n\r\n{"error":"request line and headers: expected at most 65536 bytes, got more"}'
)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_UPGRADE: Final = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)


class RequestReader(HttpToolsProtocol, ABC):
    """Reads whole requests, and gives those that the endpoint's dialects claim to `_received`.

    A head is parsed once: the next of the same bytes is known. Everything else takes uvicorn's way through ASGI.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        app = self.config.loaded_app
        self._endpoint = app if isinstance(app, DialectEndpoint) else None
        self._fresh = b""  # what is fed to the parser, as long as no request of it has begun
        self._began_with = b""  # what the request that is parsed began with
        self._head_bytes = 0
        self._in_head = True
        self._parsing = False  # the parser is in the middle of a request
        self._head: Head | None = None  # of the claimed request whose body comes in
        self._body: list[bytes | bytearray] = []
        self._body_bytes = 0
        self._left_bytes = 0  # of a body whose head was known
        self._waiting: deque[tuple[Head, bytes]] = deque()
        self._busy = False  # a request is being answered
        self._closing = False  # nothing more is read; what was received is still answered
        self._served = False
        self._touched_s = self.loop.time()

    @abstractmethod
    def _received(self, head: Head, body: bytes) -> None:
        """A whole request has come in."""

    @abstractmethod
    def _answer(self, head: Head, answer: Answer) -> None:
        """Write an answer; nothing is owed before it."""

    @property
    def _owes(self) -> bool:
        """Whether an earlier request's answer is still to come: nothing may be written before it."""
        return self._busy or bool(self._waiting) or self._asgi_runs()

    def _close_after(self) -> None:
        """Read no more, and close the connection after the answers to what was received."""
        self._closing = True
        if self._asgi_runs():
            self.cycle.keep_alive = False

    def _asgi_runs(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if not (self._parsing and self._in_head):  # a head that trickles in has no more time than any other
            self._touched_s = self.loop.time()
        if self._left_bytes:
            data = self._take_rest(data)
        endpoint = self._endpoint
        if endpoint is not None and not self._parsing and not self._asgi_runs():
            while data and not self._closing and (found := endpoint.heads.find(data)):
                data = self._take_known(data, *found)
        if data and not self._closing:
            self._parse(data)

    def _take_known(self, data: bytes, head: Head, start: int, length: int) -> bytes:
        """Take a request whose head is known, or its beginning, off the data, and give the rest."""
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        if length > head.max_body_bytes:
            self._refuse(head, f"got {length}")
            return b""
        end = start + length
        if len(data) >= end:
            self._received(head, data[start:end])
            return data[end:]
        self._head, self._body, self._left_bytes = head, [data[start:]], end - len(data)
        return b""

    def _take_rest(self, data: bytes) -> bytes:
        """Take the rest of a known request's body off the data, and give what is left over."""
        taken = data[: self._left_bytes]
        self._body.append(taken)
        self._left_bytes -= len(taken)
        if not self._left_bytes:
            self._complete()
        return data[len(taken) :]

    def _parse(self, data: bytes) -> None:
        self._head_bytes += len(data)
        if self._in_head and b"pgrade:" in data[:_MAX_HEAD_BYTES]:
            data = _without_upgrade(data)
        self._fresh = b"" if self._parsing else data
        super().data_received(data)
        self._fresh = b""
        if self._head_bytes > _MAX_HEAD_BYTES and not self._closing:
            if not self._owes:
                self.transport.write(_HEAD_TOO_LARGE)
                self.transport.close()
            self._close_after()

    def on_message_begin(self) -> None:
        """Called by the parser."""
        self._parsing = self._in_head = True
        self._head_bytes = 0
        self._began_with, self._fresh = self._fresh, b""
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        self._in_head = False
        self._head_bytes = 0
        if self._closing:
            return
        if self.parser.should_upgrade():  # the parser takes what follows for another protocol's, or for a request
            self.send_400_response("expected no upgrade")
            return
        method = self.parser.get_method().decode("ascii")
        url = httptools.parse_url(self.url)
        dialect = self._endpoint.claim(method, url.path) if self._endpoint else None
        if dialect is None:
            if self._busy or self._waiting:
                self._close_after()  # answers are in order, and this one has another way: the caller asks again
            else:
                super().on_headers_complete()
        elif self._asgi_runs():
            self._close_after()
        else:
            self._begin(dialect, method, url)
        self._began_with = b""

    def _begin(self, dialect: Dialect, method: str, url: Any) -> None:
        assert self._endpoint is not None
        headers = dict(self.headers)
        length = headers.pop(b"content-length", None)
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        limit = self._endpoint.max_body_bytes
        head = Head(dialect, method, url.path, url.query or b"", headers, limit, keep_alive)
        if length is not None and int(length) > limit:
            self._refuse(head, f"got {int(length)}")
            return
        if self.expect_100_continue:
            if not self._busy:
                self.transport.write(_CONTINUE)
        elif length is not None and keep_alive and _unambiguous(headers, self.headers):
            self._endpoint.heads.learn(self._began_with, head)
        self._head, self._body, self._body_bytes = head, [], 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if self._in_head:  # else it is a trailer: nothing here asks for one, and there is no end to them
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._head_bytes = 0
        if self._head is not None:
            self._body_bytes += len(body)
            if self._body_bytes <= self._head.max_body_bytes:
                self._collect(body)
            else:
                self._refuse(self._head, "got more")
        elif not self._closing:
            super().on_body(body)

    def _collect(self, body: bytes) -> None:
        if len(body) >= _SMALL_BYTES:
            self._body.append(body)
        elif self._body and isinstance(self._body[-1], bytearray):
            self._body[-1] += body
        else:
            self._body.append(bytearray(body))

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._parsing, self._in_head, self._head_bytes = False, True, 0
        if self._head is not None:
            self._complete()
        elif not self._closing:
            self._served = True
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Called where what came in is no HTTP."""
        if not self._owes:
            super().send_400_response(msg)
        self._close_after()

    def _complete(self) -> None:
        head, chunks = self._head, self._body
        self._head, self._body = None, []
        assert head is not None
        self._received(head, chunks[0] if len(chunks) == 1 and isinstance(chunks[0], bytes) else b"".join(chunks))

    def _refuse(self, head: Head, got: str) -> None:
        """Answer a request whose body is too large, and read no more of it."""
        self._head, self._body, self._left_bytes = None, [], 0
        self._close_after()
        error = RequestTooLarge(f"body: expected at most {head.max_body_bytes} bytes, {got}")
        if not self._owes:
            self._answer(head, refusal(head.dialect, error))


def _unambiguous(headers: Mapping[bytes, bytes], received: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a head has one Content-Length, one of every other field, and no other way to tell where its body ends."""
    return len(headers) + 1 == len(received) and b"transfer-encoding" not in headers


def _without_upgrade(data: bytes) -> bytes:
    # A server may ignore an offer to upgrade (RFC 9110, 7.8), which Java's client makes with every first request; the
    # parser does not: it takes the body for the new protocol's.
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"", head) + end + rest
