"""What can and what cannot be concluded from results, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from loadtests.comparison import words
from loadtests.comparison.judging import Answer, answers, questions
from loadtests.comparison.matching import Matched, NotComparable, Pair, between, title, within
from loadtests.comparison.writing import remarks
from loadtests.report.content import Content, Stretch
from loadtests.results.text import plain

_FEW = 1000


@dataclass(frozen=True, slots=True)
class Conclusions:
    """Sentences of three kinds: what is shown, what is not, and what to keep in mind about all of it."""

    can: tuple[str, ...]
    cannot: tuple[str, ...]
    mind: tuple[str, ...]


def conclusions(content: Content) -> Conclusions:
    """Rows of each result against its first one, and the same rows of several results."""
    can: list[str] = []
    cannot: list[str] = []
    mind: list[str] = list(_about(content))
    for matched, reason in _comparisons(content):
        if matched is None:
            cannot.append(reason)
            continue
        found = answers(list(questions(matched.pairs)))
        for pair in matched.pairs:
            of_pair = [each for each in found if each.question.pair is pair]
            can += _decided(content, pair, of_pair)
            cannot += _undecided(content, pair, of_pair)
        cannot += matched.alone
        mind += [each for each in remarks(matched, found) if each not in matched.alone]
    return Conclusions(tuple(dict.fromkeys(can)), tuple(dict.fromkeys(cannot)), tuple(dict.fromkeys(mind)))


def _comparisons(content: Content) -> Iterator[tuple[Matched | None, str]]:
    """Each comparison that can be made, or why not."""
    several = [source for source in content.sources if len(source.result.rows) > 1]
    first, *others = content.sources
    for compared in (
        *(partial(within, each) for each in several),
        *(partial(between, first, [each]) for each in others),
    ):
        try:
            yield compared(), ""
        except NotComparable as error:
            yield None, f"{error}."


def _decided(content: Content, pair: Pair, of_pair: Sequence[Answer]) -> Iterator[str]:
    for verdict in ("better", "worse"):
        found = [each for each in of_pair if each.verdict == verdict]
        for word in dict.fromkeys(words.verdict(each.question, each.verdict) for each in found):
            said = [
                f"{words.what(each.question)} {words.change(each.question, each.together)}"
                for each in found
                if words.verdict(each.question, each.verdict) == word
            ]
            verb = "has" if "errors" in word else "is"
            yield f"{content.name(pair.ours)} {verb} {word} than {content.name(pair.theirs)}: {'; '.join(said)}."


def _undecided(content: Content, pair: Pair, of_pair: Sequence[Answer]) -> Iterator[str]:
    said = [words.sentence(each) for each in of_pair if each.verdict == "undecided"]
    if said:
        yield f"{content.name(pair.ours)} and {content.name(pair.theirs)}: {'; '.join(said)}."


def _about(content: Content) -> Iterator[str]:
    machines = {source.result.machine.name for source in content.sources}
    if len(machines) > 1:
        yield (
            f"{len(machines)} machines ({', '.join(sorted(map(plain, machines)))}): a difference between them is one "
            "of CPU, system, limits and versions together, not of any one of these."
        )
    for source in content.sources:
        if source.result.git.get("modified"):
            yield f"{plain(source.name)}: the code was modified, so its revision does not say what was measured."
        yield from (f"{plain(source.name)}: {plain(mark)}." for mark in source.result.marks)
    for side in content.sides:
        if side.row.status != "measured":
            yield f"{title(side.row)}: {side.row.status}: {plain(side.row.why) or 'no reason is given'}."
    for each in content.measured:
        yield from _about_stretch(each)


def _about_stretch(each: Stretch) -> Iterator[str]:
    name = each.name + (f" at {each.level}" if each.level else "")
    marks = dict.fromkeys(plain(mark) for run in each.runs for mark in run.marks)
    yield from (f"{name}: {mark}." for mark in marks)
    if each.answered < _FEW:
        yield f"{name}: {each.answered:,} answers are few for its p99: ten of those slower want {_FEW:,} in all."
    if len(each.runs) == 1:
        yield f"{name} was measured in one round: what the machine would do at another time is not in its intervals."
