"""Notices two gateways that save under one name, where each would replace what the other saw."""

from __future__ import annotations

from sqlalchemy import Connection, select

from gateway.experiments.store.bulk import insert_new
from gateway.experiments.store.errors import StoreUnavailable
from gateway.experiments.store.tables import WRITER


def take(connection: Connection, name: str, session: str) -> None:
    """Have the name, whoever had it: it is the gateway that was started last."""
    if not insert_new(connection, WRITER, {"name": [name], "session": [session]}):
        connection.execute(WRITER.update().where(WRITER.c.name == name).values(session=session))


def check(connection: Connection, name: str, session: str, title: str) -> None:
    """StoreUnavailable where another has taken the name; until the transaction's end, none can."""
    row = connection.execute(select(WRITER.c.session).where(WRITER.c.name == name).with_for_update()).one_or_none()
    if row is None:
        take(connection, name, session)  # the store is another one by now
    elif row.session != session:
        raise StoreUnavailable(
            f"{title} is used by another gateway that was started later, under the same name ({name!r}): give each a "
            "name of its own, or stop one and start the other again"
        )
