"""What is saved together, or not at all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, case, select

from gateway.experiments.evidence import Cell, Split
from gateway.experiments.report import Event, Look
from gateway.experiments.store import cell_format
from gateway.experiments.store.bulk import Columns, New, among, insert_new, upsert
from gateway.experiments.store.looks import thin
from gateway.experiments.store.records import CellKey, Conversion, Exposure, Run
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

_UNITS: Final = 5000
"""Looked up by one statement; SQLite takes 32,766 parameters."""


class Transaction:
    """Saves and claims; all of it counts once the transaction has ended well.

    A run that was not saved before is added, as if it had started now. Absolute state (`save_…` of cells, splits,
    counters, policy) replaces what this gateway saved under the same keys; other gateways' stays.
    """

    def __init__(self, connection: Connection, writer: str) -> None:
        self._connection = connection
        self._writer = writer
        self._ids: dict[Run, int] = {}

    def save_run(self, run: Run, started: datetime, ended: datetime | None = None) -> None:
        """Say when a run began and ended; None: it goes on."""
        self._insert_run(run, started)
        values = {"started": started.timestamp(), "ended": ended.timestamp() if ended else None}
        self._connection.execute(RUN.update().where(*is_run(run)).values(values))

    def save_cells(self, run: Run, cells: Mapping[CellKey, Cell]) -> None:
        """Save the absolute state of these cells."""
        keys = sorted(cells)
        states = [cell_format.encode(cells[key]) for key in keys]
        self._replace(CELL, run, {**_columns(CellKey, keys), "state": states})

    def save_splits(self, run: Run, splits: Mapping[int, Split]) -> None:
        """Save the absolute state of the splits of these epochs."""
        epochs = sorted(splits)
        columns: Columns = {
            "epoch": epochs,
            "weights": [_as_json(splits[epoch].weights) for epoch in epochs],
            "assigned": [_as_json(splits[epoch].assigned) for epoch in epochs],
        }
        self._replace(SPLIT, run, columns)

    def save_counters(self, run: Run, counts: Mapping[str, int]) -> None:
        """Save all counters of a run."""
        self._replace(COUNTERS, run, {"counts": [_as_json(counts)]})

    def save_policy(self, run: Run, state: Mapping[str, Any]) -> None:
        """Save a bandit's state."""
        self._replace(POLICY, run, {"state": [_as_json(state)]})

    def save_looks(self, run: Run, looks: Iterable[Look]) -> None:
        """Add looks, all of one moment together; where there are many moments, some of the older ones go."""
        moments: dict[float, list[Look]] = {}
        for look in looks:
            moments.setdefault(look.at.timestamp(), []).append(look)
        at = sorted(moments)
        self._replace(LOOK, run, {"at": at, "looks": [_as_json(moments[moment]) for moment in at]})
        thin(self._connection, self._id(run), self._writer)

    def save_exposures(self, run: Run, exposures: Iterable[Exposure]) -> None:
        """Add units, or move them on: the earliest `first_at` stays, the rest is of the one with the latest `last_at`.

        Of the same unit the last one here counts.
        """
        rows = sorted({each.unit: each for each in exposures}.values())
        upsert(self._connection, EXPOSURE, self._of_run(run, _columns(Exposure, rows)), _moved_on)

    def exposures(self, run: Run, units: Collection[bytes]) -> dict[bytes, Exposure]:
        """What these units got, of those that are known."""
        found, wanted, columns = {}, list(units), [EXPOSURE.c[name] for name in Exposure._fields]
        for start in range(0, len(wanted), _UNITS):
            some = among(self._connection, EXPOSURE.c.unit, wanted[start : start + _UNITS])
            rows = self._connection.execute(select(*columns).where(EXPOSURE.c.run_id == self._id(run), some))
            found.update({row.unit: Exposure(*row) for row in rows})
        return found

    def claim_conversions(self, run: Run, conversions: Iterable[Conversion]) -> set[Conversion]:
        """Those that no gateway has claimed before; from now on they are."""
        rows = sorted(set(conversions))
        new = insert_new(self._connection, CONVERSION, self._of_run(run, _columns(Conversion, rows)))
        return {Conversion(row.metric, row.unit) for row in new}

    def claim_keys(self, keys: Iterable[bytes], at: float) -> set[bytes]:
        """Those (16-byte hashes) that no gateway has claimed before; from now on they are. `at`: for retention."""
        wanted = sorted(set(keys))
        new = insert_new(self._connection, OUTCOME_KEY, {"key": wanted, "at": [at] * len(wanted)})
        return {row.key for row in new}

    def add_events(self, events: Sequence[Event]) -> None:
        """Append events, in this order; their numbers are given here."""
        for each in events:
            fields = {name: _text(getattr(each, name)) for name in ("who", "action", "model", "experiment", "reason")}
            values = {"at": each.at.timestamp(), "before": _as_json(each.before), "after": _as_json(each.after)}
            self._connection.execute(EVENT.insert().values({**fields, **values}))

    def _insert_run(self, run: Run, started: datetime) -> None:
        if self._connection.execute(select(RUN.c.id).where(*is_run(run))).first() is None:
            values = {**run._asdict(), "started": started.timestamp()}
            insert_new(self._connection, RUN, {name: [value] for name, value in values.items()})

    def _id(self, run: Run) -> int:
        if run not in self._ids:
            self._insert_run(run, datetime.now(UTC))
            self._ids[run] = self._connection.execute(select(RUN.c.id).where(*is_run(run))).scalar_one()
        return self._ids[run]

    def _of_run(self, run: Run, columns: Columns) -> Columns:
        return {"run_id": [self._id(run)] * len(next(iter(columns.values()))), **columns}

    def _replace(self, table: Table, run: Run, columns: Columns) -> None:
        with_run = self._of_run(run, columns)
        upsert(self._connection, table, {**with_run, "writer": [self._writer] * len(with_run["run_id"])})


def is_run(run: Run) -> Sequence[ColumnElement[bool]]:
    """The conditions that find it in the table of runs."""
    return (RUN.c.model == run.model, RUN.c.experiment == run.experiment, RUN.c.number == run.number)


def _columns(kind: type[CellKey | Exposure | Conversion], rows: Sequence[tuple[Any, ...]]) -> Columns:
    return {name: [row[place] for row in rows] for place, name in enumerate(kind._fields)}


def _moved_on(new: New) -> Mapping[str, ColumnElement[Any]]:
    old = EXPOSURE.c
    later = new["last_at"] >= old.last_at
    latest = {name: case((later, new[name]), else_=old[name]) for name in ("variant", "epoch", "cluster", "last_at")}
    return {**latest, "first_at": case((new["first_at"] < old.first_at, new["first_at"]), else_=old.first_at)}


def _as_json(value: object) -> str:
    """Times become text, NaN and infinity null."""
    return msgspec.json.encode(value).decode()


def _text(value: str) -> str:
    """Without what only some databases take: the character 0, and halves of surrogate pairs."""
    return value.replace("\0", "\ufffd").encode(errors="replace").decode()
