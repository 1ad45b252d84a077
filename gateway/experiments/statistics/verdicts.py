"""What intervals decide, how far off a decision is, and what follows for a variant as a whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from gateway.experiments.definition import Better, Metric
from gateway.experiments.report import Verdict
from gateway.experiments.statistics.contrast import Contrast, relative

_FARTHEST: Final = 1_000.0
"""A decision that would take more than this many times the values so far is not foretold."""

_HALVINGS: Final = 8
"""In proportion: they leave less than 3 % of doubt."""


def decide(metric: Metric, contrast: Contrast, alpha: float) -> Verdict:
    """The verdict of one comparison.

    A difference that is surely smaller than the margin is none in practice, even if it is surely not 0.
    """
    low, high = _in_margins_unit(metric, contrast, alpha)
    if metric.margin > 0 and -metric.margin <= low and high <= metric.margin:
        return Verdict.SAME
    low, high = contrast.difference_interval(contrast.reach(alpha))
    if low <= 0 <= high:
        return Verdict.UNDECIDED
    return Verdict.BETTER if (low > 0) == (metric.better is Better.HIGHER) else Verdict.WORSE


def harmless(metric: Metric, contrast: Contrast, alpha: float) -> bool:
    """Whether it is surely not worse by more than the margin."""
    low, high = _in_margins_unit(metric, contrast, alpha)
    return low >= -metric.margin if metric.better is Better.HIGHER else high <= metric.margin


def needed(metric: Metric, contrast: Contrast, alpha: float) -> int | None:
    """How many more values per variant a decision takes, if what is estimated now is the truth; 0: it is decided."""
    if decide(metric, contrast, alpha) is not Verdict.UNDECIDED:
        return 0
    too_few, enough = 1.0, _FARTHEST
    if decide(metric, contrast.grown(enough), alpha) is Verdict.UNDECIDED:
        return None
    for _ in range(_HALVINGS):
        middle = math.sqrt(too_few * enough)
        if decide(metric, contrast.grown(middle), alpha) is Verdict.UNDECIDED:
            too_few = middle
        else:
            enough = middle
    return math.ceil((enough - 1) * min(contrast.variant.count, contrast.control.count))


def overall(verdicts: Sequence[Verdict], harmless_in_all: bool) -> Verdict:
    """Of a variant: better where it is in some metric, and surely harmless in all; worse where it is worse only."""
    if Verdict.WORSE in verdicts:
        return Verdict.UNDECIDED if Verdict.BETTER in verdicts else Verdict.WORSE
    if Verdict.BETTER in verdicts:
        return Verdict.BETTER if harmless_in_all else Verdict.UNDECIDED
    return Verdict.SAME if verdicts and all(each is Verdict.SAME for each in verdicts) else Verdict.UNDECIDED


def _in_margins_unit(metric: Metric, contrast: Contrast, alpha: float) -> tuple[float, float]:
    reach = contrast.reach(alpha)
    if relative(metric):
        low, high = contrast.ratio_interval(reach)
        return low - 1, high - 1
    return contrast.difference_interval(reach)
