"""Answers in words: how much faster or slower, or what could have been seen."""

from __future__ import annotations

import math

from loadtests.comparison.judging import Answer, Question, Verdict
from loadtests.comparison.matching import Side, title
from loadtests.results.text import plain
from loadtests.statistics.estimates import Estimate


def number(value: float) -> str:
    """Three digits that count, and thousands apart."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def value(each: Estimate, unit: str) -> str:
    """`12.3 ms (11.8 to 12.9)`; shares in percent."""
    if unit == "share":
        return f"{_percent(each.value)} ({_percent(each.low)} to {_percent(each.high)})"
    return f"{number(each.value)} {unit} ({number(each.low)} to {number(each.high)})"


def change(question: Question, interval: Estimate) -> str:
    """`+12 % (8 to 16 %)`: by how much the number differs; shares in percentage points."""
    shown = [_change(question, each) for each in (interval.value, interval.low, interval.high)]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


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
    return "" if math.isinf(seen) or math.isnan(seen) else _change(question, seen).lstrip("+")


def caveats(question: Question) -> list[str]:
    """Why not to take the interval for more than it is."""
    found = list(question.notes)
    if question.phase and question.contrast.rounds < 2:
        found.append("one round: what the machine did between the two is not in the interval")
    elif question.phase and not question.contrast.in_turns:
        found.append("not taken in turns: what changed on the machine between the two is in the difference")
    return found


def _change(question: Question, each: float) -> str:
    if not question.contrast.relative:
        return "–" if math.isnan(each) else f"{100 * each:+.3g} points"
    if math.isinf(each) or math.isnan(each):
        return number(each)
    return f"{each:,.3g} ×" if each >= 10 else f"{100 * (each - 1):+.3g} %"


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.3g} %"
