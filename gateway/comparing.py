"""How far apart two answers to one request are: pure."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from adapters.tensors import DataType, Tensor, Tensors


class Comparison(msgspec.Struct, frozen=True):
    """`agree`: the same outputs and shapes, the largest of each row at the same place, no further apart than may be.

    What is missing on the other side is a difference, what is there in addition is none. A row with several largest
    values has them at any of their places.

    `apart` is the largest absolute difference, `cosine` the least of all outputs' cosine similarities; None where there
    are no numbers to compare.
    """

    agree: bool
    apart: float | None = None
    cosine: float | None = None


def compare(given: Tensors, other: Tensors, tolerance: float) -> Comparison:
    """Compare what a caller was given with what another deployment answered; outputs by name, in full."""
    agree = given.keys() <= other.keys()
    apart: float | None = None
    cosine: float | None = None
    for name in given.keys() & other.keys():
        ours, theirs = given[name], other[name]
        if ours.shape != theirs.shape or is_number(ours.dtype) != is_number(theirs.dtype):
            agree = False
        elif not is_number(ours.dtype):
            agree = agree and bool(np.array_equal(ours, theirs))
        elif ours.size:
            a, b = ours.astype(np.float64, copy=False), theirs.astype(np.float64, copy=False)
            distance, similar = _apart(a, b), _cosine(a, b)
            apart = distance if apart is None else max(apart, distance)
            cosine = similar if cosine is None else min(cosine, similar)
            agree = agree and distance <= tolerance and _same_places(a, b)
    return Comparison(agree, apart, cosine)


def _apart(a: Tensor, b: Tensor) -> float:
    """The largest difference; what is not finite in both alike is no difference, and in one alone it is infinite."""
    with np.errstate(invalid="ignore", over="ignore"):
        differences = np.where(a == b, 0.0, np.abs(a - b))
    differences[np.isnan(differences)] = np.inf
    differences[np.isnan(a) & np.isnan(b)] = 0.0
    return float(differences.max())


def _cosine(a: Tensor, b: Tensor) -> float:
    with np.errstate(all="ignore"):
        x, y = a.reshape(-1), b.reshape(-1)
        lengths = float(np.sqrt(x @ x) * np.sqrt(y @ y))
        found = float(x @ y) / lengths if lengths else float(not x.any() and not y.any())
    return found if np.isfinite(found) else 0.0


def _same_places(a: Tensor, b: Tensor) -> bool:
    if a.ndim < 2 or a.shape[-1] < 2:
        return True
    ours, theirs = a.argmax(-1, keepdims=True), b.argmax(-1, keepdims=True)
    same = ours == theirs
    same |= np.take_along_axis(a, theirs, -1) == np.take_along_axis(a, ours, -1)
    same |= np.take_along_axis(b, ours, -1) == np.take_along_axis(b, theirs, -1)
    return bool(same.all())


def is_number(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of a dtype hold numbers: BF16 is one, which numpy does not know by itself."""
    return dtype.kind in "fiu" or dtype == _BF16


_BF16 = DataType.BF16.dtype
