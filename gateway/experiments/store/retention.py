"""Forgets what nothing needs any more, a bounded part at a time."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, delete, select, tuple_

from gateway.experiments.store.tables import (
    CELL,
    CONVERSION,
    COUNTERS,
    EVENT,
    EXPOSURE,
    LOOK,
    OUTCOME_KEY,
    POLICY,
    RUN,
    SPLIT,
)

_BY_UNIT: Final = (EXPOSURE, CONVERSION)
_BY_RUN: Final = (LOOK, CELL, SPLIT, COUNTERS, POLICY)


def forget(connection: Connection, outcomes_before: float, runs_before: float, limit: int) -> int:
    """Delete at most `limit` rows, and say how many; fewer than that: nothing is left to forget."""
    over, old = (select(RUN.c.id).where(RUN.c.ended < before) for before in (outcomes_before, runs_before))
    steps = [(OUTCOME_KEY, OUTCOME_KEY.c.at < outcomes_before)]
    steps += [(table, table.c.run_id.in_(over)) for table in _BY_UNIT]
    steps += [(table, table.c.run_id.in_(old)) for table in (*_BY_RUN, *_BY_UNIT)]
    # The run itself goes last: by it its rows are found.
    steps += [(RUN, RUN.c.ended < runs_before), (EVENT, EVENT.c.at < runs_before)]
    left = limit
    for table, condition in steps:
        left -= _delete(connection, table, condition, left)
        if left <= 0:
            break
    return limit - left


def _delete(connection: Connection, table: Table, condition: ColumnElement[bool], limit: int) -> int:
    keys = tuple(table.primary_key.columns)
    some = select(*keys).where(condition).limit(limit)
    return connection.execute(delete(table).where(tuple_(*keys).in_(some))).rowcount
