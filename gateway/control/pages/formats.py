"""How numbers and times are written on the pages: the same everywhere, and a dash for what is not known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from gateway.experiments.definition import LATENCY, Kind, Metric
from gateway.experiments.report import Estimate

UNKNOWN: Final = "–"
_MINUS: Final = "\N{MINUS SIGN}"
_SHOWN: Final = 200
_KEPT: Final = frozenset({"declared", "slots", "epoch", "since", "started", "ended"})


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many digits that count, without exponents where they can be avoided."""
    if value is None:
        return UNKNOWN
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{_MINUS if value < 0 else ''}∞"
    size = abs(value)
    if isinstance(value, int) or (size >= 10**digits and size < 1e15):
        text = f"{value:,.0f}"
    elif size and not 1e-4 <= size < 1e15:
        text = f"{value:.{digits - 1}e}"
    else:
        decimals = digits - 1 - (math.floor(math.log10(size)) if size else digits - 1)
        text = f"{value:.{max(decimals, 0)}f}"
    return text.replace("-", _MINUS)


def exactly(value: float) -> str:
    """A number as people set it: 50, 12.5, without rounding it."""
    return f"{value:.10g}".replace("-", _MINUS)


def weight(value: float) -> str:
    """A share as people set it, for reading: 50, 33.33."""
    return f"{value:.4g}"


def percent(value: float | None) -> str:
    """A share (0..1) in percent."""
    return UNKNOWN if value is None else f"{number(value * 100)}\N{NO-BREAK SPACE}%"


def probability(value: float | None) -> str:
    """A p-value or a probability."""
    if value is None:
        return UNKNOWN
    return "< 0.001" if value < 0.001 else "> 0.999" if 0.999 < value < 1 else f"{value:.3f}"


def signed(text: str) -> str:
    """A written number with its sign."""
    return text if text[:1] in (_MINUS, UNKNOWN) or text in ("0", "NaN") else f"+{text}"


def megabytes(size: int | None) -> str:
    """Bytes."""
    return UNKNOWN if size is None else f"{size / 1e6:,.0f} MB"


def milliseconds(ns: float | None) -> str:
    """Nanoseconds, in milliseconds."""
    return UNKNOWN if ns is None else number(ns / 1e6)


def moment(at: datetime | None) -> str:
    """A time, in UTC."""
    if at is None:
        return UNKNOWN
    return f"{(at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def duration(seconds: float | None) -> str:
    """How long something takes, roughly."""
    if seconds is None:
        return UNKNOWN
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What an event changed, key by key; but for what Torii keeps for itself, and for when it was."""
    keys = [key for key in {**before, **after} if key not in _KEPT]
    pairs = [(key, _plain(before.get(key)), _plain(after.get(key))) for key in keys]
    return [f"{key}: {old} → {new or UNKNOWN}" if old else f"{key}: {new}" for key, old, new in pairs if old != new]


def _plain(value: Any) -> str:
    if value is None:
        text = ""
    elif isinstance(value, Mapping):
        known = {key: each for key, each in value.items() if key not in _KEPT and each not in (None, "")}
        text = ", ".join(f"{key} {_plain(each)}" for key, each in known.items())
    elif isinstance(value, float):
        text = exactly(value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


@dataclass(frozen=True, slots=True)
class Units:
    """How values of one metric are written."""

    suffix: str
    suffix_of_differences: str
    factor: float

    @property
    def of_differences(self) -> str:
        """The unit of differences, as a word."""
        return self.suffix_of_differences.strip()

    def value(self, value: float | None) -> str:
        """A value."""
        return UNKNOWN if value is None else f"{number(value * self.factor)}{self.suffix}"

    def difference(self, value: float | None) -> str:
        """A difference of two values."""
        return UNKNOWN if value is None else f"{signed(number(value * self.factor))}{self.suffix_of_differences}"

    def tick(self, value: float) -> str:
        """A value at an axis."""
        return exactly(round(value * self.factor, 10)) + self.suffix

    def tick_of_differences(self, value: float) -> str:
        """A difference at an axis."""
        return exactly(round(value * self.factor, 10))

    def interval(self, estimate: Estimate, of: Callable[[float], str] | None = None) -> str:
        """An estimate's interval; an end that is open is without end."""
        write = of or (lambda value: number(value * self.factor))
        low = f"{_MINUS}∞" if estimate.low is None else write(estimate.low)
        high = "∞" if estimate.high is None else write(estimate.high)
        return UNKNOWN if estimate.low is None and estimate.high is None else f"{low} … {high}"


def units(metric: Metric) -> Units:
    """The units of a metric."""
    if metric.kind in (Kind.BINARY, Kind.CONVERSION):
        return Units(" %", " points", 100.0)
    suffix = " ms" if metric.name == LATENCY else ""
    return Units(suffix, suffix, 1.0)


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    each.__name__: each
    for each in (number, exactly, weight, percent, probability, megabytes, milliseconds, moment, duration)
}
