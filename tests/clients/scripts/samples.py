"""Tensors of every datatype, and answers that have to be refusals, for the scripts of tritonclient."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
from tritonclient.utils import InferenceServerException


def _extremes(dtype: Any) -> np.ndarray:
    info = np.iinfo(dtype)
    return np.array([[info.min, 0, 1], [2, 3, info.max]], dtype)


TEXTS = np.array([[b"", "Übergröße".encode()], [b"torii", b"a" * 1000]], np.object_)
SAMPLES = {
    "BOOL": np.array([[True, False, True]]),
    **{f"UINT{bits}": _extremes(f"uint{bits}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": _extremes(f"int{bits}") for bits in (8, 16, 32, 64)},
    "FP16": np.array([[0.5, -65504.0], [6e-8, 1.0]], np.float16),
    "FP32": np.array([[0.1, -3.4e38], [1e-45, 1.0]], np.float32),
    "FP64": np.array([[0.1, -1.7e308], [5e-324, 1.0]], np.float64),
    "BF16": np.array([[0.5, -3.0e38], [1e-38, 1.0]], ml_dtypes.bfloat16),
    "BYTES": TEXTS,
}
"""One array for each datatype, with the values at the edges of its range."""


def same(got: np.ndarray | None, sent: np.ndarray) -> None:
    """Fails where an array is not the one that was sent: datatype, shape, every value."""
    assert got is not None, "no such output in the answer"
    assert got.shape == sent.shape, f"shape {got.shape}, sent {sent.shape}"
    assert got.dtype == sent.dtype, f"dtype {got.dtype}, sent {sent.dtype}"
    assert got.tolist() == sent.tolist(), f"got {got.tolist()!r:.300}, sent {sent.tolist()!r:.300}"


@contextlib.contextmanager
def refused(*statuses: str, says: tuple[str, ...] = ()) -> Iterator[None]:
    """Fails unless InferenceServerException comes, with one of these statuses and these words in its message."""
    error = None
    try:
        yield
    except InferenceServerException as raised:
        error = raised
    assert error is not None, f"no exception, expected one with status {' or '.join(statuses)}"
    assert error.status() in statuses, f"status {error.status()}, not {' or '.join(statuses)}: {error.message()}"
    missing = [word for word in says if word not in error.message()]
    assert not missing, f"{missing} not in the message: {error.message()}"
