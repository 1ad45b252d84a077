"""When runs begin and end, and what becomes of an experiment by its file's own words: pure."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gateway.conduct.weights import follows, started_weights, with_current
from gateway.experiments.definition import Current, Definition, Standing
from gateway.experiments.slots import allocate, reallocate


def identity(definition: Definition) -> tuple[object, ...]:
    """What makes evidence comparable: when it changes, a new run begins."""
    kinds = tuple((each.name, each.kind) for each in definition.metrics)
    variants = tuple((each.name, each.target) for each in definition.variants)
    return variants, definition.control, definition.salt, definition.units, kinds


def begun_anew(definition: Definition, now: datetime, last_run: int = 0) -> Definition:
    """The same, at the start of its next run; `last_run` is the last that there was under its name."""
    weights = started_weights(definition)
    before = definition.current
    keeps = before is not None and bool(before.slots) and before.weights.keys() == weights.keys()
    slots = reallocate(before.slots, weights) if before is not None and keeps else allocate(weights)
    declared = {each.name: each.weight for each in definition.variants}
    return msgspec.structs.replace(
        definition,
        state=Standing.RUNNING,
        run=max(definition.run, last_run) + 1,
        started=now,
        ended=None,
        reason="",
        winner="",
        current=Current(declared, weights, slots, since=now),
    )


def ended(definition: Definition, now: datetime, reason: str, winner: str = "") -> Definition:
    """The same, after its run; one that had ended stays as it ended."""
    return msgspec.structs.replace(
        definition,
        state=Standing.STOPPED,
        ended=definition.ended or now,
        reason=reason,
        winner=winner or definition.winner,
    )


def lived(definition: Definition, before: Definition | None, now: datetime, last_run: int) -> Definition | None:
    """What a file's own words make of an experiment: a start, an end, other weights; None where it stays as it is.

    `before` is the run that goes on, if one does, as it was until now.
    """
    if definition.state is not Standing.RUNNING:
        open_run = definition.started is not None and definition.ended is None
        return ended(definition, now, definition.reason) if open_run else None
    if before is not None and before.run != definition.run:
        before = None
    other = before is not None and identity(before) != identity(definition)
    if other or not definition.run or definition.started is None or definition.ended is not None:
        return begun_anew(definition, now, last_run)
    if definition.stop is not None and now >= definition.stop:
        return ended(definition, now, "its time is over")
    current = follows(definition, before)
    if current == definition.current:
        return None
    return with_current(definition, msgspec.structs.replace(current, since=now))
