"""Whether a deployment's answers are right: held against the reference's, and against the right classes. Pure numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from loadtests.verdict.document import Agreement, Estimate

Array: TypeAlias = npt.NDArray[Any]
Arrays: TypeAlias = Mapping[str, Array]

_TIE: Final = 1e-6
"""Scores this near to the best, as a share of the largest, are as good: so far the reference itself is rounded."""

_AMOUNTS: Final = "fV"
"""numpy's kinds of floating point numbers; V: those that it does not know itself, as BF16."""

_WILSON_Z: Final = 1.959964


class Limits(NamedTuple):
    """How far a deployment may be off: `largest` as in Agreement, `argmax` at least, of at least one row."""

    largest: float
    argmax: float


_LIMITS: Final[Mapping[str, Limits]] = {
    "fp16": Limits(2e-2, 0.99),
    "dynamic": Limits(0.3, 0.97),
    "int8": Limits(0.5, 0.95),
}
_EXACT: Final = Limits(1e-4, 1.0)


class Odd(Exception):
    """Two deployments' tensors cannot be compared; the text says why."""


def limits_of(backend: str) -> Limits:
    """Of a backend's variant, as certificates of exports have them (docs/edge.md): full precision is the strictest."""
    parts = backend.split("-")[1:]
    return next((_LIMITS[each] for each in parts if each in _LIMITS), _EXACT)


def pair(ours: Mapping[str, tuple[int, ...]], theirs: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Their name of each of our tensors, by shapes: the same name, else one of the same shape, else in order.

    Raises:
        Odd: there are not as many. A wrong guess cannot pass for right: what is compared then differs.
    """
    if len(ours) != len(theirs):
        raise Odd(f"expected the tensors {', '.join(ours) or 'none'}, got {', '.join(theirs) or 'none'}")
    rest = [name for name in theirs if name not in ours]
    found = {name: name for name in ours if name in theirs}
    for name, shape in ours.items():
        if name not in found:
            found[name] = rest.pop(next((i for i, each in enumerate(rest) if theirs[each][1:] == shape[1:]), 0))
    return found


def agree(reference: Arrays, given: Arrays, limits: Limits) -> Agreement:
    """How near outputs [rows, …] are to the reference's of the same rows; by the worst of the outputs.

    Raises:
        Odd: an output is missing, or of another shape.
    """
    names = pair(shapes(reference), shapes(given))
    largest, argmax = 0.0, None
    for name, right in reference.items():
        answer = given[names[name]]
        if answer.shape != right.shape:
            raise Odd(f"output '{names[name]}' has the shape {list(answer.shape)}, the reference {list(right.shape)}")
        largest = max(largest, _apart(right, answer))
        if _are_scores(right):
            share = _same_best(right, answer)
            argmax = share if argmax is None else min(share, argmax)
    rows = len(next(iter(reference.values()))) if reference else 0
    within = largest <= limits.largest and (argmax is None or argmax >= limits.argmax)
    return Agreement(largest, limits.largest, argmax, rows, within)


def accuracy(outputs: Arrays, classes: Array) -> Estimate | None:
    """The share of rows whose best class is the right one, with Wilson's interval.

    Args:
        outputs: [rows, …] each; the first that is scores [rows, classes] counts.
        classes: [rows], the right ones.

    Returns:
        None where no output is scores of so many rows and classes.
    """
    scores = next((each for each in outputs.values() if _are_scores(each) and len(each) == len(classes)), None)
    if scores is None or not len(classes) or scores.shape[1] <= int(classes.max()):
        return None
    amounts = scores.astype(np.float64)
    right = (amounts.argmax(axis=1) == classes) & ~np.isnan(amounts).any(axis=1)
    return wilson(int(right.sum()), len(classes))


def best_classes(outputs: Arrays) -> Array | None:
    """[rows], by the first output that is scores; None where there is none."""
    scores = next((each for each in outputs.values() if _are_scores(each)), None)
    return None if scores is None else scores.argmax(axis=1)


def wilson(right: int, of: int) -> Estimate:
    """A share with its interval at 95 %, which is honest with few rows, and with all of them right."""
    share, z = right / of, _WILSON_Z
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return Estimate(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)))


def shapes(arrays: Arrays) -> dict[str, tuple[int, ...]]:
    """Shapes by name."""
    return {name: tuple(each.shape) for name, each in arrays.items()}


def _are_scores(output: Array) -> bool:
    return output.ndim == 2 and output.shape[1] > 1 and output.dtype.kind in _AMOUNTS


def _apart(right: Array, answer: Array) -> float:
    """The largest difference, as a share of the largest right value; 1e300 where one is no number and the other is."""
    if right.dtype.hasobject or right.dtype.kind in "SU" or answer.dtype.hasobject:
        return 0.0 if bool((right == answer).all()) else 1.0
    one, other = right.astype(np.float64), answer.astype(np.float64)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.where(same, 0.0, np.abs(one - other))
    scale = float(np.abs(one[np.isfinite(one)]).max(initial=0.0)) or 1.0
    return min(1e300, float(np.nan_to_num(apart, nan=1e300, posinf=1e300).max(initial=0.0)) / scale)


def _same_best(right: Array, answer: Array) -> float:
    """The share of rows where the answer's best class is the right best, or as good by the reference itself."""
    one, other = right.astype(np.float64), answer.astype(np.float64)
    chosen = np.take_along_axis(one, other.argmax(axis=1)[:, None], axis=1)[:, 0]
    numbers = ~(np.isnan(one).any(axis=1) | np.isnan(other).any(axis=1))
    scale = float(np.abs(one[np.isfinite(one)]).max(initial=0.0))
    agreed = numbers & (chosen >= one.max(axis=1) - _TIE * scale)
    return float(agreed.mean()) if len(one) else 1.0
