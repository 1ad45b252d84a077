"""The highest rate that keeps a bound: bracket by doubling, bisect, confirm. Pure: it knows no clock and no gateway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Phase = Literal["search", "confirm"]
Try: TypeAlias = Callable[[float, Phase], bool]
"""Puts a rate (requests/s) on the gateway; whether it kept the bound."""

_LOWEST: Final = 0.1
_HIGHEST: Final = 1e6
_CONFIRMATIONS: Final = 4


@dataclass(frozen=True, slots=True)
class Found:
    """`rate` was confirmed: None where no rate kept the bound; `above` is the lowest that was seen to break it."""

    rate: float | None
    above: float | None


def highest_rate(attempt: Try, first: float, precision: float, bracket: Found | None = None) -> Found:
    """Look for the highest rate.

    Args:
        attempt: Tries a rate.
        first: Where to begin, requests/s.
        precision: The bracket's width at which the search ends, as a share of its lower end.
        bracket: What an earlier search found, to begin with.
    """

    def kept(rate: float) -> bool:
        """A moment at which the machine did something else is no reason to look elsewhere: once more."""
        return attempt(rate, "search") or attempt(rate, "search")

    low, high = _bracket(kept, (bracket.rate if bracket and bracket.rate else first))
    while low is not None and high is not None and high / low > 1 + precision:
        middle = (low * high) ** 0.5
        if kept(middle):
            low = middle
        else:
            high = middle
    return _confirm(attempt, low, high, precision)


def _bracket(keeps: Callable[[float], bool], rate: float) -> tuple[float | None, float | None]:
    """(kept, broken): up from a rate that is kept, or down from one that is not, by steps that grow."""
    step = 1.25
    kept = keeps(rate)
    while _LOWEST <= rate <= _HIGHEST:
        following = rate * step if kept else rate / step
        step = min(2.0, step * step)
        if not _LOWEST <= following <= _HIGHEST:
            break
        if keeps(following) != kept:
            return (rate, following) if kept else (following, rate)
        rate = following
    return (rate, None) if kept else (None, rate)


def _confirm(attempt: Try, low: float | None, high: float | None, precision: float) -> Found:
    """The rate has to keep the bound once more, for longer; where it does not, a lower one has to."""
    for _ in range(_CONFIRMATIONS):
        if low is None:
            break
        if attempt(low, "confirm"):
            return Found(low, high)
        low, high = low / (1 + precision), low
    return Found(None, high)
