"""What can be said of pairs of rows: each question answered by an interval, all of them right together at 95 %."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from scipy.special import stdtrit

from loadtests.comparison.matching import Pair
from loadtests.results.schema import Figure, Run
from loadtests.statistics.contrasts import Contrast, between_samples, taken_in_turns
from loadtests.statistics.estimates import Estimate, estimate
from loadtests.statistics.figures import ErrorRate, Percentile, Statistic, Throughput
from loadtests.statistics.samples import Samples, rounds
from loadtests.statistics.spread import MANY, UNKNOWN, Spread

ERROR: Final = 0.05
METRICS: Final = ("p50", "p99", "throughput", "errors")
_FROM_RUNS: Final = re.compile(r"(p[0-9.]+|throughput|errors)\b.*")
_PERCENTILE: Final = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,4})?)")
_LOWER_IS_BETTER: Final = frozenset({"µs", "ms", "s", "MiB", "bytes"})
_ENOUGH_BEYOND: Final = 10
_STEP: Final = 0.05
"""Rates are searched for in steps of so much, so that equal ones may be apart by that."""

_LEAST_CHANCE: Final = 1e-9
_TOO_SHORT: Final = "queries more needed"
"""Of early stopping: the bound was neither kept nor broken."""

_OF_TIMES: Final = re.compile(r"lowest and highest of ([0-9]{1,4})$")

Verdict = Literal["better", "worse", "undecided"]
Gate = Literal["passed", "worse", "undecided"]


@dataclass(frozen=True, slots=True)
class Question:
    """One number of one pair of rows, and how it differs."""

    pair: Pair
    phase: str
    """Of the runs, as `measure 8 connections`; empty for a figure that was not made from slices."""

    metric: str
    unit: str
    lower_is_better: bool
    ours: Estimate
    theirs: Estimate
    contrast: Contrast
    notes: tuple[str, ...] = ()

    @property
    def lost(self) -> bool:
        """Whether ours has no such number, and theirs has: nothing was answered, or no rate kept the bound."""
        return self.contrast.relative and self.theirs.value > 0 and not self.ours.value > 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A question's answer. `together` is the interval at the confidence at which all verdicts hold at 95 %."""

    question: Question
    alone: Estimate
    together: Estimate
    confidence: float
    verdict: Verdict


def statistic(metric: str) -> Statistic:
    """`p50`, `p99.9`, `throughput`, `errors`.

    Raises:
        ValueError: It is none of these.
    """
    if metric == "throughput":
        return Throughput()
    if metric == "errors":
        return ErrorRate()
    match = _PERCENTILE.fullmatch(metric)
    if match is None or not 0 < float(match[1]) < 100:
        raise ValueError(f"{metric!r}: expected p50, p99, p99.9 or another percentile, throughput, or errors")
    return Percentile(float(match[1]) / 100)


def questions(pairs: Sequence[Pair], metrics: Sequence[str] | None = None) -> Iterator[Question]:
    """Each metric of each phase that both sides of a pair measured, and figures of both that have intervals.

    Raises:
        ValueError: A metric is unknown, or a result's histograms are damaged.
    """
    for pair in pairs:
        phases = [_phases(side.row.runs) for side in (pair.ours, pair.theirs)]
        for phase in phases[0]:
            if phase in phases[1]:
                yield from _of_runs(pair, phase, phases[0][phase], phases[1][phase], metrics)
        if metrics is None:
            yield from _of_figures(pair)


def answers(asked: Sequence[Question], margin: float = 0.0) -> list[Answer]:
    """Verdicts; all of a pair are right at 95 % together (Holm). The margin is a share that does not matter."""
    found = []
    for each, confidence in zip(asked, _confidences_of_all(asked, margin), strict=True):
        together = each.contrast.estimate(confidence)
        found.append(Answer(each, each.contrast.estimate(), together, confidence, _verdict(each, together, margin)))
    return found


def gate(asked: Sequence[Question], margin: float) -> list[Gate]:
    """Of each question, whether ours is worse by more than the margin; `undecided`: it may be.

    More errors are worse without any margin, and so is a number that only theirs has.
    """
    found: list[Gate] = []
    for each, answer in zip(asked, answers(asked, margin), strict=True):
        worst = answer.together.high if each.lower_is_better else answer.together.low
        if answer.verdict == "worse" or each.lost:
            found.append("worse")
        elif not each.contrast.relative and each.ours.value == 0:
            found.append("passed")
        else:
            found.append("undecided" if math.isnan(worst) or _is_worse(each, worst, margin) else "passed")
    return found


def _of_runs(
    pair: Pair, phase: str, ours: Sequence[Run], theirs: Sequence[Run], metrics: Sequence[str] | None
) -> Iterator[Question]:
    turns = taken_in_turns(ours, theirs)
    if turns:
        ours, theirs = (sorted(runs, key=lambda run: run.round) for runs in (ours, theirs))
    left, right = rounds(ours), rounds(theirs)
    for metric in metrics or _metrics(pair, ours, theirs):
        asked = statistic(metric)
        unit = {"throughput": "/s", "errors": "share"}.get(metric, "ms")
        notes = tuple(_notes(asked, left, right))
        yield Question(
            pair, phase, asked.name, unit, asked.lower_is_better,
            estimate(left, asked), estimate(right, asked), between_samples(left, right, asked, turns), notes,
        )  # fmt: skip


