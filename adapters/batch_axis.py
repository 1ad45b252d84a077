"""Whether axis 0 of a model's tensors is a batch axis: what to try the model with, and what its answers say. Pure.

That axis 0 has no fixed size does not make it a batch axis: it may be time, or a softmax may run over it. So
batching is allowed where it was seen to give the rows' own answers, not where a shape merely permits it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adapters.base import Batching
from adapters.tensors import Signature, Tensor, Tensors, TensorSpec

DEFAULT_MAX_ROWS = 32
ADAPTIVE_MAX_ROWS = 1024
"""Where a latency target limits batches by itself."""


def default_max_rows(batching: Batching) -> int:
    """The largest batch of a model that has a batch axis, where its owner does not say."""
    return DEFAULT_MAX_ROWS if batching.latency_target_ms is None else ADAPTIVE_MAX_ROWS


def trials(signature: Signature, inputs: Tensors) -> list[dict[str, Tensor]]:
    """Two rows of the inputs together, the first alone, the second alone; nothing where the shapes settle it."""
    if not (_has_free_first_axis(signature.inputs) and _has_free_first_axis(signature.outputs)):
        return []
    if any(tensor.ndim == 0 or len(tensor) < 2 for tensor in inputs.values()):
        return []
    slices = slice(0, 2), slice(0, 1), slice(1, 2)
    return [{name: tensor[rows] for name, tensor in inputs.items()} for rows in slices]


def independent(answers: Sequence[Tensors]) -> bool:
    """Whether two rows together gave what each gave alone (to rounding), in every output; answers as of `trials`."""
    together, *apart = answers
    if any(tensor.ndim == 0 for answer in answers for tensor in answer.values()):
        return False
    return all(
        all(len(part[name]) == 1 for part in apart) and _equal(joined, np.concatenate([part[name] for part in apart]))
        for name, joined in together.items()
    )


def _has_free_first_axis(specs: tuple[TensorSpec, ...]) -> bool:
    return all(spec.shape is not None and len(spec.shape) > 0 and spec.shape[0] is None for spec in specs)


def _equal(joined: Tensor, parts: Tensor) -> bool:
    if joined.shape != parts.shape:
        return False
    if joined.dtype.kind in "f":
        # Rounding is as large as the numbers that are rounded: what differs by 1e-6 is not equal among millionths.
        largest = float(np.abs(parts[np.isfinite(parts)]).max(initial=0.0))
        return bool(np.allclose(joined, parts, rtol=1e-3, atol=1e-4 * min(1.0, largest), equal_nan=True))
    return bool(np.array_equal(joined, parts))
