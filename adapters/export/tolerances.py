"""How far an export may be from its source, by precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from adapters.errors import InvalidInput


class Tolerance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most, or least, that an export may have of each figure, in every output.

    `largest` and `mean` bound the absolute difference, as a share of the largest absolute value that the source gives
    in that output. `cosine` and `argmax` are the least similarity and the least share of rows with the same best
    class; `accuracy_loss` is how much of the share of right answers may be lost, where labels are known.
    """

    largest: float
    mean: float
    cosine: float
    argmax: float
    accuracy_loss: float


TOLERANCES: Final[Mapping[str, Tolerance]] = {
    "fp32": Tolerance(largest=1e-4, mean=1e-5, cosine=0.99999, argmax=1.0, accuracy_loss=0.0),
    "fp16": Tolerance(largest=2e-2, mean=2e-3, cosine=0.9999, argmax=0.99, accuracy_loss=0.005),
    "dynamic": Tolerance(largest=0.3, mean=0.02, cosine=0.99, argmax=0.97, accuracy_loss=0.01),
    "int8": Tolerance(largest=0.5, mean=0.03, cosine=0.98, argmax=0.95, accuracy_loss=0.02),
}
"""Defaults by precision; docs/edge.md says why these."""

_MOST: Final[Mapping[str, float]] = {
    "largest": math.inf,
    "mean": math.inf,
    "cosine": 1.0,
    "argmax": 1.0,
    "accuracy_loss": 1.0,
}


def tolerance_for(precision: str, overrides: Mapping[str, float] | None = None) -> Tolerance:
    """The precision's default, with some figures replaced.

    Raises:
        InvalidInput: an override is of no figure, or no number in that figure's range.
    """
    base = TOLERANCES[precision]
    for name, value in (overrides or {}).items():
        if name not in _MOST:
            raise InvalidInput(f"tolerance: expected one of {', '.join(_MOST)}, got {name!r:.40}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST[name]:
            limit = "or more" if _MOST[name] == math.inf else f"to {_MOST[name]:g}"
            raise InvalidInput(f"tolerance {name}: expected a number from 0 {limit}, got {value!r:.40}")
        if math.isinf(value):
            raise InvalidInput(f"tolerance {name}: expected a finite number; leave the check out with a large one")
    return msgspec.structs.replace(base, **{name: float(value) for name, value in (overrides or {}).items()})
