"""Which database a URL means, and what is asked of one."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Protocol

from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from gateway.experiments.store.errors import StoreUnavailable
from gateway.experiments.store.postgresql import PostgresqlDatabase
from gateway.experiments.store.sqlite import SqliteFile

_FORMS = "sqlite:///PATH (absolute: sqlite:////PATH) or postgresql://USER:PASSWORD@HOST/DATABASE"


class Database(Protocol):
    """One kind of database. Transactions of its engine wait 2 s for others' locks at most."""

    @property
    def title(self) -> str:
        """What people call it; no password."""
        ...

    def engine(self) -> Engine:
        """A new engine; OSError where there can be none."""
        ...

    def check(self, engine: Engine) -> None:
        """Raises StoreUnavailable where the engine made last would write to what is not there any more."""
        ...

    def alone(self, connection: Connection) -> None:
        """Have the transaction wait until no other one that asked for this runs."""
        ...

    def reason(self, error: DBAPIError) -> str:
        """Why a statement failed and what mends it, in words."""
        ...


def database_at(url: str) -> Database:
    """The database of a URL; StoreUnavailable, without repeating the URL, where it is not of a known form."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreUnavailable(f"the store's URL cannot be read: expected {_FORMS}") from None
    if parsed.drivername == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise StoreUnavailable("the store's URL names no file: expected sqlite:///PATH (absolute: sqlite:////PATH)")
        return SqliteFile(parsed)
    if parsed.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise StoreUnavailable(f"the store's URL is of an unknown kind: expected {_FORMS}")
    if "@" in (parsed.host or ""):
        raise StoreUnavailable("the store's URL has more than one @: in a password it is written %40")
    if find_spec("psycopg") is None:
        raise StoreUnavailable("a store in PostgreSQL needs psycopg: pip install 'torii-gateway[postgres]'")
    return PostgresqlDatabase(parsed)
