"""The store as a file of SQLite."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from gateway.experiments.store.errors import StoreUnavailable

_PATIENCE_S: Final = 2.0
_WAL_BYTES: Final = 64 << 20

_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",  # readers (backups, people) do not hold up the writer
    "PRAGMA synchronous = FULL",  # NORMAL would lose, at a power cut, everything since the last checkpoint
    f"PRAGMA journal_size_limit = {_WAL_BYTES}",
    "PRAGMA trusted_schema = OFF",
)

_REASONS: Final = {
    sqlite3.SQLITE_BUSY: f"another process has had it locked for {_PATIENCE_S:g} s; let go of it there",
    sqlite3.SQLITE_LOCKED: "another connection has it locked; let go of it there",
    sqlite3.SQLITE_FULL: "the disk is full; make room",
    sqlite3.SQLITE_READONLY: "it is read-only; make the file and its folder writable",
    sqlite3.SQLITE_PERM: "the file system does not allow it; make the file and its folder writable",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database; name another, or move it away",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; put a copy back, or move it away to begin anew",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; make it and its folder readable and writable",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write (it may be full, gone, or over a limit on files' sizes)",
}
"""By SQLite's primary result codes."""


class SqliteFile:
    """A file: made, with its folder, where there is none, for its owner's eyes only."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._path = Path(url.database or "")
        self._opened: tuple[int, int] | None = None

    @property
    def title(self) -> str:
        """Its path."""
        return f"the store {self._path}"

    def engine(self) -> Engine:
        """An engine on the file that is there now."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._opened = self._identity()
        engine = create_engine(
            self._url,
            hide_parameters=True,
            connect_args={"timeout": _PATIENCE_S, "check_same_thread": False, "isolation_level": None},
        )
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
        return engine

    def check(self, engine: Engine) -> None:
        """SQLite itself would go on writing to a deleted file."""
        if self._identity() != self._opened:
            _empty_log(engine)
            raise StoreUnavailable(
                f"{self.title} was deleted or replaced while in use; what is there by now is used from the next time on"
            )

    def alone(self, connection: Connection) -> None:
        """A transaction that writes always is."""

    def reason(self, error: DBAPIError) -> str:
        """By the result code's low byte, which is the primary one."""
        code = getattr(error.orig, "sqlite_errorcode", None)
        return _REASONS.get((code or 0) & 0xFF) or str(error.orig).partition("\n")[0]

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _configure(connection: sqlite3.Connection, _: Any) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma).close()


def _empty_log(engine: Engine) -> None:
    """Take what was written last into the old file: its log would otherwise be applied to the new one, and ruin it."""
    connection = engine.raw_connection()
    with closing(connection), suppress(sqlite3.Error):  # nothing more can be done for it
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _begin(connection: Connection) -> None:
    """The driver is told to begin no transactions: its own begin late, and not before changes of tables."""
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
