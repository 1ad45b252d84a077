"""Two arms against each other: the difference, the ratio, and how sure it is that there is one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Self

from gateway.experiments.definition import Kind, Metric
from gateway.experiments.statistics.arms import Arm
from gateway.experiments.statistics.boundary import critical, from_student, p_value, to_student
from gateway.experiments.statistics.strata import Strata, pair_weights

_FARTHEST: Final = 64.0
_HALVINGS: Final = 28
_LENT: Final = 50.0


@dataclass(frozen=True, slots=True)
class Contrast:
    """A variant and its control, over the same strata in the same proportion.

    Intervals are made of both arms' bounds (Zou and Donner's method of variance estimates recovery): where the arms
    are normal, that is the usual; where their bounds are lopsided, so is the interval.
    """

    variant: Arm
    control: Arm

    @classmethod
    def of(cls, variant: Strata, control: Strata) -> Contrast | None:
        """Of two variants' strata; None: no stratum has enough of both."""
        weights = pair_weights(variant, control)
        arms = variant.arm(weights), control.arm(weights)
        if arms[0] is None or arms[1] is None:
            return None
        if variant.metric.kind is Kind.MEAN:
            return cls(_steadied(arms[0], arms[1]), _steadied(arms[1], arms[0]))
        return cls(arms[0], arms[1])

    @property
    def difference(self) -> float:
        """Variant - control."""
        return self.variant.value - self.control.value

    @property
    def ratio(self) -> float | None:
        """Variant / control; None where control is 0."""
        return self.variant.value / self.control.value if self.control.value else None

    @property
    def information(self) -> float:
        """As many values per variant, were they independent and equally many, would tell as much."""
        variance = self.variant.variance + self.control.variance
        return (self.variant.spread + self.control.spread) / variance if variance > 0 else 0.0

    @property
    def freedom(self) -> float:
        """Welch and Satterthwaite's degrees of freedom."""
        one, other = self.variant.variance, self.control.variance
        if one + other <= 0:
            return min(self.variant.freedom, self.control.freedom)
        part = one / (one + other)
        return 1 / (part**2 / self.variant.freedom + (1 - part) ** 2 / self.control.freedom)

    @property
    def p_value(self) -> float:
        """Anytime-valid, of the hypothesis that there is no difference."""
        return p_value(from_student(self._distance(), self.freedom), self.information)

    def reach(self, alpha: float) -> float:
        """How many standard errors the confidence sequence with 1 - `alpha` reaches."""
        return to_student(critical(alpha, self.information), self.freedom)

    def difference_interval(self, distance: float) -> tuple[float, float]:
        """Which differences are within `distance` standard errors."""
        (low, high), (control_low, control_high) = self.variant.bounds(distance), self.control.bounds(distance)
        below = math.hypot(self.variant.value - low, control_high - self.control.value)
        above = math.hypot(high - self.variant.value, self.control.value - control_low)
        return self.difference - below, self.difference + above

    def ratio_interval(self, distance: float) -> tuple[float, float]:
        """Which ratios are within `distance` standard errors: 1 is one of them where 0 is one of the differences.

        Unbounded where control's value may be 0, or where the variant's sign may be another.
        """
        top, low, high = _upright(self.variant, distance, self.control.value)
        bottom, control_low, control_high = _upright(self.control, distance, self.control.value)
        if control_low <= 0 or low < 0:
            return -math.inf, math.inf
        return (
            _least(top, low, bottom, control_high) if math.isfinite(control_high) else 0.0,
            1 / _least(bottom, control_low, top, high) if math.isfinite(high) else math.inf,
        )

    def grown(self, factor: float) -> Self:
        """What it would be with `factor` times as many values of the same kind."""
        return replace(self, variant=self.variant.grown(factor), control=self.control.grown(factor))

    def _distance(self) -> float:
        """How many standard errors away no difference is: where the interval just touches 0."""
        if self.difference == 0 or self.information == 0:
            return 0.0
        near, far = 0.0, _FARTHEST
        for _ in range(_HALVINGS):
            middle = (near + far) / 2
            low, high = self.difference_interval(middle)
            if low <= 0 <= high:
                far = middle
            else:
                near = middle
        return near


def relative(metric: Metric) -> bool:
    """Whether a metric's margin is a part of control's value."""
    return metric.kind in (Kind.MEAN, Kind.QUANTILE)


def _least(top: float, low: float, bottom: float, high: float) -> float:
    """The least ratio top / bottom (> 0), where they may be as little as `low` (>= 0) and as much as `high`."""
    product, under = top * bottom, low * (2 * top - low)
    if under <= 0:
        return 0.0
    return under / (product + math.sqrt(max(0.0, product * product - under * high * (2 * bottom - high))))


def _steadied(arm: Arm, other: Arm) -> Arm:
    """The arm with some more values that are spread as the other's: its own, few, may happen to be all the same."""
    own = arm.count / (arm.count + _LENT)
    spread = own * arm.spread + (1 - own) * other.spread
    return replace(arm, spread=spread, variance=own * arm.variance + (1 - own) * other.spread / arm.count)


def _upright(arm: Arm, distance: float, sign: float) -> tuple[float, float, float]:
    """The arm's value and bounds, turned over where control is negative."""
    low, high = arm.bounds(distance)
    return (-arm.value, -high, -low) if sign < 0 else (arm.value, low, high)
