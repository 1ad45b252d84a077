"""A listener that remembers, and a transport that writes nowhere."""

from __future__ import annotations

from loadtests.engine.connection import Answer, Connection


class Heard:
    def __init__(self) -> None:
        self.answers: list[tuple[Answer, bytes]] = []
        self.reasons: list[str] = []

    def connected(self, connection: Connection) -> None:
        pass

    def answered(self, connection: Connection, answer: Answer, body: bytes) -> None:
        connection.busy = False
        self.answers.append((answer, body))

    def lost(self, connection: Connection, reason: str) -> None:
        connection.busy = False
        self.reasons.append(reason)


class Nowhere:
    """Tells the connection that it is lost once it is aborted or closed, as event loops do."""

    def __init__(self, connection: Connection) -> None:
        self.written = b""
        self.closed = False
        self._connection = connection

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._connection.connection_lost(None)

    abort = close
