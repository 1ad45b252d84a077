"""How far apart two answers are: the largest difference, and whether they choose the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from gateway.control.pages.formats import number

_SHOWN: Final = 64

Output: TypeAlias = tuple[str, tuple[int, ...], list[Any]]
"""Datatype, shape, flat data."""


@dataclass(frozen=True, slots=True)
class OutputDifference:
    """One output of both.

    `words` say how they differ, and `grade` how much that means: equal, close, or apart (another answer). `rows` are
    places with both values and their difference; `left_out` places are not among them.
    """

    name: str
    form: str
    words: str
    grade: str
    rows: Sequence[tuple[str, str, str, str]]
    left_out: int


def differences(first: Mapping[str, Output], second: Mapping[str, Output]) -> list[OutputDifference]:
    """Output by output, those of either; floats may be texts where they are NaN or infinite."""
    names = [*first, *(name for name in second if name not in first)]
    return [_difference(name, first.get(name), second.get(name)) for name in names]


def _difference(name: str, first: Output | None, second: Output | None) -> OutputDifference:
    one = first or second
    assert one is not None
    form = f"{one[0]} {list(one[1])}"
    left, right = first[2] if first else [], second[2] if second else []
    words, grade = _words(first, second)
    count = max(len(left), len(right))
    rows = [
        (_place(index, one[1]), _cell(left, index), _cell(right, index), _apart(left, right, index))
        for index in range(min(count, _SHOWN))
    ]
    return OutputDifference(name, form, words, grade, rows, max(0, count - _SHOWN))


def _words(first: Output | None, second: Output | None) -> tuple[str, str]:
    if first is None or second is None:
        return f"only the {'first' if first else 'second'} has it", "apart"
    if first[1] != second[1]:
        return f"their shapes differ: {list(first[1])} and {list(second[1])}", "apart"
    if not first[2]:
        return "both are empty", "equal"
    a, b = (_numbers(each) for each in (first, second))
    if a is None or b is None:
        apart = sum(x != y for x, y in zip(first[2], second[2], strict=False))
        return (f"{apart} of {len(first[2])} values differ", "apart") if apart else ("equal", "equal")
    return _numeric_words(a, b, first[1])


def _numeric_words(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], shape: tuple[int, ...]) -> tuple[str, str]:
    if np.array_equal(a, b, equal_nan=True):
        return "equal", "equal"
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(a - b))
    place = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
    words = f"largest absolute difference {number(float(apart[place]))}, at {_place(place, shape)}"
    if shape and shape[-1] > 1:
        chosen = np.argmax(a.reshape(-1, shape[-1]), axis=1) == np.argmax(b.reshape(-1, shape[-1]), axis=1)
        if not chosen.all():
            return f"{words}; argmax differs in {int((~chosen).sum())} of {len(chosen)} rows", "apart"
        words += "; argmax equal"
    return words, "close"


def _numbers(output: Output) -> npt.NDArray[np.float64] | None:
    """Values as numbers; NaN and infinities come as texts. None where they are texts themselves."""
    try:
        return None if output[0] == "BYTES" else np.asarray([float(each) for each in output[2]])
    except (TypeError, ValueError):
        return None


def _place(index: int, shape: tuple[int, ...]) -> str:
    if not shape or index >= int(np.prod(shape)):
        return f"[{index}]"
    return "[" + ", ".join(str(each) for each in np.unravel_index(index, shape)) + "]"


def _at(data: list[Any], index: int) -> Any:
    return data[index] if index < len(data) else None


def _apart(left: list[Any], right: list[Any], index: int) -> str:
    one, other = _at(left, index), _at(right, index)
    if one == other:
        return "0"
    known = isinstance(one, int | float) and isinstance(other, int | float)
    return number(float(abs(one - other))) if known else "other"


def _cell(data: list[Any], index: int) -> str:
    value = _at(data, index)
    if isinstance(value, float):
        return f"{value:.6g}"
    return "–" if value is None else str(value)[:80]
