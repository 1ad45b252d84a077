"""What devices reported of versions they were given: counted once, by whichever server takes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, select

from adapters.histograms import Distribution
from gateway.experiments.deliveries import Claim, Counted, Deliveries, Subject
from gateway.experiments.store.bulk import Columns, insert_new, upsert
from gateway.experiments.store.tables import EDGE_COUNT, EDGE_LATENCY, EDGE_REPORT

_CLAIMED_AT_ONCE: Final = 5000


def count(connection: Connection, claims: Sequence[Claim], at: float) -> None:
    """Add what was not claimed before; of claims with the same key, one."""
    by_key = {each.key: each for each in claims}
    keys = sorted(by_key)
    new: list[Claim] = []
    for start in range(0, len(keys), _CLAIMED_AT_ONCE):
        some = keys[start : start + _CLAIMED_AT_ONCE]
        rows = insert_new(connection, EDGE_REPORT, {"key": some, "at": [at] * len(some)})
        new += [by_key[bytes(row.key)] for row in rows]
    counts = Counter(each.counted for each in new)
    latencies = Counter((each.counted.subject, step) for each in new for step in each.steps)
    _add(connection, EDGE_COUNT, {(*key.subject, key.kind, key.passed): number for key, number in counts.items()})
    _add(connection, EDGE_LATENCY, {(*subject, step): number for (subject, step), number in latencies.items()})


def read(connection: Connection) -> Deliveries:
    """Everything that was counted."""
    counts = {Counted(_subject(row), row.kind, row.passed): row.total for row in connection.execute(select(EDGE_COUNT))}
    steps: dict[Subject, list[int]] = {}
    for row in connection.execute(select(EDGE_LATENCY)):
        found = steps.setdefault(_subject(row), [])
        found += [0] * (row.step + 1 - len(found))
        found[row.step] = row.total
    return Deliveries(counts, {subject: Distribution(0, tuple(each)) for subject, each in steps.items()})


def forget(connection: Connection, before: float, limit: int) -> int:
    """Delete at most `limit` keys of claims made before that; what they added stays. Says how many it were."""
    old = select(EDGE_REPORT.c.key).where(EDGE_REPORT.c.at < before).limit(limit)
    return connection.execute(delete(EDGE_REPORT).where(EDGE_REPORT.c.key.in_(old))).rowcount


def _subject(row: Any) -> Subject:
    return Subject(row.model, row.channel, row.version, row.started)


def _add(connection: Connection, table: Table, numbers: Mapping[tuple[Any, ...], int]) -> None:
    """Add to the counts of a table, by the values of its primary key."""
    keys = sorted(numbers)
    names = [each.name for each in table.primary_key.columns]
    columns: Columns = {name: [key[place] for key in keys] for place, name in enumerate(names)}
    if keys:
        upsert(
            connection,
            table,
            {**columns, "total": [numbers[key] for key in keys]},
            lambda excluded: {"total": table.c.total + excluded["total"]},
        )
