"""What a worker does with a fresh model before it answers anybody: warm it up, and find out whether it may batch.

That axis 0 has no fixed size does not make it a batch axis: it may be time, or a softmax may run over it. So
batching is allowed where it was seen to give the rows' own answers, not where a shape merely permits it.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from adapters.base import Session
from adapters.errors import ServingError
from adapters.golden import golden_inputs, invented_inputs
from adapters.tensors import Tensor, TensorSpec

_log = logging.getLogger(__name__)

DEFAULT_MAX_ROWS = 32


def rehearse(session: Session, golden: Path | None, max_rows: int | None) -> int:
    """Warm the model up and give the number of rows that it may run at once.

    `max_rows` from model.toml is the owner's word and is not doubted; None has it found out.
    """
    rows = golden_inputs(golden) if golden else None
    if rows is None:
        rows = invented_inputs(session.signature)
    if rows is None:
        return max_rows or 1
    try:
        allowed = max_rows or (DEFAULT_MAX_ROWS if _batches(session, rows) else 1)
        session.run(rows)
    except Exception as error:  # noqa: BLE001  # invented inputs may well be refused: the model serves all the same
        _log.info("no warm-up and no batching: the model failed on trial inputs: %s", error)
        return max_rows or 1
    return allowed


def _has_free_first_axis(specs: tuple[TensorSpec, ...]) -> bool:
    return all(spec.shape is not None and len(spec.shape) > 0 and spec.shape[0] is None for spec in specs)


def _batches(session: Session, inputs: dict[str, Tensor]) -> bool:
    """Whether two rows run together give what each gives alone (to rounding), for every output."""
    signature = session.signature
    if not (_has_free_first_axis(signature.inputs) and _has_free_first_axis(signature.outputs)):
        return False
    if min(len(tensor) for tensor in inputs.values()) < 2:
        return False
    together = _run(session, inputs, slice(0, 2))
    apart = [_run(session, inputs, slice(row, row + 1)) for row in (0, 1)]
    if together is None or None in apart:
        return False
    return all(
        all(len(part[name]) == 1 for part in apart if part)
        and _equal(joined, np.concatenate([part[name] for part in apart if part]))
        for name, joined in together.items()
    )


def _run(session: Session, inputs: dict[str, Tensor], rows: slice) -> dict[str, Tensor] | None:
    try:
        outputs = session.run({name: tensor[rows] for name, tensor in inputs.items()})
    except ServingError:
        return None
    return outputs if all(tensor.ndim for tensor in outputs.values()) else None


def _equal(joined: Tensor, parts: Tensor) -> bool:
    if joined.shape != parts.shape:
        return False
    if joined.dtype.kind in "f":
        # Rounding is as large as the numbers that are rounded: what differs by 1e-6 is not equal among millionths.
        largest = float(np.abs(parts[np.isfinite(parts)]).max(initial=0.0))
        return bool(np.allclose(joined, parts, rtol=1e-3, atol=1e-4 * min(1.0, largest), equal_nan=True))
    return bool(np.array_equal(joined, parts))
