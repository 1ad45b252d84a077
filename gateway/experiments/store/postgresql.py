"""The store as a database of PostgreSQL."""

from __future__ import annotations

from typing import Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, select
from sqlalchemy.exc import DBAPIError

_LOCK: Final = 0x746F726969
"""Of the transactions that ask to be alone: "torii"."""

_REASONS: Final = {
    "28": "it refuses the user or the password; put the store's URL right",
    "3D": "there is no such database; create it, or put the store's URL right",
    "42501": "the user may not do that; grant it CREATE on the schema, and its own tables",
    "25006": "it is read-only: a replica, or one that was set so; name the primary",
    "55P03": "another session has had it locked for 2 s; let go of it there",
    "57014": "it took longer than 20 s; look at its load and locks",
    "53100": "its disk is full; make room",
    "53": "it is short of memory or connections; give it more",
    "57P": "it is being shut down or started",
    "40": "it could not be done beside others' transactions; the next try may succeed",
}
"""By SQLSTATE, or how it begins; the longest counts."""


class PostgresqlDatabase:
    """A database that is there already; others may use it too."""

    def __init__(self, url: URL) -> None:
        self._url = url.set(drivername="postgresql+psycopg")

    @property
    def title(self) -> str:
        """Where it is: nothing of the rest of its URL, since that may hold passwords."""
        host, port = self._url.host, self._url.port
        where = f" on {host}{f':{port}' if port else ''}" if host else ""
        return f"the store in the PostgreSQL database {self._url.database or ''}{where}"

    def engine(self) -> Engine:
        """An engine that waits neither for a silent host nor for others' locks for long."""
        given = self._url.query
        limits = {"connect_timeout": "3", "tcp_user_timeout": "10000", "application_name": "torii"}
        engine = create_engine(
            self._url,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=1,
            connect_args={name: value for name, value in limits.items() if name not in given},
        )
        event.listen(engine, "begin", _begin)
        return engine

    def check(self, engine: Engine) -> None:
        """Its connections tell by themselves."""

    def alone(self, connection: Connection) -> None:
        """By an advisory lock, which the transaction's end gives back."""
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))

    def reason(self, error: DBAPIError) -> str:
        """By SQLSTATE; there is none where the server was not reached, or hung up."""
        state = getattr(error.orig, "sqlstate", None) or ""
        known = max((each for each in _REASONS if state.startswith(each)), key=len, default=None)
        said = str(error.orig).partition("\n")[0].strip()
        return f"{_REASONS[known]} ({said})" if known else said


def _begin(connection: Connection) -> None:
    """For this transaction alone, so that it holds behind a connection pooler too."""
    connection.exec_driver_sql(
        "SELECT set_config('lock_timeout', '2s', true), set_config('statement_timeout', '20s', true)"
    )