def _metrics(pair: Pair, ours: Sequence[Run], theirs: Sequence[Run]) -> list[str]:
    """Those that say something, since each question more widens the intervals of all; the scenario's own first."""
    runs = (*ours, *theirs)
    failed = any(each.failures for run in runs for each in run.slices)
    # How much is answered of a given rate says nothing of speed until it is too much, and then failures and p99 do.
    closed = all(run.arrival == "closed" for run in runs)
    silent = {name for name, says in (("errors", failed), ("throughput", closed)) if not says}
    return list(dict.fromkeys([*_first(pair), *(each for each in METRICS if each not in silent)]))


def _first(pair: Pair) -> list[str]:
    """The percentile that the scenario is about, as SingleStream's p90."""
    names = [figure.name.partition(" ")[0].rstrip(",") for figure in pair.ours.row.figures[:1]]
    return [name for name in names if (match := _PERCENTILE.fullmatch(name)) and float(match[1]) > 0]


def _of_figures(pair: Pair) -> Iterator[Question]:
    """Figures that come from elsewhere than slices, as the highest rate that a search found."""
    theirs = {figure.name: figure for figure in pair.theirs.row.figures}
    for ours in pair.ours.row.figures:
        other = theirs.get(ours.name)
        better_low = ours.unit in _LOWER_IS_BETTER
        if other is None or _FROM_RUNS.fullmatch(ours.name) or not (better_low or "/s" in ours.unit):
            continue
        left, right = _estimate(ours), _estimate(other)
        if left and right and (left.value > 0 or right.value > 0):
            times = (_times(ours), _times(other))
            yield Question(pair, "", ours.name, ours.unit, better_low, left, right, _contrast(left, right, times))


def _estimate(figure: Figure) -> Estimate | None:
    """None: it cannot be compared. A rate that nothing kept can."""
    if figure.value is None or (figure.value == 0 and "/s" in figure.unit):
        return None if _TOO_SHORT in figure.note else Estimate(math.nan, 0.0, math.inf)
    if figure.low is None or figure.high is None or min(figure.value, figure.low) <= 0:
        return None
    return Estimate(figure.value, figure.low, figure.high)


def _times(figure: Figure) -> int | None:
    """Of how many independent times it is the median with the lowest and the highest; None: an interval at 95 %."""
    match = _OF_TIMES.search(figure.note)
    return int(match[1]) if match else None


def _contrast(ours: Estimate, theirs: Estimate, times: tuple[int | None, int | None]) -> Contrast:
    """By the intervals alone. Of lowest and highest, each of ours is above each of theirs so often by chance."""
    if math.isnan(ours.value) or math.isnan(theirs.value):
        return Contrast(math.nan, (UNKNOWN,), True, False, 1)
    halves = [(math.log(each.high) - math.log(each.low)) / 2 for each in (ours, theirs)]
    if times[0] and times[1]:
        freedom = times[0] + times[1] - 2
        chance = max(1 / math.comb(times[0] + times[1], times[0]), _LEAST_CHANCE)
        spread = Spread(max(sum(halves), _STEP) / float(stdtrit(freedom, 1 - chance)), freedom)
    else:
        spread = Spread(math.hypot(*halves) / 1.96, MANY)
    return Contrast(math.log(ours.value / theirs.value), (spread,), True, False, 1)


def _phases(runs: Sequence[Run]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        if run.phase.startswith("measure") and run.slices:
            found.setdefault(run.phase, []).append(run)
    return found


def _notes(asked: Statistic, *sides: Sequence[Samples]) -> Iterator[str]:
    if isinstance(asked, Percentile):
        answered = min(sum(float(each.counts.sum()) for each in side) for side in sides)
        needed = _ENOUGH_BEYOND / (1 - asked.share)
        if answered < needed:
            yield f"{answered:,.0f} answers are few for {asked.name}, which wants {needed:,.0f}"


def _confidences_of_all(asked: Sequence[Question], margin: float) -> list[float]:
    """Each question's, all that is asked of a pair being one family."""
    levels = [0.0] * len(asked)
    for pair in {id(each.pair): each.pair for each in asked}.values():
        family = [index for index, each in enumerate(asked) if each.pair is pair]
        found = _confidences([asked[index].contrast.p(_distance(asked[index], margin)) for index in family])
        for index, confidence in zip(family, found, strict=True):
            levels[index] = confidence
    return levels


def _confidences(ps: Sequence[float]) -> list[float]:
    """At which confidence each question is to be answered, so that all are right together (Holm's steps)."""
    order = sorted(range(len(ps)), key=lambda index: ps[index])
    levels = [0.0] * len(ps)
    level, stopped = ERROR, False
    for rank, index in enumerate(order):
        if not stopped:
            level = ERROR / (len(ps) - rank)
            stopped = ps[index] > level
        levels[index] = 1 - level
    return levels


def _distance(each: Question, margin: float) -> float:
    """The margin on the contrast's own scale; differences of shares have none."""
    return math.log1p(margin) if each.contrast.relative else 0.0


def _is_worse(each: Question, value: float, margin: float) -> bool:
    if not each.contrast.relative:
        return value > 0
    return value > 1 + margin if each.lower_is_better else value < 1 / (1 + margin)


def _verdict(each: Question, interval: Estimate, margin: float) -> Verdict:
    bounds = (interval.low, interval.high)
    if any(map(math.isnan, bounds)):
        return "undecided"
    if all(_is_worse(each, bound, margin) for bound in bounds):
        return "worse"
    equal = 1.0 if each.contrast.relative else 0.0
    limit = (1 + margin) if each.contrast.relative else 1.0
    better = [bound < equal / limit if each.lower_is_better else bound > equal * limit for bound in bounds]
    return "better" if all(better) else "undecided"
