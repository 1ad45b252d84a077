"""An answer as a probe sees it, and the probe: one request over the engine's own connections, without an event loop."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, cast

import msgspec

from loadtests.engine.connection import Answer, Connection
from loadtests.engine.plan import Request, Target
from loadtests.engine.protocols import wire

_AT_ONCE: Final = 1 << 18


class WrongAnswer(Exception):
    """An answer that is not what the dialect says: its status, its form, or what it holds."""


class Reply(msgspec.Struct, frozen=True):
    """A whole answer; the status of gRPC is 0 where all is well."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    served_by: str = ""
    failure: str = ""
    """The kind of failure that a generator would count; empty where the status is good."""

    message: str = ""
    """gRPC's text of an error."""

    def good(self) -> Reply:
        """Itself; raises WrongAnswer unless its status is good."""
        if self.failure:
            said = self.message or self.body[:300].decode(errors="replace")
            raise WrongAnswer(f"expected a good answer, got {self.failure}: {said}")
        return self


def probe(target: Target, request: Request, timeout_s: float = 30) -> Reply:
    """Send one request, and wait for the answer; blocks, and works under gevent's patches too.

    Raises:
        OSError: nobody answers there, or not in time (TimeoutError).
        WrongAnswer: the connection ended without an answer, or what came is none.
    """
    spoken = wire(target)
    give_up_s = time.monotonic() + timeout_s
    asked = _Asked()
    connection = spoken.connection(asked, keeps_bodies=True)
    with socket.create_connection((target.host, target.port), timeout_s) as plain:
        transport = _Socket(plain)
        connection.connection_made(cast(asyncio.WriteTransport, transport))
        connection.busy = True
        connection.send(spoken.prepare(request))
        while asked.reply is None and not transport.closed:
            left_s = give_up_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"{target.host}:{target.port}: no answer within {timeout_s:g} s")
            plain.settimeout(left_s)
            data = plain.recv(_AT_ONCE)
            if not data:
                break
            connection.data_received(data)
        if asked.reply is None:
            connection.connection_lost(None)
    if asked.reply is None:
        raise WrongAnswer(f"{target.host}:{target.port}: {asked.reason}")
    return asked.reply


@contextmanager
def reading(answer: Reply, kind: str) -> Iterator[bytes]:
    """Gives a good answer's body to those who take it apart; whatever they trip over is a WrongAnswer."""
    body = answer.good().body
    try:
        yield body
    except (AttributeError, LookupError, TypeError, ArithmeticError, ValueError, RecursionError) as error:
        text = f"{type(error).__name__}: {str(error)[:300]}"
        raise WrongAnswer(f"this is no answer of {kind}: {text}: {body[:200]!r}") from None


class _Asked:
    """Listens for one answer."""

    def __init__(self) -> None:
        self.reply: Reply | None = None
        self.reason = ""

    def connected(self, connection: Connection) -> None:
        """See Listener."""

    def answered(self, connection: Connection, answer: Answer, body: bytes) -> None:
        """See Listener."""
        connection.busy = False
        self.reply = Reply(answer.status, answer.headers, body, answer.served_by, answer.failure, answer.message)

    def lost(self, connection: Connection, reason: str) -> None:
        """See Listener."""
        self.reason = reason


class _Socket:
    """A blocking socket where connections expect a transport."""

    def __init__(self, plain: socket.socket) -> None:
        self._plain = plain
        self.closed = False

    def write(self, data: bytes) -> None:
        self._plain.sendall(data)

    def close(self) -> None:
        self.closed = True

    abort = close
