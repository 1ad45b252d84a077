"""Answers in words: how much faster or slower, or what could have been seen."""

from __future__ import annotations

import math
from typing import Final

from loadtests.comparison.judging import Answer, Question, Verdict
from loadtests.comparison.matching import Side, title
from loadtests.results.text import plain
from loadtests.statistics.estimates import Estimate

UNKNOWN: Final = "unknown"
_ANYTHING: Final = 10.0
"""An interval that reaches so many times up and down says nothing, and its ends would be read as if they did."""

_FEW_ROUNDS: Final = 4
_TURNS: Final = 2

_COUNTABLE: Final = 1e15
"""More cannot have been counted; files may say anything."""


def number(value: float) -> str:
    """Three digits that count, and thousands apart."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < _COUNTABLE else f"{value:.3g}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def value(each: Estimate, unit: str) -> str:
    """`12.3 ms (11.8 to 12.9)`; shares in percent."""
    shown, between = _percent if unit == "share" else number, UNKNOWN
    if unit == "share" or each.high < _ANYTHING**2 * each.low:
        between = f"{shown(each.low)} to {shown(each.high)}"
    return f"{shown(each.value)}{'' if unit == 'share' else f' {unit}'} ({between})"


def change(question: Question, interval: Estimate) -> str:
    """`+12 % (8 to 16 %)`: by how much the number differs; shares in percentage points."""
    shown = [_change(question, each) for each in (interval.value, interval.low, interval.high)]
    known = not question.contrast.relative or interval.high < _ANYTHING**2 * interval.low
    return f"{shown[0]} ({f'{shown[1]} to {shown[2]}' if known else UNKNOWN})"


def verdict(question: Question, found: Verdict) -> str:
    """`faster`, `slower`, `fewer errors`, `more errors`, `undecided`."""
    if found == "undecided":
        return found
    if not question.contrast.relative:
        return "fewer errors" if found == "better" else "more errors"
    return "faster" if found == "better" else "slower"


def what(question: Question) -> str:
    """`p99, 8 connections`."""
    level = question.phase.removeprefix("measure").strip()
    return plain(f"{question.metric}, {level}" if level else question.metric)


def side(each: Side, several: bool) -> str:
    """A row, with its file where there are several."""
    return f"{title(each.row)} ({plain(each.source.name)})" if several else title(each.row)


def sentence(answer: Answer) -> str:
    """What is said of one question, and of an undecided one what could have been seen."""
    question = answer.question
    if answer.verdict != "undecided":
        return f"{what(question)}: {verdict(question, answer.verdict)}, {change(question, answer.together)}"
    if question.lost:
        return f"{what(question)}: none now, where the baseline has {value(question.theirs, question.unit)}"
    if math.isnan(question.contrast.position):
        return f"{what(question)}: undecided, since one side has no answers"
    seen = visible(answer)
    if not seen:
        return f"{what(question)}: undecided; too little was measured to see any difference"
    return (
        f"{what(question)}: undecided, {change(question, answer.together)}; "
        f"a difference of {seen} would have been seen in four of five such comparisons"
    )


def visible(answer: Answer) -> str:
    """The difference that would mostly have been seen, as `12 %`; empty where none would have been."""
    question = answer.question
    seen = question.contrast.visible(answer.confidence)
    if math.isnan(seen) or seen > (_ANYTHING if question.contrast.relative else 1.0):
        return ""
    return _change(question, seen).lstrip("+")


def caveats(question: Question) -> list[str]:
    """Why not to take the interval for more than it is."""
    found = list(question.notes)
    rounds = question.contrast.rounds
    if question.phase and rounds < 2:
        found.append(
            "one round cannot tell how the machine drifts, so 30 % of drift is taken for granted; run with --rounds 5"
        )
    elif question.phase and rounds < _FEW_ROUNDS:
        found.append(f"{rounds} rounds tell little of how much a number varies; run with --rounds 5 or more")
    if question.phase and rounds >= _TURNS and not question.contrast.in_turns:
        found.append(
            "not taken in turns: what changed on the machine between the two is in the difference; "
            "only rows of one result are (--rows)"
        )
    return found


def _change(question: Question, each: float) -> str:
    if not question.contrast.relative:
        return "–" if math.isnan(each) else f"{100 * each:+.3g} points"
    if math.isinf(each) or math.isnan(each):
        return number(each)
    return f"{each:,.3g} ×" if each >= 10 else f"{100 * (each - 1):+.3g} %"


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.3g} %"
