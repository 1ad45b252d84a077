"""Many rows by one statement, at the cost of few instructions of Python a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    LargeBinary,
    Row,
    Table,
    Text,
    bindparam,
    cast,
    column,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import KeyedColumnElement

Columns: TypeAlias = Mapping[str, Sequence[Any]]
"""Values by column, all of the same length."""

New: TypeAlias = ReadOnlyColumnCollection[str, KeyedColumnElement[Any]]
"""What would have been inserted, by column."""

_Changes: TypeAlias = Callable[[New], Mapping[str, ColumnElement[Any]]]


def insert_new(connection: Connection, table: Table, columns: Columns) -> list[Row[Any]]:
    """Insert rows whose primary key is not there yet; gives the keys of those. None may come twice.

    Rows should be in order of their keys: so two that insert the same at a time wait for, not against each other.
    """
    if not _rows(columns):
        return []
    keys = table.primary_key.columns
    if connection.dialect.name == "postgresql":
        statement = _from_json(table, columns).on_conflict_do_nothing().returning(*keys)
        return list(connection.execute(statement, {"rows": _json(columns)}))
    inserted = sqlite.insert(table).on_conflict_do_nothing().returning(*keys)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return list(connection.execute(inserted, rows))


def upsert(connection: Connection, table: Table, columns: Columns, changes: _Changes | None = None) -> None:
    """Insert rows, or change those whose primary key is there. None may come twice; order: see insert_new.

    `changes` gives what becomes of the columns from what would have been inserted; by default that.
    """
    if not _rows(columns):
        return
    on_postgresql = connection.dialect.name == "postgresql"
    statement = _from_json(table, columns) if on_postgresql else sqlite.insert(table)
    keys = list(table.primary_key.columns)
    excluded = statement.excluded
    changed = changes(excluded) if changes else {each.name: excluded[each.name] for each in table.c if each not in keys}
    statement = statement.on_conflict_do_update(index_elements=keys, set_=dict(changed))
    if on_postgresql:
        connection.execute(statement, {"rows": _json(columns)})
    else:  # rows as they are: SQLAlchemy would take more time with them than SQLite
        compiled = statement.compile(dialect=connection.dialect, column_keys=list(columns))
        ordered = [columns[name] for name in compiled.positiontup or ()]
        connection.exec_driver_sql(str(compiled), list(zip(*ordered, strict=True)))


def among(connection: Connection, key: Column[Any], values: Sequence[bytes]) -> ColumnElement[bool]:
    """The condition that a column is one of many values, 32,000 at most."""
    if connection.dialect.name != "postgresql":
        return key.in_(values)
    document = cast(bindparam("among", msgspec.json.encode(values).decode(), type_=Text()), postgresql.JSON)
    return key.in_(select(func.decode(func.json_array_elements_text(document), "base64")))


def _rows(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _from_json(table: Table, columns: Columns) -> postgresql.Insert:
    """Its one parameter holds all rows: arrays by column would be written by Python, number by number."""
    taken = [table.c[name] for name in columns]
    typed = [column(each.name, Text() if isinstance(each.type, LargeBinary) else each.type) for each in taken]
    document = cast(bindparam("rows", type_=Text()), postgresql.JSON)
    rows = func.json_to_recordset(document).table_valued(*typed).render_derived(with_types=True).c
    values = [
        func.decode(rows[each.name], "base64") if isinstance(each.type, LargeBinary) else rows[each.name]
        for each in taken
    ]
    return postgresql.insert(table).from_select(list(columns), select(*values))


def _json(columns: Columns) -> str:
    """An object a row; bytes become base64."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return msgspec.json.encode(rows).decode()
