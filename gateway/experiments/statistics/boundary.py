"""Robbins' normal mixture: how far a standardised estimate may stray, over all looks together.

Information is counted in effective values per variant: how many independent ones would tell as much.
"""

from __future__ import annotations

import math
from typing import Final

HORIZON: Final = 5_000.0
"""The information at which the boundary is tightest; far from it, it is wider, but as valid."""

_TUNED_AT: Final = -2 * math.log(0.05)
_RHO_SQUARED: Final = (_TUNED_AT + math.log(_TUNED_AT + 1)) / HORIZON
_LARGEST_EXPONENT: Final = 700.0


def critical(alpha: float, information: float) -> float:
    """What |z| exceeds at any time ever, under the null hypothesis, with a probability of at most `alpha`."""
    mixed = _RHO_SQUARED * information
    if mixed <= 0:
        return math.inf
    return math.sqrt((1 + mixed) / mixed * (math.log1p(mixed) - 2 * math.log(alpha)))


def p_value(z: float, information: float) -> float:
    """The anytime-valid p-value: the least `alpha` whose boundary |z| has reached, 1 at most."""
    mixed = _RHO_SQUARED * information
    exponent = 0.5 * math.log1p(mixed) - z * z * mixed / (2 * (1 + mixed))
    return math.exp(exponent) if exponent < 0 else 1.0


def to_student(z: float, freedom: float) -> float:
    """The value of Student's t with `freedom` > 0 degrees that is as rare as the normal `z` >= 0 (Wallace, 1959)."""
    exponent = (z * (8 * freedom + 3) / (8 * freedom + 1)) ** 2 / freedom
    return math.sqrt(freedom * math.expm1(exponent)) if exponent < _LARGEST_EXPONENT else math.inf


def from_student(t: float, freedom: float) -> float:
    """The normal value that is as rare as `t` >= 0 of Student's t: the inverse of `to_student`."""
    return (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(t * t / freedom))
