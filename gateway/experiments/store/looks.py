"""Keeps some hundred moments of a run, however long it lasts, for the pictures over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, delete, func, select

from gateway.experiments.store.tables import LOOK

MOMENTS: Final = 500
"""Of a run that are kept, at least; thinned to so many where there are a fifth more."""


def thin(connection: Connection, run_id: int, writer: str) -> None:
    """Drop moments of a run, evenly in time, if there are too many."""
    own = (LOOK.c.run_id == run_id, LOOK.c.writer == writer)
    if connection.execute(select(func.count()).select_from(LOOK).where(*own)).scalar_one() > MOMENTS * 6 // 5:
        times = connection.execute(select(LOOK.c.at).where(*own).order_by(LOOK.c.at)).scalars().all()
        for start in range(0, len(dropped := surplus(times, MOMENTS)), MOMENTS):
            connection.execute(delete(LOOK).where(*own, LOOK.c.at.in_(dropped[start : start + MOMENTS])))


def surplus(times: Sequence[float], limit: int) -> list[float]:
    """Which of ascending times to drop, so that `limit` are left at most, evenly spread; the ends stay."""
    width = (times[-1] - times[0]) / (limit - 1)
    taken, dropped = -1, []
    for time in times[:-1]:
        part = int((time - times[0]) / width)
        if part == taken:
            dropped.append(time)
        taken = part
    return dropped
