"""What lies between two rows: a ratio or a difference, with its interval, and how probable it is by chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtrit

from loadtests.results.histograms import Floats
from loadtests.results.schema import Run
from loadtests.statistics import spread
from loadtests.statistics.estimates import CONFIDENCE, Estimate, by_round
from loadtests.statistics.figures import ErrorRate, Statistic
from loadtests.statistics.samples import Samples, rounds
from loadtests.statistics.spread import MANY, Spread

_POWER: Final = 0.8
_DRIFT: Final = 0.3
"""Standard deviation of the logarithm by which single rounds of equal rows were seen apart beyond what their slices
told, on a busy shared machine: a single round cannot tell its own."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """Ours against theirs. `position` is the ratio's logarithm where `relative`, else the difference.

    The ratio is the geometric mean of the rounds' ratios, which a drift of the machine does not move.
    """

    position: float
    spreads: tuple[Spread, ...]
    relative: bool
    in_turns: bool
    """Whether the rounds of both were taken in turns, so that what the machine did hit both."""

    rounds: int
    """Pairs of rounds; the fewer of both sides where these are no pairs."""

    def estimate(self, confidence: float = CONFIDENCE) -> Estimate:
        """The ratio (1: equal) or the difference (0: equal) with its interval."""
        reach = max(each.reach(confidence) for each in self.spreads)
        return Estimate(*(self._shown(self.position + step) for step in (0.0, -reach, reach)))

    def p(self, margin: float = 0.0) -> float:
        """How probable what was seen is if no more than the margin (on the scale of `position`) is there."""
        if math.isnan(self.position):
            return 1.0
        beyond = max(0.0, abs(self.position) - margin)
        return max(each.p(beyond) for each in self.spreads)

    def visible(self, confidence: float = CONFIDENCE) -> float:
        """The ratio above 1, or the difference, that would be called one in four of five such comparisons."""
        reaches = [each.reach(confidence) + _beyond(each) for each in self.spreads]
        return self._shown(max(reaches))

    def _shown(self, position: float) -> float:
        if not self.relative:
            return position
        with np.errstate(over="ignore"):
            return float(np.exp(position))


def ratio(ours: Sequence[Run], theirs: Sequence[Run], statistic: Statistic) -> Estimate:
    """Ours through theirs (for `ErrorRate`, ours less theirs) with its interval at 95 %.

    Raises:
        ValueError: A histogram is damaged, or there are more than 64 runs.
    """
    return contrast(ours, theirs, statistic).estimate()


def contrast(ours: Sequence[Run], theirs: Sequence[Run], statistic: Statistic) -> Contrast:
    """Compare two rows' runs, round by round where they were taken in turns.

    Raises:
        ValueError: A histogram is damaged, or there are more than 64 runs.
    """
    service = bool(getattr(statistic, "service", False))
    turns = taken_in_turns(ours, theirs)
    if turns:
        ours, theirs = (sorted(runs, key=lambda run: run.round) for runs in (ours, theirs))
    return between_samples(rounds(ours, service=service), rounds(theirs, service=service), statistic, turns)


def between_samples(
    ours: Sequence[Samples], theirs: Sequence[Samples], statistic: Statistic, in_turns: bool
) -> Contrast:
    """The same of samples, one a round; in turns, both have their rounds in the same order."""
    logarithm = statistic.relative
    left, right = (by_round(samples, statistic, logarithm) for samples in (ours, theirs))
    fewest = min(len(left), len(right))
    if not fewest or not (np.all(np.isfinite(left)) and np.all(np.isfinite(right))):
        return Contrast(math.nan, (spread.UNKNOWN,), logarithm, in_turns, fewest)
    inside = [spread.within(samples, statistic, logarithm) for samples in (ours, theirs)]
    coarseness = sum(_coarseness(samples, statistic) for samples in (ours, theirs)) if logarithm else 0.0
    slices = spread.combined([each.error**2 for each in inside], [each.freedom for each in inside])
    outside = _rounds(left, right, in_turns)
    if outside is None and logarithm:
        slices = spread.combined([slices.error**2, _DRIFT**2], [slices.freedom, MANY])
    spreads = [outside, slices]
    if isinstance(statistic, ErrorRate):
        spreads.append(_counted(ours, theirs))
    known = [each for each in spreads if each not in (None, spread.UNKNOWN)] or [spread.UNKNOWN]
    widened = tuple(Spread(math.hypot(each.error, math.sqrt(coarseness)), each.freedom) for each in known if each)
    return Contrast(float(left.mean() - right.mean()), widened, logarithm, in_turns, fewest)


def taken_in_turns(ours: Sequence[Run], theirs: Sequence[Run]) -> bool:
    """Whether both have the same rounds, and each round of both was over before the next one began."""
    numbers = [sorted(run.round for run in runs) for runs in (ours, theirs)]
    if numbers[0] != numbers[1] or len(set(numbers[0])) != len(numbers[0]) or len(numbers[0]) < 2:
        return False
    ordered = sorted([*ours, *theirs], key=lambda run: run.began)
    return all(first.round == second.round for first, second in zip(ordered[::2], ordered[1::2], strict=True))


def _rounds(left: Floats, right: Floats, in_turns: bool) -> Spread | None:
    if in_turns:
        return spread.between(left - right)
    parts = [spread.between(values) for values in (left, right)]
    if None in parts:
        return None
    # As a prediction of another round: what rounds of one result differ by, results of two moments do as well. More
    # rounds say better how the machine was then, and not how it is now.
    variances = [part.error**2 * (len(values) + 1) for part, values in zip(parts, (left, right), strict=True) if part]
    return spread.combined(variances, [part.freedom for part in parts if part])


def _counted(*sides: Sequence[Samples]) -> Spread:
    """As if requests failed independently, with one more on each side: where none failed, some still could."""
    variance = 0.0
    for samples in sides:
        failed, succeeded = (
            sum(float(getattr(each, name).sum()) for each in samples) for name in ("failed", "succeeded")
        )
        share = (failed + 1) / (failed + succeeded + 2)
        variance += share * (1 - share) / (failed + succeeded + 2)
    return Spread(math.sqrt(variance), MANY)


def _coarseness(samples: Sequence[Samples], statistic: Statistic) -> float:
    """The variance by which numbers were rounded when they were written down; more rounds do not lessen it."""
    return max(statistic.resolution(each) for each in samples) ** 2


def _beyond(each: Spread) -> float:
    """How far beyond its interval's end a true value must lie to be called so often."""
    if each.error == 0:
        return 0.0
    return float(stdtrit(each.freedom, _POWER)) * each.error if each.freedom > 0 else math.inf
