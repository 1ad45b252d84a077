"""The store of experiments' evidence: opens, and opens anew what was gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final
from uuid import uuid4

import msgspec
from sqlalchemy import Connection, Engine, RowMapping, select
from sqlalchemy.exc import DBAPIError

from gateway.experiments.deliveries import Claim, Deliveries
from gateway.experiments.report import Event, Look
from gateway.experiments.store import deliveries, retention, schema, verdicts, writers
from gateway.experiments.store.bulk import insert_new
from gateway.experiments.store.database import database_at
from gateway.experiments.store.errors import StoreUnavailable
from gateway.experiments.store.loading import load, moment
from gateway.experiments.store.records import Run, StoredRun
from gateway.experiments.store.tables import EVENT, LOOK, RUN, SECRET
from gateway.experiments.store.transaction import Transaction, is_run

_FORGOTTEN_AT_ONCE: Final = 5000
_ACCESS: Final = "its folder has to be there or be made, and the file to be readable and writable"


class Store:
    """Blocking, and for one thread at a time. Everything raises StoreUnavailable, and nothing else, if it fails.

    `writer` is the gateway's name among those that share the store: absolute state is kept by it. Of two stores with
    one name, the one opened last goes on and the other fails. Nothing is opened before the first use.
    """

    def __init__(self, url: str, writer: str = "") -> None:
        self._database = database_at(url)
        self._writer = writer
        self._session = uuid4().hex
        self._named = False
        self._engine: Engine | None = None

    @property
    def title(self) -> str:
        """What people call it; no password."""
        return self._database.title

    def open(self) -> None:
        """Make it where there is none, bring its schema up to date, and take the writer's name."""
        with self._connection():
            pass

    def close(self) -> None:
        """Let go of it; the next use opens it anew."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """What is done within is saved at the end, as a whole; nothing of it, if anything raises."""
        with self._connection() as connection:
            writers.check(connection, self._writer, self._session, self.title)
            yield Transaction(connection, self._writer)

    def load(self, run: Run) -> StoredRun | None:
        """What is kept of a run; None: nothing is."""
        with self._reading() as connection:
            return load(connection, run, self._writer)

    def looks(self, run: Run) -> list[Look]:
        """This gateway's looks at a run, oldest first."""
        own = select(LOOK.c.looks).join(RUN, RUN.c.id == LOOK.c.run_id)
        own = own.where(*is_run(run), LOOK.c.writer == self._writer).order_by(LOOK.c.at)
        with self._reading() as connection:
            moments = connection.execute(own).scalars()
            return [look for each in moments for look in msgspec.json.decode(each, type=list[Look])]

    def events(self, model: str | None = None, experiment: str | None = None, limit: int = 100) -> list[Event]:
        """Events, newest first."""
        chosen = select(EVENT).order_by(EVENT.c.number.desc()).limit(limit)
        if model is not None:
            chosen = chosen.where(EVENT.c.model == model)
        if experiment is not None:
            chosen = chosen.where(EVENT.c.experiment == experiment)
        with self._reading() as connection:
            return [_event(row) for row in connection.execute(chosen).mappings()]

    def secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        """The secret of that name; made if there is none, and then the same for all who share the store."""
        with self._connection() as connection:
            insert_new(connection, SECRET, {"name": [name], "value": [make()]})
            value: bytes = connection.execute(select(SECRET.c.value).where(SECRET.c.name == name)).scalar_one()
            return value

    def forget(self, outcomes_before: datetime, runs_before: datetime, limit: int = _FORGOTTEN_AT_ONCE) -> int:
        """Delete `limit` rows at most, and say how many; fewer: nothing is left to forget.

        Of runs that ended before `outcomes_before`: exposures and conversions; and keys of outcomes before it. Of runs
        that ended before `runs_before`: everything; and events before it.
        """
        with self._connection() as connection:
            return retention.forget(connection, outcomes_before.timestamp(), runs_before.timestamp(), limit)

    def count_reports(self, claims: Sequence[Claim], at: float) -> Deliveries:
        """Count each claim once (`at`: now, in seconds since 1970); gives all that was counted so far."""
        with self._connection() as connection:
            deliveries.count(connection, claims, at)
            return deliveries.read(connection)

    def deliveries(self) -> Deliveries:
        """All that devices reported."""
        with self._reading() as connection:
            return deliveries.read(connection)

    def save_verdict(self, model: str, version: int, at: float, document: str) -> None:
        """Keep a verdict on a version (`at`: when it was made) in the place of the one before."""
        with self._connection() as connection:
            verdicts.save(connection, model, version, at, document)

    def verdict(self, model: str, version: int) -> str | None:
        """The latest on a version."""
        with self._reading() as connection:
            return verdicts.read(connection, model, version)

    def verdicts(self, model: str) -> list[tuple[int, str]]:
        """The latest on each of a model's versions, the newest version first."""
        with self._reading() as connection:
            return verdicts.of_model(connection, model)

    def forget_reports(self, before: datetime, limit: int = _FORGOTTEN_AT_ONCE) -> int:
        """Forget which reports came before that, `limit` at most, and say how many; what they added stays."""
        with self._connection() as connection:
            return deliveries.forget(connection, before.timestamp(), limit)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._connection(reading=True) as connection:
            try:
                yield connection
            except (ValueError, msgspec.DecodeError) as error:
                raise StoreUnavailable(f"{self.title} holds something else than was saved: {error}") from error

    @contextmanager
    def _connection(self, reading: bool = False) -> Iterator[Connection]:
        """A transaction; after a failure the next one opens the store anew."""
        try:
            with self._opened().connect().execution_options(reading=reading) as connection, connection.begin():
                yield connection
        except DBAPIError as error:
            self.close()
            raise StoreUnavailable(f"{self.title}: {self._database.reason(error)}") from error
        except StoreUnavailable:
            self.close()
            raise

    def _opened(self) -> Engine:
        if self._engine is None:
            self._engine = self._open()
        self._database.check(self._engine)
        return self._engine

    def _open(self) -> Engine:
        try:
            engine = self._database.engine()
        except OSError as error:
            raise StoreUnavailable(f"{self.title} cannot be opened: {error.strerror}; {_ACCESS}") from error
        try:
            with engine.begin() as connection:
                self._database.alone(connection)
                schema.upgrade(connection, self.title)
                if not self._named:
                    writers.take(connection, self._writer, self._session)
        except BaseException:
            engine.dispose()
            raise
        self._named = True
        return engine


def _event(row: RowMapping) -> Event:
    read = msgspec.json.decode
    fields = {**row, "at": moment(row["at"]), "before": read(row["before"]), "after": read(row["after"])}
    return Event(**{str(name): value for name, value in fields.items()})
