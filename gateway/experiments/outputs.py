"""What models' answers are like: sums of their values, and whether they are numbers at all."""

from __future__ import annotations

from math import isfinite
from typing import Final

import msgspec
import numpy as np

from adapters.tensors import Tensor
from gateway.comparing import is_number

MOST_OF_ONE: Final = 1 << 15
"""Values of one output that are looked into: of a larger one, a part that is spread over all of it."""

_CLASSES: Final = 1024
_HUGE: Final = 1e100
"""Sums of squares of what is larger would soon be infinite."""


class OutputIncrement(msgspec.Struct, array_like=True):
    """One output's values in the examined answers; `classes` counts the largest of each row by its index."""

    values: int = 0
    total: float = 0.0
    squares: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")
    classes: dict[int, int] = {}

    def add(self, other: OutputIncrement) -> None:
        """Add what another has."""
        self.values += other.values
        self.total += other.total
        self.squares += other.squares
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)
        for index, count in other.classes.items():
            self.classes[index] = self.classes.get(index, 0) + count


def examined(tensor: Tensor) -> OutputIncrement | None:
    """What one output of an answer is like; None where it holds NaN or infinity, empty where it holds no numbers.

    Values that are finite but too large to be squared and added up are left out.
    """
    if not tensor.size or not is_number(tensor.dtype):
        return OutputIncrement(classes={})
    values = _part(tensor).astype(np.float64, copy=False)
    least, most = float(values.min()), float(values.max())  # NaN where there is one
    if not (isfinite(least) and isfinite(most)):
        return None
    if max(-least, most) > _HUGE:
        return OutputIncrement(classes={})
    classes: dict[int, int] = {}
    if values.ndim > 1 and 1 < values.shape[-1] <= _CLASSES and tensor.dtype.kind not in "iu":
        counts = np.bincount(values.reshape(-1, values.shape[-1]).argmax(-1)).tolist()
        classes = {index: count for index, count in enumerate(counts) if count}
    flat = values.reshape(-1)
    return OutputIncrement(values.size, float(flat.sum()), float(flat @ flat), least, most, classes)


def _part(tensor: Tensor) -> Tensor:
    """The tensor, or of a large one as many whole rows (of the last axis) as may be looked into, or single values."""
    if tensor.size <= MOST_OF_ONE:
        return tensor
    step = -(-tensor.size // MOST_OF_ONE)
    if tensor.ndim > 1 and tensor.shape[-1] <= _CLASSES:
        return tensor.reshape(-1, tensor.shape[-1])[::step]
    return tensor.reshape(-1)[::step]
