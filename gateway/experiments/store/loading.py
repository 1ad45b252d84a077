"""What is read back of a run."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select

from gateway.experiments.evidence import Split
from gateway.experiments.store import cell_format
from gateway.experiments.store.records import CellKey, Kept, Run, StoredRun
from gateway.experiments.store.tables import CELL, COUNTERS, POLICY, RUN, SPLIT


def load(connection: Connection, run: Run, writer: str) -> StoredRun | None:
    """A run's state, what others saw added up; ValueError where a cell cannot be read."""
    found = connection.execute(
        select(RUN).where(RUN.c.model == run.model, RUN.c.experiment == run.experiment, RUN.c.number == run.number)
    ).one_or_none()
    if found is None:
        return None
    own, others = Kept(), Kept()
    for add, table in ((_add_cell, CELL), (_add_split, SPLIT), (_add_counts, COUNTERS)):
        for row in connection.execute(select(table).where(table.c.run_id == found.id).order_by(*table.primary_key)):
            add(own if row.writer == writer else others, row)
    kept = select(POLICY.c.state).where(POLICY.c.run_id == found.id, POLICY.c.writer == writer)
    policy = connection.execute(kept).scalar_one_or_none()
    return StoredRun(
        run=run,
        started=moment(found.started),
        ended=None if found.ended is None else moment(found.ended),
        own=own,
        others=others,
        policy=None if policy is None else msgspec.json.decode(policy),
    )


def moment(seconds: float) -> datetime:
    """A time of the store."""
    return datetime.fromtimestamp(seconds, UTC)


def _add_cell(kept: Kept, row: Row[Any]) -> None:
    key, cell = CellKey(row.epoch, row.metric, row.variant), cell_format.decode(row.state)
    if key in kept.cells:
        kept.cells[key].merge(cell)
    else:
        kept.cells[key] = cell


def _add_split(kept: Kept, row: Row[Any]) -> None:
    assigned = Counter(msgspec.json.decode(row.assigned, type=dict[str, int]))
    if row.epoch in kept.splits:
        assigned.update(kept.splits[row.epoch].assigned)
    kept.splits[row.epoch] = Split(msgspec.json.decode(row.weights, type=dict[str, float]), dict(assigned))


def _add_counts(kept: Kept, row: Row[Any]) -> None:
    counts = Counter(msgspec.json.decode(row.counts, type=dict[str, int]))
    counts.update(kept.counters)
    kept.counters = dict(counts)
