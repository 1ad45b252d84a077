"""What a worker does with a fresh model before it answers anybody: warm it up, and find out whether it may batch."""

from __future__ import annotations

import logging
from pathlib import Path

from adapters.base import Batching, Session
from adapters.batch_axis import default_max_rows, independent, trials
from adapters.errors import ServingError
from adapters.golden import golden_inputs, invented_inputs
from adapters.tensors import Tensors

_log = logging.getLogger(__name__)


def rehearse(session: Session, golden: Path | None, batching: Batching) -> int:
    """Warm the model up and give the number of rows that it may run at once.

    `batching.max_rows` is the owner's word and is not doubted; None has it found out.
    """
    rows = golden_inputs(golden) if golden else None
    if rows is None:
        rows = invented_inputs(session.signature)
    if rows is None:
        return batching.max_rows or 1
    try:
        allowed = batching.max_rows or (default_max_rows(batching) if _batches(session, rows) else 1)
        session.run(rows)
    except Exception as error:  # noqa: BLE001  # invented inputs may well be refused: the model serves all the same
        _log.info("no warm-up and no batching: the model failed on trial inputs: %s", error)
        return batching.max_rows or 1
    return allowed


def _batches(session: Session, inputs: Tensors) -> bool:
    pieces = trials(session.signature, inputs)
    try:
        return bool(pieces) and independent([session.run(piece) for piece in pieces])
    except ServingError:
        return False
