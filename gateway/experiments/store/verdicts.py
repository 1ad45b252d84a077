"""Verdicts on which backend should serve a version: the latest of each, as documents whose form is not the store's."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, select

from gateway.experiments.store.bulk import upsert
from gateway.experiments.store.tables import VERDICT

_MOST: Final = 100
"""Of one model that are read at once."""


def save(connection: Connection, model: str, version: int, at: float, document: str) -> None:
    """Keep one in the place of the one before."""
    upsert(connection, VERDICT, {"model": [model], "version": [version], "at": [at], "document": [document]})


def read(connection: Connection, model: str, version: int) -> str | None:
    """The latest on a version."""
    chosen = select(VERDICT.c.document).where(VERDICT.c.model == model, VERDICT.c.version == version)
    found: str | None = connection.execute(chosen).scalar_one_or_none()
    return found


def of_model(connection: Connection, model: str) -> list[tuple[int, str]]:
    """The latest on each of a model's versions, the newest version first."""
    chosen = select(VERDICT.c.version, VERDICT.c.document).where(VERDICT.c.model == model)
    newest = chosen.order_by(VERDICT.c.version.desc()).limit(_MOST)
    return [(row.version, row.document) for row in connection.execute(newest)]
