"""HTTP to the edge server, with bounds on time and size that the server cannot move. Redirects are not followed."""

from __future__ import annotations

import contextlib
import json
import socket
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Timer
from typing import Any, Final
from urllib.parse import urlsplit

from torii_edge.errors import Offline
from torii_edge.limits import Limits

CHUNK_BYTES: Final = 1 << 16
PATIENT_ERRORS: Final = (408, 425, 429)
"""Answers below 500 that say: not now."""


class _Watch:
    """Cuts a connection off when its time is over: a socket's own timeout starts anew with each byte that comes."""

    def __init__(self, connected: socket.socket, within_s: float) -> None:
        self.within_s = within_s
        self.over = False
        self._socket = connected
        self._timer = Timer(within_s, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        self._timer.cancel()

    def _cut(self) -> None:
        self.over = True
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # a TLS socket's own would disturb who reads it


class Answer:
    """What came back: its body is read as it comes."""

    def __init__(self, response: HTTPResponse, watch: _Watch, name: str) -> None:
        self.status = response.status
        self._response = response
        self._watch = watch
        self._name = name

    def header(self, name: str) -> str:
        """A header; empty where it is not there."""
        return self._response.getheader(name) or ""

    def chunks(self) -> Iterator[bytes]:
        """The body, unpacked; raises Offline where it breaks off or takes too long."""
        coding = self.header("Content-Encoding")
        if coding not in {"", "identity", "gzip"}:
            raise Offline(f"{self._name}: answered in {coding!r:.40}, which was not asked for")
        return _unpacked(self._raw(), self._name) if coding == "gzip" else self._raw()

    def body(self, most: int) -> bytes:
        """The whole body; raises Offline where it has more bytes than `most`."""
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > most:
                raise Offline(f"{self._name}: answered more than {most} bytes")
        return bytes(body)

    def json(self, most: int) -> dict[str, Any]:
        """The body, a JSON object; raises Offline where it is none."""
        try:
            value = json.loads(self.body(most))
        except (ValueError, RecursionError) as error:
            raise Offline(f"{self._name}: answered what is no JSON ({error})") from error
        if not isinstance(value, dict):
            raise Offline(f"{self._name}: expected a JSON object, got {type(value).__name__}")
        return value

    def _raw(self) -> Iterator[bytes]:
        while True:
            try:
                chunk = self._response.read1(CHUNK_BYTES)
            except (OSError, HTTPException, ValueError) as error:
                raise self._broken(str(error)) from error
            if not chunk:
                break
            yield chunk
            if self._response.length == 0:
                break
        if self._response.length or self._watch.over:
            raise self._broken(f"broke off, {self._response.length} bytes before the end")
        self._response.close()

    def _broken(self, reason: str) -> Offline:
        return Offline(
            f"{self._name}: took longer than {self._watch.within_s:g} s"
            if self._watch.over
            else f"{self._name}: {reason}"
        )


class Server:
    """The server at a URL; not for several threads at once. A connection is kept for the next request."""

    def __init__(self, url: str, limits: Limits) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"url: expected http://… or https://…, got {url!r:.200}")
        self._host = parts.netloc.rpartition("@")[2]
        self._secure = parts.scheme == "https"
        self._prefix = parts.path.rstrip("/")
        self._limits = limits
        self._kept: HTTPConnection | None = None
        self.name = f"{parts.scheme}://{self._host}"

    @contextmanager
    def ask(
        self,
        method: str,
        path: str,
        within_s: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Iterator[Answer]:
        """Send a request, and give its answer, of whatever status; all of it takes no longer than `within_s`.

        Raises:
            Offline: there is no answer, or not within the time.
        """
        name = f"{self.name}{path.partition('?')[0]}"
        connection, response, watch = self._sent(
            name, within_s, (method, self._prefix + path, body, dict(headers or {}))
        )
        try:
            yield Answer(response, watch, name)
        finally:
            watch.end()
            if response.isclosed() and not response.will_close and not watch.over:
                self._kept = connection
            else:
                connection.close()

    def close(self) -> None:
        """Close the connection that was kept."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _sent(
        self, name: str, within_s: float, request: tuple[Any, ...]
    ) -> tuple[HTTPConnection, HTTPResponse, _Watch]:
        kept, self._kept = self._kept, None
        if kept is not None:
            with contextlib.suppress(OSError, HTTPException, ValueError):  # closed meanwhile, perhaps: once more, anew
                return _exchanged(kept, within_s, request)
            kept.close()
        kind = HTTPSConnection if self._secure else HTTPConnection
        connection = kind(self._host, timeout=self._limits.silence_s)
        try:
            return _exchanged(connection, within_s, request)
        except (OSError, HTTPException, ValueError) as error:
            connection.close()
            raise Offline(f"{name}: {error or type(error).__name__}") from error


def _exchanged(
    connection: HTTPConnection, within_s: float, request: tuple[Any, ...]
) -> tuple[HTTPConnection, HTTPResponse, _Watch]:
    """A request sent, and its answer's head read, in time."""
    if connection.sock is None:
        connection.connect()
    watch = _Watch(connection.sock, within_s)
    try:
        connection.request(*request)
        return connection, connection.getresponse(), watch
    except BaseException:
        watch.end()
        if watch.over:
            raise TimeoutError(f"took longer than {within_s:g} s") from None
        raise


def _unpacked(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """What gzip packed, in pieces of bounded size, however well it was packed."""
    unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        for chunk in chunks:
            left = chunk
            while left:
                yield unpacking.decompress(left, CHUNK_BYTES)
                left = unpacking.unconsumed_tail
    except zlib.error as error:
        raise Offline(f"{name}: answered what gzip cannot unpack ({error})") from error
    if not unpacking.eof:
        raise Offline(f"{name}: the packed answer breaks off")
