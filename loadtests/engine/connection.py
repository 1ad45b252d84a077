"""What a connection is to those who use it: one request at a time, and whoever listens hears what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

OK: Final = 200
"""HTTP's status of a good answer; gRPC's is 0."""

SERVED_BY: Final = "torii-served-by"


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """An answer without its body. Equal heads are read once: an answer may be shared by many requests."""

    status: int
    """HTTP's, or gRPC's, of which 0 is the good one."""

    headers: Mapping[str, str]
    """By lower-case name; of gRPC the trailing metadata too."""

    failure: str = ""
    """Its kind where it is no good answer: `status 503`, `gRPC 14`."""

    message: str = ""
    """gRPC's text of an error."""

    closes: bool = False
    """Whether the server takes nothing more on this connection."""

    served_by: str = ""


class Listener(Protocol):
    """Who is told."""

    def connected(self, connection: Connection) -> None:
        """The connection takes its first request now."""

    def answered(self, connection: Connection, answer: Answer, body: bytes) -> None:
        """The answer is complete; `body` is empty unless the answer is a failure or the connection keeps bodies."""

    def lost(self, connection: Connection, reason: str) -> None:
        """The connection has ended, and the request that was under way, if any, has no answer."""


class Connection(asyncio.Protocol):
    """A connection with at most one request under way; which protocol it speaks is for the subclasses."""

    __slots__ = ("_listener", "_reason", "_transport", "busy", "due_s", "keeps_bodies", "sent_s")

    _transport: asyncio.WriteTransport

    def __init__(self, listener: Listener, keeps_bodies: bool = False) -> None:
        self._listener = listener
        self._reason = ""
        self.keeps_bodies = keeps_bodies
        self.busy = False
        """Whether a request is under way; those who send set it, those who are told unset it."""
        self.due_s = 0.0
        self.sent_s = 0.0

    def send(self, request: Any) -> None:
        """Send what its protocol has prepared; the request before has to be answered."""
        raise NotImplementedError

    def close(self) -> None:
        """End it when what is written has gone out."""
        self._transport.close()

    def abort(self, reason: str = "") -> None:
        """End it now; `reason` is what the listener hears."""
        self._reason = self._reason or reason
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        self._listener.lost(self, self._reason or (str(error) if error else "the server closed the connection"))
