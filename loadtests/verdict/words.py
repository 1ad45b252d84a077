"""Figures as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from loadtests.verdict.document import Estimate

UNKNOWN: Final = "–"


def amount(value: float | None) -> str:
    """Three digits that count, without exponents where they can be avoided."""
    if value is None:
        return UNKNOWN
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if 0 < size < 1e-4:
        return f"{value:.1e}"
    decimals = max(0, 2 - (math.floor(math.log10(size)) if size else 2))
    return f"{value:.{decimals}f}"


def percent(share: float | None) -> str:
    """A share (0…1) in percent."""
    return UNKNOWN if share is None else f"{amount(share * 100)} %"


def bytes_(size: float | None) -> str:
    """A size, in kB or MB."""
    if size is None:
        return UNKNOWN
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


def between(found: Estimate | None) -> str:
    """The interval."""
    return "" if found is None else f"{amount(found.low)} … {amount(found.high)}"


def estimate(found: Estimate | None) -> str:
    """A figure with its interval."""
    return UNKNOWN if found is None else f"{amount(found.value)} ({between(found)})"


def backends(deployments: Sequence[str]) -> list[str]:
    """`tflite` of `digits/1@tflite`: where all are of one version, that is enough."""
    return [each.partition("@")[2] or each for each in deployments]


def joined(texts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1] if texts else ""]))
