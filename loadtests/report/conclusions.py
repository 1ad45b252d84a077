"""What can and what cannot be concluded from results, in sentences; every comparison as a table beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from loadtests.comparison import words
from loadtests.comparison.judging import Answer, answers, questions
from loadtests.comparison.matching import Matched, NotComparable, Source, between, within
from loadtests.report.caveats import caveats, listed
from loadtests.report.content import Content
from loadtests.report.pictures.drawing import Grid
from loadtests.results.text import plain

_TENFOLD = 10.0
_HEAD = ("", "against", "what", "difference", "verdict", "would have been seen")


@dataclass(frozen=True, slots=True)
class Conclusions:
    """Sentences of three kinds: what is shown, what is not, and what to keep in mind about all of it."""

    can: tuple[str, ...]
    cannot: tuple[str, ...]
    mind: tuple[str, ...]
    compared: Grid


def conclusions(content: Content) -> Conclusions:
    """Rows of each result against its first one, and the same rows of several results of one scenario."""
    can: list[str] = []
    cannot = list(_not_measured(content))
    rows: list[tuple[str, ...]] = []
    apart = False
    for matched, reason in _comparisons(content):
        if matched is None:
            cannot.append(plain(reason, 1000))
            continue
        found = answers(list(questions(matched.pairs)))
        apart |= any(each.question.phase and not each.question.contrast.in_turns for each in found)
        for pair in matched.pairs:
            of_pair = [each for each in found if each.question.pair is pair]
            names = content.name(pair.ours), content.name(pair.theirs)
            can += _decided(names, of_pair)
            cannot += _undecided(names, of_pair)
            rows += [_row(names, each) for each in of_pair]
            cannot += [f"{names[0]} and {names[1]} have no level in common."] if not of_pair else []
        cannot += [f"{each}." for each in matched.alone if "counterpart" in each]
    compared = Grid("All comparisons", _HEAD, tuple(dict.fromkeys(rows)))
    return Conclusions(
        tuple(dict.fromkeys(can)), tuple(dict.fromkeys(cannot)), tuple(caveats(content, apart)), compared
    )


def _comparisons(content: Content) -> Iterator[tuple[Matched | None, str]]:
    """Each comparison that can be made, or why not."""
    for sources in content.scenarios.values():
        compared = [partial(within, each) for each in sources if _measured(each) > 1]
        compared += [partial(between, sources[0], [each]) for each in sources[1:]]
        for compare in compared:
            try:
                yield compare(), ""
            except NotComparable as error:
                yield None, f"{str(error).rstrip('.')}."
    if len(content.scenarios) > 1:
        yield None, f"{len(content.scenarios)} scenarios are here, each of which stands for itself."


def _measured(source: Source) -> int:
    return sum(row.status == "measured" for row in source.result.rows)


def _decided(names: tuple[str, str], of_pair: Sequence[Answer]) -> Iterator[str]:
    """A sentence for what is better, and one for what is worse."""
    for verdict in dict.fromkeys(words.verdict(each.question, each.verdict) for each in of_pair):
        if verdict == "undecided":
            continue
        by_metric: dict[str, list[Answer]] = {}
        for each in of_pair:
            if words.verdict(each.question, each.verdict) == verdict:
                by_metric.setdefault(each.question.metric, []).append(each)
        verb = "has" if "errors" in verdict else "is"
        said = "; ".join(_differences(metric, found) for metric, found in by_metric.items())
        yield f"{names[0]} {verb} {verdict} than {names[1]}: {said}."


def _differences(metric: str, found: Sequence[Answer]) -> str:
    """One with its interval; of several levels, the smallest and the largest."""
    if len(found) == 1:
        return f"{plain(metric)} {words.change(found[0].question, found[0].together)}{_at(found)}"
    ordered = sorted(found, key=lambda each: each.together.value)
    ends = [words.change(each.question, each.together).partition(" (")[0] for each in (ordered[0], ordered[-1])]
    return f"{plain(metric)} {' to '.join(dict.fromkeys(ends))}{_at(found)}"


def _undecided(names: tuple[str, str], of_pair: Sequence[Answer]) -> Iterator[str]:
    """What is undecided, and how large a difference would have been seen."""
    by_metric: dict[str, list[Answer]] = {}
    for each in of_pair:
        if each.verdict == "undecided":
            by_metric.setdefault(each.question.metric, []).append(each)
    by_reason: dict[str, list[str]] = {}
    for metric, found in by_metric.items():
        by_reason.setdefault(_would_show(found), []).append(f"{plain(metric)}{_at(found)}")
    said = [f"{'; '.join(metrics)} ({reason})" for reason, metrics in by_reason.items()]
    if said:
        yield f"{names[0]} and {names[1]}: undecided is {'; '.join(said)}."


def _would_show(found: Sequence[Answer]) -> str:
    if any(math.isnan(each.question.contrast.position) for each in found):
        return "one side has no answers"
    worst = max(found, key=lambda each: each.question.contrast.visible(each.confidence))
    seen = worst.question.contrast.visible(worst.confidence)
    if not math.isfinite(seen):
        return "too little was measured to see any difference"
    if worst.question.contrast.relative and seen >= _TENFOLD:
        return "only more than a tenfold difference would have been seen"
    return f"{words.visible(worst)} would have been seen"


def _at(found: Sequence[Answer]) -> str:
    """` at 1, 8, 32 connections`; empty where there is one level only."""
    levels = [plain(each.question.phase.removeprefix("measure").strip(), 60) for each in found]
    if not any(levels):
        return ""
    numbers, units = zip(*(each.partition(" ")[::2] for each in levels), strict=True)
    if len(levels) > 1 and set(units) <= {"connection", "connections"}:
        return f" at {', '.join(numbers)} connections"
    return f" at {', '.join(levels)}"


def _row(names: tuple[str, str], each: Answer) -> tuple[str, ...]:
    verdict = words.verdict(each.question, each.verdict)
    change = words.change(each.question, each.together)
    return (*names, words.what(each.question), change, verdict, words.visible(each) or "–")


def _not_measured(content: Content) -> Iterator[str]:
    """Rows that were not run or failed, by the reason."""
    found: dict[str, list[str]] = {}
    for side in content.sides:
        if side.row.status != "measured":
            reason = f"{side.row.status}: {plain(side.row.why).rstrip('.') or 'no reason is given'}"
            found.setdefault(reason, []).append(content.name(side))
    for reason, names in found.items():
        yield f"{reason[0].upper()}{reason[1:]}: {listed(names)}."
