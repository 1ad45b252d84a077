"""What speaks against a recommendation: in what others are surely better, and why to doubt the figures. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from loadtests.verdict.document import Estimate, Row
from loadtests.verdict.words import amount, bytes_, estimate

NOTEWORTHY: Final = 1.1
"""Of two plain numbers, which have no interval: how much larger one has to be to be called so."""


def against(chosen: Row, fit: Sequence[Row], target_ms: float | None) -> tuple[str, ...]:
    """In what others are surely better, of each the best; and why to doubt the figures."""
    others = [each for each in fit if each is not chosen]
    found = [
        _better("lower p50 alone", "ms", chosen, others, lambda each: each.alone_p50_ms),
        _better("lower p99 alone", "ms", chosen, others, lambda each: each.alone_p99_ms),
        _better("lower p99 at the rate", "ms", chosen, others, lambda each: each.p99_ms),
        _faster(chosen, others),
        _cheaper(chosen, others),
        _smaller("needs less memory", bytes_, chosen, others, lambda each: each.memory_bytes),
        _smaller("has a smaller artifact", bytes_, chosen, others, lambda each: each.artifact_bytes),
        _smaller("loads faster", lambda value: f"{amount(value)} s", chosen, others, lambda each: each.load_s),
        _nearer(chosen, others),
    ]
    if target_ms is not None and chosen.highest_rate and chosen.highest_rate.low <= 0:
        found.append("the search found no rate at which it surely keeps the target")
    return (*filter(None, found), *doubts([chosen]))


def _better(what: str, unit: str, chosen: Row, others: Sequence[Row], figure: Callable[[Row], Estimate | None]) -> str:
    ours = figure(chosen)
    theirs = [(each, found) for each in others if (found := figure(each)) and ours and found.below(ours)]
    if not theirs or ours is None:
        return ""
    best, found = min(theirs, key=lambda each: each[1].value)
    return f"{best.deployment} has a {what}: {estimate(found)} {unit}, not {estimate(ours)} {unit}"


def _faster(chosen: Row, others: Sequence[Row]) -> str:
    ours = chosen.highest_rate
    theirs = [(each, found) for each in others if (found := each.highest_rate) and ours and ours.below(found)]
    if not theirs or ours is None:
        return ""
    best, found = max(theirs, key=lambda each: each[1].value)
    return f"{best.deployment} takes more requests: {estimate(found)}/s, not {estimate(ours)}/s"


def _cheaper(chosen: Row, others: Sequence[Row]) -> str:
    """Only those that keep the target perhaps can be: of those that surely do, the chosen one is the cheapest."""
    text = _better("lower cost", "a million", chosen, others, lambda each: each.cost)
    return f"{text}; but it does not surely keep the target" if text else ""


def _smaller(
    what: str,
    write: Callable[[float], str],
    chosen: Row,
    others: Sequence[Row],
    figure: Callable[[Row], float | None],
) -> str:
    ours = figure(chosen)
    theirs = [(found, each.deployment) for each in others if (found := figure(each)) is not None]
    if ours is None or not theirs or min(theirs)[0] * NOTEWORTHY >= ours:
        return ""
    found, best = min(theirs)
    return f"{best} {what}: {write(found)}, not {write(ours)}"


def _nearer(chosen: Row, others: Sequence[Row]) -> str:
    """Only where the chosen one's format is not exact: else all differ by rounding."""
    ours = chosen.agreement
    exact = [each for each in others if each.agreement and ours and each.agreement.limit < ours.limit]
    if not exact or ours is None:
        return ""
    off = f"its answers are off by up to {amount(ours.largest)} of the largest value"
    return f"{off}; those of {exact[0].deployment} by rounding only"


def doubts(rows: Sequence[Row]) -> tuple[str, ...]:
    """Why to mistrust figures of these rows."""
    return tuple(f"{each.deployment}: {mark}" for each in rows for mark in each.marks)
