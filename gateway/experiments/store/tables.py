"""The tables. Times are seconds since 1970, structures JSON; `writer` is the gateway whose absolute state a row is."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

VERSION_TABLE: Final = "torii_schema"
"""Where the schema's revision is kept: under a name of our own, since the database may be shared with others."""

METADATA: Final = sa.MetaData(
    naming_convention={"pk": "%(table_name)s_pkey", "ix": "%(table_name)s_%(column_0_N_name)s"},
)

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _table(name: str, *parts: sa.Column[Any] | sa.Index, by_key: bool = False) -> sa.Table:
    """A table; `by_key` for small rows that are found by their primary key only, which SQLite then stores once."""
    return sa.Table(f"torii_{name}", METADATA, *parts, sqlite_with_rowid=not by_key)


def _key(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def _value(name: str, kind: sa.types.TypeEngine[Any], nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=nullable)


RUN: Final = sa.Table(
    "torii_run",
    METADATA,
    sa.Column("id", _NUMBER, sa.Identity(), primary_key=True),
    _value("model", sa.Text()),
    _value("experiment", sa.Text()),
    _value("number", sa.Integer()),
    _value("started", sa.Double()),
    _value("ended", sa.Double(), nullable=True),
    sa.Index("torii_run_name", "model", "experiment", "number", unique=True),
    sqlite_autoincrement=True,
)

CELL: Final = _table(
    "cell",
    _key("run_id", sa.BigInteger()),
    _key("writer", sa.Text()),
    _key("epoch", sa.Integer()),
    _key("metric", sa.Text()),
    _key("variant", sa.Text()),
    _value("state", sa.LargeBinary()),
)

SPLIT: Final = _table(
    "split",
    _key("run_id", sa.BigInteger()),
    _key("writer", sa.Text()),
    _key("epoch", sa.Integer()),
    _value("weights", sa.Text()),
    _value("assigned", sa.Text()),
)

COUNTERS: Final = _table(
    "counters", _key("run_id", sa.BigInteger()), _key("writer", sa.Text()), _value("counts", sa.Text())
)

POLICY: Final = _table("policy", _key("run_id", sa.BigInteger()), _key("writer", sa.Text()), _value("state", sa.Text()))

LOOK: Final = _table(
    "look",
    _key("run_id", sa.BigInteger()),
    _key("writer", sa.Text()),
    _key("at", sa.Double()),
    _value("looks", sa.Text()),
)

EXPOSURE: Final = _table(
    "exposure",
    _key("run_id", sa.BigInteger()),
    _key("unit", sa.LargeBinary()),
    _value("variant", sa.Text()),
    _value("epoch", sa.Integer()),
    _value("cluster", sa.SmallInteger()),
    _value("first_at", sa.Double()),
    _value("last_at", sa.Double()),
    by_key=True,
)

CONVERSION: Final = _table(
    "conversion",
    _key("run_id", sa.BigInteger()),
    _key("metric", sa.Text()),
    _key("unit", sa.LargeBinary()),
    by_key=True,
)

OUTCOME_KEY: Final = _table(
    "outcome_key",
    _key("key", sa.LargeBinary()),
    _value("at", sa.Double()),
    sa.Index("torii_outcome_key_at", "at"),
    by_key=True,
)

EVENT: Final = sa.Table(
    "torii_event",
    METADATA,
    sa.Column("number", _NUMBER, sa.Identity(), primary_key=True),
    _value("at", sa.Double()),
    _value("who", sa.Text()),
    _value("action", sa.Text()),
    _value("model", sa.Text()),
    _value("experiment", sa.Text()),
    _value("before", sa.Text()),
    _value("after", sa.Text()),
    _value("reason", sa.Text()),
    sa.Index("torii_event_name", "model", "experiment", "number"),
    sa.Index("torii_event_at", "at"),
    sqlite_autoincrement=True,
)

SECRET: Final = _table("secret", _key("name", sa.Text()), _value("value", sa.LargeBinary()))

WRITER: Final = _table("writer", _key("name", sa.Text()), _value("session", sa.Text()))

EDGE_COUNT: Final = _table(
    "edge_count",
    _key("model", sa.Text()),
    _key("channel", sa.Text()),
    _key("version", sa.BigInteger()),
    _key("started", sa.Double()),
    _key("kind", sa.Text()),
    _key("passed", sa.Boolean()),
    _value("total", sa.BigInteger()),
)
"""Reports of devices; `started` is when the rollout began that they belong to, 0 where they belong to none."""

EDGE_LATENCY: Final = _table(
    "edge_latency",
    _key("model", sa.Text()),
    _key("channel", sa.Text()),
    _key("version", sa.BigInteger()),
    _key("started", sa.Double()),
    _key("step", sa.Integer()),
    _value("total", sa.BigInteger()),
)
"""Latencies in microseconds, by the steps of adapters.histograms."""

EDGE_REPORT: Final = _table(
    "edge_report",
    _key("key", sa.LargeBinary()),
    _value("at", sa.Double()),
    sa.Index("torii_edge_report_at", "at"),
    by_key=True,
)
"""Keyed hashes of device, bundle and kind: what was counted is not counted again."""

VERDICT: Final = _table(
    "verdict",
    _key("model", sa.Text()),
    _key("version", sa.BigInteger()),
    _value("at", sa.Double()),
    _value("document", sa.Text()),
)
"""The latest verdict on each version; `at` is when it was made."""
